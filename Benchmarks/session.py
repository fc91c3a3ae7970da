"""What a second budget costs, once a session has statistics and losses of a model.

    python Benchmarks/session.py MODEL.onnx:DATA.npz --ratios 11,8,16     # a model of one's own
    python Benchmarks/session.py resnet18 --samples 32                    # random weights and images

The first budget's time is that of making the session, its first plan and the first quantizing, which takes the statistics. The others
are planned and quantized by the same session: milliseconds of the plan (the least of five calls), seconds of quantizing and their
share of the first budget's. `compress` is what a process without a session takes for the last budget: cet.plan and cet.quantize.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import onnx

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "bindings/python")]

import arguments as a  # noqa: E402
import cet  # noqa: E402
import models  # noqa: E402


def seconds(call):
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def measure(model, data, ratios, options):
    session, making = seconds(lambda: cet.Session(model, data, target_ratio=ratios[0], **options))
    plan, planning = seconds(lambda: session.plan(target_ratio=ratios[0]))
    small, quantizing = seconds(lambda: session.quantize(plan))
    first = making + planning + quantizing
    print(f"first budget, {ratios[0]:g}x: {first:.2f} s (session {making:.2f}, plan {planning:.2f}, quantize {quantizing:.2f}), "
          f"{len(small.to_bytes())} bytes", flush=True)
    for ratio in ratios[1:]:
        calls = [seconds(lambda: session.plan(target_ratio=ratio)) for _ in range(5)]
        plan = calls[0][0]
        small, quantizing = seconds(lambda: session.quantize(plan))
        print(f"{ratio:g}x: plan {min(taken for _, taken in calls) * 1e3:.1f} ms, quantize {quantizing:.2f} s "
              f"({100 * quantizing / first:.1f} % of the first budget), {len(small.to_bytes())} bytes", flush=True)
    last = {"target_ratio": ratios[-1], **options}
    _, alone = seconds(lambda: cet.quantize(model, data, cet.plan(model, data, **last), threads=options["threads"]))
    print(f"compress, {ratios[-1]:g}x, without the session: {alone:.2f} s")


def budgets(text):
    """Two or more ratios."""
    ratios = a.positives(text)
    if len(ratios) < 2:
        raise argparse.ArgumentTypeError(f"expected two ratios or more, got '{text}'")
    return ratios


def main():
    parser = a.Parser(__doc__)
    parser.add_argument("model", type=models.known_or_own, help="MODEL.onnx:DATA.npz, or a name of models.py")
    parser.add_argument("--ratios", type=budgets, default=[11, 8, 16], help="the first is the first budget")
    parser.add_argument("--samples", type=a.count, default=512)
    parser.add_argument("--coding", choices=["trellis", "affine"])
    parser.add_argument("--threads", type=a.count, default=2)
    options = parser.parse_args()
    settings = {"threads": options.threads, "samples": options.samples}
    if options.coding:
        settings["coding"] = options.coding
    with tempfile.TemporaryDirectory() as folder:
        if ":" in options.model:
            path, arrays = options.model.split(":", 1)
            model = a.load_model(parser, path)
            samples = a.inputs(parser, arrays, [value.name for value in model.inputs])
        else:
            path = f"{folder}/model.onnx"
            onnx.save(models.build(options.model), path)
            model, (samples, _) = cet.Model(path), models.data(options.model, options.samples)
        samples.pop("labels", None)
        measure(model, cet.Calibration(samples), options.ratios, settings)


if __name__ == "__main__":
    main()
