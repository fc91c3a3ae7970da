"""Models that are wrong in one place, over all operators of the table (structural_models.py), in processes of their own.

CET_STRUCTURAL=1 takes every model (half an hour), CET_STRUCTURAL=N every N-th one.
"""

import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest

import structural_models
from test_hostile import limited

FOLDER = pathlib.Path(__file__).resolve().parent
STEP = int(os.environ.get("CET_STRUCTURAL", 137))
# What a model may take that is not answered: far more than the seconds that `faults` allows.
SILENCE = 60


def part(first, step):
    """The lines of one process, and how it ended: "done", or what happened after the last line."""
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / "structural_models.py"), str(first), str(step)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, preexec_fn=limited, env=dict(os.environ, OPENBLAS_NUM_THREADS="1"))
    lines = []
    watch = threading.Timer(SILENCE, process.kill)
    watch.start()
    for line in process.stdout:
        watch.cancel()
        lines.append(line)
        watch = threading.Timer(SILENCE, process.kill)
        watch.start()
    watch.cancel()
    errors = process.stderr.read()
    process.wait()
    if lines[-1:] == ["done\n"]:
        return lines[:-1], None
    return lines, f"ends the process ({process.returncode}): {errors[-300:]}"


def answers(first, step):
    """How many models were tried, and what was wrong with their answers."""
    tried, wrong = 0, []
    while True:
        lines, end = part(first, step)
        found = [json.loads(line) for line in lines]
        tried += sum("fault" not in each for each in found)
        wrong += [f"{each['number']}, {each['name']}: {each['fault']}" for each in found if "fault" in each]
        if end is None:
            return tried, wrong
        assert found, end
        wrong.append(f"{found[-1]['number']}, {found[-1]['name']}: {end}")
        first = found[-1]["number"] + step


@pytest.mark.long
def test_models_that_are_wrong_in_one_place_are_answered():
    tried, wrong = answers(STEP // 2, STEP)
    print("\n".join(wrong))
    assert tried > 400_000 // STEP
    assert wrong == []


def test_structural_models_have_every_operator_of_the_table():
    names = [name for name, _ in structural_models.bare()]
    for _, operator in structural_models.table():
        assert any(name.startswith(f"bare {operator}-") for name in names), operator
