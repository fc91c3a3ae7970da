"""Parts of the example server (examples/server) that need no server: settings and the bounded choice of samples."""

import contextlib
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "examples" / "server"))

from cet_server.priority import LowPriority  # noqa: E402
from cet_server.reservoir import Reservoir  # noqa: E402
from cet_server.settings import Settings, SettingsError  # noqa: E402


def numbers(*values):
    """One request with these samples."""
    return {"input": np.array(values, np.float32)[:, None]}


def held(reservoir):
    return [float(sample["input"][0]) for sample in reservoir.samples()]


def test_reservoir_holds_everything_up_to_its_capacity_and_no_more():
    reservoir = Reservoir(4)
    reservoir.offer(numbers(0, 1, 2))
    assert held(reservoir) == [0, 1, 2]
    assert reservoir.offer(numbers(*range(3, 100))) == 100
    assert len(held(reservoir)) == 4 and reservoir.offered == 100


def test_reservoir_keeps_early_and_late_samples_alike():
    counts = np.zeros(50)
    for seed in range(2000):
        reservoir = Reservoir(10, seed)
        for value in range(50):
            reservoir.offer(numbers(value))
        counts[[int(value) for value in held(reservoir)]] += 1
    # Binomial with n = 2000 and p = 1/5: 400 with a deviation of 18.
    assert abs(counts - 400).max() < 5 * 18


def test_reservoir_passes_over_samples_that_calibration_refuses():
    reservoir = Reservoir(4)
    assert reservoir.offer(numbers(1, np.nan, np.inf, 2)) == 2
    assert held(reservoir) == [1, 2]


def test_reservoir_does_not_hold_the_request():
    request = numbers(1, 2)
    reservoir = Reservoir(4)
    reservoir.offer(request)
    request["input"][:] = 9
    assert held(reservoir) == [1, 2]
    assert all(sample["input"].base is None for sample in reservoir.samples())


def test_settings_read_their_variables():
    assert Settings.read({}) == Settings()
    read = Settings.read({"CET_SERVER_MODEL": "m.onnx", "CET_SERVER_RATIO": "8.5", "CET_SERVER_PORT": "9000", "HOME": "/"})
    assert (read.model, read.ratio, read.port) == (Path("m.onnx"), 8.5, 9000)
    assert read.ratios == {"digits": 8.5, "digits-small": 16.0}


@pytest.mark.parametrize("variable, value, words", [
    ("PORT", "http", "expected int"), ("PORT", "70000", "expected 1 to 65535"), ("RATIO", "nan", "expected 4 to 32"),
    ("SMALL_RATIO", "64", "expected 4 to 32"), ("GATHER", "0", "expected 16"), ("NICENESS", "-1", "expected 0 to 19"),
    ("NAME", "", "is empty"), ("LOG_LEVEL", "LOUD", "expected DEBUG"), ("RATO", "8", "is no setting")])
def test_settings_that_are_wrong_are_told_in_one_line(variable, value, words):
    with pytest.raises(SettingsError) as told:
        Settings.read({f"CET_SERVER_{variable}": value})
    assert f"CET_SERVER_{variable} is" in str(told.value) and words in str(told.value) and "\n" not in str(told.value)


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_priority_is_lowered_of_the_librarys_threads_alone(model, calibration):
    import cet

    own = os.getpriority(os.PRIO_PROCESS, 0)
    low, library, python = LowPriority(3), set(), set()
    release = threading.Event()
    other = threading.Thread(target=release.wait)
    other.start()

    def look(phase, done, total):
        low.lower()
        known = {thread.native_id for thread in threading.enumerate()}
        for name in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):
                (python if int(name) in known else library).add(os.getpriority(os.PRIO_PROCESS, int(name)))

    try:
        cet.plan(model, calibration, target_ratio=11, method="uniform", threads=1, progress=look)
    finally:
        release.set()
        other.join()
    assert own + 3 in library and python == {own}
