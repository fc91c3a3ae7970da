"""Losses of all methods at the same size, on samples that none of them saw.

usage: compare_methods.py MODEL.onnx CALIBRATION.npz [--samples 512] [--ratios 8,11,12.8] [--methods cet,paper] [--threads 2]

The first --samples samples calibrate; the rest (at most --held) are run through the unquantized and the written model
with ONNX Runtime. The loss is the mean KL divergence of softmax(output) for models whose plan uses `kl`, else half the
squared distance of the outputs; both are means over samples. Rows: `cet` with compensated rounding, every other method
with gptq, and `cet` with gptq, which shows the plan alone. All use one quantizer; the file size is printed.
"""
import os
import pathlib
import sys
import tempfile
import time

import numpy as np
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "bindings/python")]

import arguments as a  # noqa: E402
import cet  # noqa: E402

METHODS = [("cet", "compensated"), ("cet", "gptq"), ("clado", "gptq"), ("mckp", "gptq"), ("hawq-v2", "gptq"),
           ("uniform", "gptq"), ("paper", "gptq")]


def outputs(path, inputs, batch=32):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    count = len(next(iter(inputs.values())))
    parts = [session.run(None, {k: v[i:i + batch] for k, v in inputs.items()})[0] for i in range(0, count, batch)]
    return np.concatenate(parts).astype(np.float64)


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def divergence(loss, reference, output):
    if loss != "kl":
        return 0.5 * ((reference - output) ** 2).reshape(len(output), -1).sum(1).mean()
    p, q = log_softmax(reference), log_softmax(output)
    return (np.exp(p) * (p - q)).reshape(len(output), -1).sum(1).mean()


def main():
    names = list(dict.fromkeys(name for name, _ in METHODS))
    parser = a.Parser(__doc__)
    parser.add_argument("model", type=a.existing)
    parser.add_argument("calibration", type=a.arrays)
    parser.add_argument("--samples", type=a.count, default=512)
    parser.add_argument("--held", type=a.count, default=512)
    parser.add_argument("--ratios", type=a.positives, default=[8, 11, 12.8])
    parser.add_argument("--methods", type=a.words(*names), default=names, help="with commas; default: all")
    parser.add_argument("--threads", type=a.count, default=2)
    arguments = parser.parse_args()
    model = a.load_model(parser, arguments.model)
    inputs = [i.name for i in model.inputs]
    arrays = {k: v for k, v in a.inputs(parser, arguments.calibration, inputs).items() if k in inputs}
    if len(next(iter(arrays.values()))) <= arguments.samples:
        parser.error(f"argument --samples: {arguments.samples} leave none of '{arguments.calibration}' to hold out")
    data = cet.Calibration({k: v[:arguments.samples] for k, v in arrays.items()})
    held = {k: v[arguments.samples:arguments.samples + arguments.held] for k, v in arrays.items()}
    reference = outputs(arguments.model, held)
    print(f"{'method':10}{'rounding':13}{'ratio':>7}{'held-out loss':>15}{'file bytes':>12}{'seconds':>9}", flush=True)
    for method, rounding in METHODS:
        if method not in arguments.methods:
            continue
        for ratio in arguments.ratios:
            start = time.time()
            plan = cet.plan(model, data, method=method, rounding=rounding, target_ratio=ratio, threads=arguments.threads)
            small = cet.quantize(model, data, plan, threads=arguments.threads)
            seconds = time.time() - start
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "small.onnx")
                small.save(path)
                loss = divergence(plan.summary.loss, reference, outputs(path, held))
            size = small.plan.summary.file_bytes
            print(f"{method:10}{rounding:13}{ratio:7.1f}{loss:15.6f}{size:12d}{seconds:9.1f}", flush=True)


if __name__ == "__main__":
    main()
