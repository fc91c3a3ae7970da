"""What runs in the environment of the stock runtime: nothing there but onnxruntime and NumPy.

    python stock.py samples PACK COUNT OUT.npz    # the first COUNT calibration samples, without labels; prints how many there are
    python stock.py judge PACK MODEL.onnx         # opens and evaluates a file; prints a line of JSON for each

A pack is a folder with model.onnx, calibration.npz and eval.py, whose evaluate(path) is a number (meta.json says
of what) or numbers by name. Without eval.py it is the bundled digits model.
"""

import importlib.util
import json
import pathlib
import resource
import sys
import time

import numpy as np
import onnxruntime as ort


def open_session(path):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def samples(pack, count, target):
    inputs = [value.name for value in open_session(pack / "model.onnx").get_inputs()]
    with np.load(pack / "calibration.npz") as file:
        chosen = {name: file[name][: int(count)] for name in inputs}
    np.savez(target, **chosen)
    print(len(chosen[inputs[0]]))


def digits(path, pack):
    """Top-1 on the bundled digits, whose test images are 0 to 16."""
    with np.load(pack / "test.npz") as data:
        x, y = (data["x"].astype(np.float32) / 16 - np.float32(0.3))[:, None], data["y"]
    session = open_session(path)
    return {"top-1": 100 * float((session.run(None, {session.get_inputs()[0].name: x})[0].argmax(1) == y).mean())}


def evaluation(pack):
    """The pack's own evaluation."""
    script = pack / "eval.py"
    if not script.exists():
        return lambda path: digits(path, pack)
    specification = importlib.util.spec_from_file_location("eval", script)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.evaluate


def metric(pack):
    """What the pack's number is."""
    description = pack / "meta.json"
    return json.loads(description.read_text())["metric"] if description.exists() else "value"


def judge(pack, path):
    """What there is to say of a file, a part at a time: an evaluation that is stopped takes nothing back."""
    start = time.perf_counter()
    try:
        open_session(path)
    except Exception as error:
        yield {"opens": False, "error": one_line(error)}
        return
    yield {"opens": True, "load_seconds": time.perf_counter() - start}
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        values = evaluation(pack)(str(path))
    except Exception as error:
        yield {"error": one_line(error)}
        return
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    yield {"run_processor_seconds": used, "values": values if isinstance(values, dict) else {metric(pack): float(values)}}


def one_line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


if __name__ == "__main__":
    command, pack, *rest = sys.argv[1:]
    if command == "samples":
        samples(pathlib.Path(pack), *rest)
    else:
        for part in judge(pathlib.Path(pack), *rest):
            print(json.dumps(part), flush=True)
