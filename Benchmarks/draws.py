"""Loss and accuracy of compressed models over several draws of the calibration samples: what is chance, what is not.

usage: draws.py MODEL.onnx CALIBRATION.npz [TEST.npz] [--ratios 8,11,12.8,16] [--draws 3] [--samples 512]
       [--rounding R] [--coding C] [--effort E]

Draw s takes --samples samples of CALIBRATION.npz without replacement (numpy RandomState(s)). The written model is judged on
TEST.npz (arrays with the model's input names, and `labels` for accuracy), without it on the samples not drawn: mean KL
divergence of softmax(output) from the unquantized model's, and top-1 accuracy in per cent, both by ONNX Runtime.
"""
import os
import tempfile

import numpy as np

from compare_methods import a, cet, divergence, outputs


def main():
    parser = a.Parser(__doc__)
    parser.add_argument("model", type=a.existing)
    parser.add_argument("calibration", type=a.arrays)
    parser.add_argument("test", nargs="?", type=a.arrays)
    parser.add_argument("--ratios", type=a.positives, default=[8, 11, 12.8, 16])
    parser.add_argument("--draws", type=a.count, default=3)
    parser.add_argument("--samples", type=a.count, default=512)
    parser.add_argument("--rounding", choices=["nearest", "gptq", "compensated"], default="compensated")
    parser.add_argument("--coding", choices=["auto", "affine", "trellis"], default="auto")
    parser.add_argument("--effort", choices=["low", "medium", "high"], default="medium")
    arguments = parser.parse_args()
    model = a.load_model(parser, arguments.model)
    names = [i.name for i in model.inputs]
    arrays = a.inputs(parser, arguments.calibration, names)
    test = a.inputs(parser, arguments.test, names) if arguments.test else None
    if test is None and len(arrays[names[0]]) <= arguments.samples:
        parser.error(f"argument --samples: {arguments.samples} leave none of '{arguments.calibration}' to judge by")
    ratios = arguments.ratios
    found = {ratio: [] for ratio in ratios}
    for draw in range(arguments.draws):
        order = np.random.RandomState(draw).permutation(len(arrays[names[0]]))
        chosen, rest = np.sort(order[:arguments.samples]), order[arguments.samples:]
        data = cet.Calibration({k: np.ascontiguousarray(arrays[k][chosen]) for k in names})
        judge = test or {k: v[rest] for k, v in arrays.items()}
        inputs = {k: judge[k] for k in names}
        reference = outputs(arguments.model, inputs)
        for ratio in ratios:
            plan = cet.plan(
                model, data, target_ratio=ratio, rounding=arguments.rounding, coding=arguments.coding, effort=arguments.effort)
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "small.onnx")
                cet.quantize(model, data, plan).save(path)
                output = outputs(path, inputs)
            loss = divergence("kl", reference, output)
            accuracy = 100 * (output.argmax(-1) == judge["labels"]).mean() if "labels" in judge else float("nan")
            found[ratio].append((loss, accuracy))
            print(f"draw {draw}  {ratio:5.1f}x  KL {loss:.5f}  top-1 {accuracy:.2f}", flush=True)
    for ratio, values in found.items():
        loss, accuracy = np.mean(values, axis=0)
        print(f"mean    {ratio:5.1f}x  KL {loss:.5f}  top-1 {accuracy:.2f}")


if __name__ == "__main__":
    main()
