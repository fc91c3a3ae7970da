"""Inputs that ended a process once (docs/fuzzing.md), and some that the fuzzers start from: given to the same calls again, in a
process with a limit on its addresses. The calls end the process unless each gives a status, and one line with a failure."""

import os
import resource
import subprocess

import pytest

from conftest import ROOT

FOLDER = ROOT / "Tests" / "Fixtures" / "fuzz"
FUZZERS = ["model", "npz", "npy", "plan", "session", "spectrum", "whole"]
ADDRESSES = 3 << 30
SECONDS = 2


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_findings_of_the_fuzzer_are_answered(fuzzer, compile_c):
    program = compile_c(ROOT / "Fuzz" / f"{fuzzer}.c", more=[ROOT / "Fuzz" / "replay.c"])
    files = sorted((FOLDER / fuzzer).iterdir())
    assert files
    run = subprocess.run(
        [program, *files], cwd=ROOT, capture_output=True, text=True, timeout=120, preexec_fn=limited,
        env=dict(os.environ, OPENBLAS_NUM_THREADS="1"))
    lines = run.stdout.splitlines()
    assert run.returncode == 0 and lines[-1:] == ["done"], f"ended ({run.returncode}) at {lines[-1:]}: {run.stderr[-2000:]}"
    slow = [line for line in lines[:-1] if float(line.split()[-1]) > 1000 * SECONDS]
    assert len(lines) == len(files) + 1 and slow == []


def test_every_folder_of_findings_has_its_fuzzer():
    assert sorted(folder.name for folder in FOLDER.iterdir()) == sorted(FUZZERS)
