"""Plans and quantizes a model with the least memory that is enough; run in a process of its own.

    python plan_memory.py MODEL CALIBRATION SAMPLES [ROUNDING]

Prints one line of JSON: by call the bytes that the library says are enough, how much the process grew with that limit
beyond what it had, and whether the result is that of a call without a limit.
"""

import json
import pathlib
import re
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bindings" / "python"))
import cet  # noqa: E402
from extreme_options import model_bytes  # noqa: E402


def memory(field):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    raise KeyError(field)


def growth(body):
    """The most that the process had during a call beyond what it had before."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    result = body()
    return result, max(0, memory("VmHWM") - before)


def least(call):
    """The bytes that a call says are enough."""
    try:
        call(1)
    except cet.OutOfMemory as error:
        found = re.search(r"needs at least (\d+) bytes with one thread \(.*\), max_memory is 1$", str(error))
        assert found, error
        return int(found.group(1))
    raise AssertionError("one byte was enough")


def main():
    # Libraries, threads and generated kernels come with the first call.
    generator = np.random.default_rng(0)
    small, few = cet.Model(model_bytes()), cet.Calibration({"x": generator.normal(size=(40, 4)).astype(np.float32)})
    cet.quantize(small, few, cet.plan(small, few, target_bits=4))

    model, data, samples = cet.Model(sys.argv[1]), cet.Calibration.from_npz(sys.argv[2]), int(sys.argv[3])
    rounding = sys.argv[4] if len(sys.argv) > 4 else None

    def planned(limit):
        return cet.plan(model, data, target_ratio=8, samples=samples, loss=None, rounding=rounding, max_memory=limit)

    enough = {"plan": least(planned)}
    grown = {}
    plan, grown["plan"] = growth(lambda: planned(enough["plan"]))

    def quantized(limit):
        return cet.quantize(model, data, plan, max_memory=limit)

    enough["quantize"] = least(quantized)
    made, grown["quantize"] = growth(lambda: quantized(enough["quantize"]))
    free = cet.quantize(model, data, planned(None))
    same = all(np.array_equal(free[name].codes, made[name].codes) for name in plan.bits if plan.bits[name] < 32)
    print(json.dumps({"enough": enough, "grown": grown, "same": same}))


if __name__ == "__main__":
    main()
