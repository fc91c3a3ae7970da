"""Signals that a host handles while the library computes."""

import os
import subprocess
import sys

import pytest

from conftest import DIGITS, ROOT

# A handler runs on the stack of the thread that it interrupts, some thousand times here.
HOST = """
import hashlib, signal, sys
import cet

def codes():
    model = cet.Model(sys.argv[1])
    data = cet.Calibration.from_npz(sys.argv[2])
    plan = cet.plan(model, data, method="uniform", target_bits=2, samples=256)
    return hashlib.sha256(cet.quantize(model, data, plan).to_bytes()).hexdigest()

quiet = codes()
seen = 0
def count(number, frame):
    global seen
    seen += 1
signal.signal(signal.SIGALRM, count)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
for _ in range(3):
    assert codes() == quiet
signal.setitimer(signal.ITIMER_REAL, 0)
assert seen > 3, seen
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_signals_during_a_call_leave_memory_and_results_as_they_are():
    environment = {**os.environ, "MALLOC_CHECK_": "3", "PYTHONPATH": str(ROOT / "bindings" / "python")}
    done = subprocess.run(
        [sys.executable, "-c", HOST, str(DIGITS / "model.onnx"), str(DIGITS / "calibration.npz")],
        env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
