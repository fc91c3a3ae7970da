"""Run time of a model in onnxruntime under each encoding: one plan, its files in turns in one process.

    python Benchmarks/encodings.py MODEL.onnx DATA.npz [--ratio 11] [--batch 1] [--rounds 9] [--threads 2]

The files are planes, qdq and float of one plan with codes to nearest, planes of one with trellis codes, and beside them the
original. Prints medians of milliseconds a run, of loading, and bytes. `qdq folded` is qdq with session.disable_quant_qdq, which folds it like a constant.
"""

import pathlib
import statistics
import sys
import time

import numpy as np
import onnxruntime as ort

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "bindings/python")]

import arguments  # noqa: E402
import cet  # noqa: E402


def session(model, threads, folds):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if folds:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    start = time.perf_counter()
    made = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return made, time.perf_counter() - start


def main():
    parser = arguments.Parser(__doc__)
    parser.add_argument("model", type=arguments.existing)
    parser.add_argument("data", type=arguments.arrays)
    parser.add_argument("--ratio", type=arguments.positive, default=11)
    parser.add_argument("--batch", type=arguments.count, default=1)
    parser.add_argument("--rounds", type=arguments.count, default=9)
    parser.add_argument("--threads", type=arguments.count, default=2)
    parser.add_argument("--bits", type=int, nargs="*", choices=range(2, 9))
    a = parser.parse_args()
    model = arguments.load_model(parser, a.model)
    arrays = arguments.inputs(parser, a.data, [i.name for i in model.inputs])
    plan = cet.plan(
        model, cet.Calibration.from_npz(a.data), target_ratio=a.ratio, encoding="qdq", rounding="nearest", samples=128, bits=a.bits)
    small = cet.quantize(model, None, plan, rounding="nearest")
    coded = cet.quantize(model, None, cet.plan(
        model, cet.Calibration.from_npz(a.data), target_ratio=a.ratio, coding="trellis", rounding="nearest", samples=128, bits=a.bits))
    files = {"original": pathlib.Path(a.model).read_bytes()} | {e: small.to_bytes(encoding=e) for e in ("float", "planes", "qdq")}
    files["trellis"] = coded.to_bytes()
    runs = {name: (*session(data, a.threads, False), len(data)) for name, data in files.items()}
    runs["qdq folded"] = (*session(files["qdq"], a.threads, True), len(files["qdq"]))
    inputs = {i.name: arrays[i.name][: a.batch] for i in runs["original"][0].get_inputs()}
    times = {name: [] for name in runs}
    random = np.random.RandomState(0)
    for _ in range(a.rounds):
        # In another order each round: which file came before is worth some per cent.
        for name in random.permutation(list(runs)):
            made = runs[name][0]
            made.run(None, inputs)
            count, start = 0, time.perf_counter()
            while count < 5 or time.perf_counter() - start < 0.2:
                made.run(None, inputs)
                count += 1
            times[name].append((time.perf_counter() - start) / count)
    for name, (_, load, size) in runs.items():
        print(f"{name:12} {size:10,} bytes  load {1e3 * load:7.1f} ms  run {1e3 * statistics.median(times[name]):8.3f} ms")


if __name__ == "__main__":
    main()
