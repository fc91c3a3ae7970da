"""What a written file costs its runtime, encoding by encoding: bytes, time to load, peak memory, time a run.

    python Benchmarks/encodings.py MODEL.onnx DATA.npz [--bits 4] [--ratio 11] [--batch 1] [--rounds 9] [--threads 2]

Each file is loaded and run in a process of its own, which tells its peak memory above that of the loaded onnxruntime; then all of
them run in turns in one process, in another order each round, and the medians are printed. With --bits all tensors have that many
bits, and codes are the nearest, which changes neither size nor speed; else they are planned for --ratio. `trellis` is planes with trellis
codes, `qdq folded` is qdq with session.disable_quant_qdq, which folds it like a constant, `integers` is planes with activations of 8
bits, for integer kernels. OpenVINO, where tools/setup.sh has put it beside, runs each file in a process of its own, in turns of
processes: time to load, peak memory above that of the loaded OpenVINO, median of 30 runs in float32. A file that it does not
open says so.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime as ort

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "bindings/python")]

import arguments  # noqa: E402
import cet  # noqa: E402

FOLDED = "session.disable_quant_qdq"
# Run by itself: what onnxruntime takes for one file. Linux counts the peak in kilobytes.
ALONE = """
import sys, time, numpy as np, onnxruntime as ort
def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
path, data, threads, folds = sys.argv[1:]
inputs = dict(np.load(data))
options = ort.SessionOptions()
options.intra_op_num_threads = int(threads)
options.log_severity_level = 3
if folds == "1":
    options.add_session_config_entry("session.disable_quant_qdq", "1")
before, start = peak(), time.perf_counter()
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
loaded = time.perf_counter() - start
for _ in range(3):
    session.run(None, inputs)
print(loaded, (peak() - before) / 1024)
"""

OPENVINO = ROOT / ".venv" / "openvino"
ALONE_OPENVINO = """
import statistics, sys, time, numpy as np, openvino
def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
path, data, threads = sys.argv[1:]
inputs = dict(np.load(data))
core = openvino.Core()
before, start = peak(), time.perf_counter()
model = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"})
loaded = time.perf_counter() - start
times = []
for _ in range(33):
    start = time.perf_counter()
    model(inputs)
    times.append(time.perf_counter() - start)
print(loaded, (peak() - before) / 1024, statistics.median(times[3:]))
"""


def openvino_alone(path, inputs, threads):
    """Seconds to load, megabytes, seconds a run; the end of OpenVINO's message where it does not open the file."""
    environment = {**os.environ, "PYTHONPATH": str(OPENVINO)}
    command = [sys.executable, "-c", ALONE_OPENVINO, path, inputs, str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        return " ".join(done.stderr.split())[-70:]
    return [float(text) for text in done.stdout.split()]


def session(path, threads, folds):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if folds:
        options.add_session_config_entry(FOLDED, "1")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def files(a, model, folder):
    """The files, by name."""
    data = cet.Calibration.from_npz(a.data)
    common = {"rounding": "nearest", "samples": 64}
    if a.bits:
        common.update(target_bits=a.bits, bits=[a.bits], method="uniform")
    else:
        common.update(target_ratio=a.ratio)
    made = {"float32": pathlib.Path(a.model)}
    wanted = {"planes": {"coding": "affine"}, "trellis": {"coding": "trellis"}, "qdq": {"encoding": "qdq"}, "ort": {"encoding": "ort"},
              "integers": {"coding": "affine", "activations": 8}}
    for name, options in wanted.items():
        try:
            plan = cet.plan(model, data, **common, **options)
        except cet.CetError as error:
            print(f"{name:12} not made: {error}")
            continue
        made[name] = folder / f"{name}.onnx"
        cet.quantize(model, data if name == "integers" else None, plan, rounding="nearest").save(made[name])
    if "qdq" in made:
        made["qdq folded"] = made["qdq"]
    return made


def main():
    parser = arguments.Parser(__doc__)
    parser.add_argument("model", type=arguments.existing)
    parser.add_argument("data", type=arguments.arrays)
    parser.add_argument("--ratio", type=arguments.positive, default=11)
    parser.add_argument("--bits", type=int, choices=range(2, 9))
    parser.add_argument("--batch", type=arguments.count, default=1)
    parser.add_argument("--rounds", type=arguments.count, default=9)
    parser.add_argument("--threads", type=arguments.count, default=2)
    a = parser.parse_args()
    model = arguments.load_model(parser, a.model)
    names = [i.name for i in model.inputs]
    arrays = arguments.inputs(parser, a.data, names)
    inputs = {name: arrays[name][: a.batch] for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        np.savez(folder / "inputs.npz", **inputs)
        made = files(a, model, folder)
        alone = {}
        for name, path in made.items():
            command = [sys.executable, "-c", ALONE, path, folder / "inputs.npz", str(a.threads), str(int(name == "qdq folded"))]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            alone[name] = [float(text) for text in done.stdout.split()]
        beside = {}
        if (OPENVINO / "installed").exists():
            others = {name: path for name, path in made.items() if name != "qdq folded"}
            beside = {name: openvino_alone(path, folder / "inputs.npz", a.threads) for name, path in others.items()}
        runs = {name: session(path, a.threads, name == "qdq folded") for name, path in made.items()}
        sizes = {name: path.stat().st_size for name, path in made.items()}
    times = {name: [] for name in runs}
    random = np.random.RandomState(0)
    for _ in range(a.rounds):
        for name in random.permutation(list(runs)):
            runs[name].run(None, inputs)
            count, start = 0, time.perf_counter()
            while count < 3 or time.perf_counter() - start < 0.2:
                runs[name].run(None, inputs)
                count += 1
            times[name].append((time.perf_counter() - start) / count)
    for name in runs:
        loaded, peak = alone[name]
        print(
            f"{name:12} {sizes[name]:11,} bytes  load {1e3 * loaded:7.1f} ms  peak {peak:7.1f} MB"
            f"  run {1e3 * statistics.median(times[name]):8.3f} ms")
    for name, found in beside.items():
        text = found if isinstance(found, str) else "load {:7.1f} ms  peak {:7.1f} MB  run {:8.3f} ms".format(
            1e3 * found[0], found[1], 1e3 * found[2])
        print(f"{name:12} OpenVINO     {text}")


if __name__ == "__main__":
    main()
