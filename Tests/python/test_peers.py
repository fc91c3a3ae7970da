"""The driver of peers, with peers that need no installation: one that works, ones that fail."""

import json
import subprocess
import sys

import pytest

WORKS = """
import shutil
import peer

here = peer.Peer("Copier")
here.add("whole", "all of it", lambda model, samples, target: shutil.copy(model, target))
here.add("samples", "a file that is no model", lambda model, samples, target: shutil.copy(samples, target))
if __name__ == "__main__":
    here.main()
"""
FAILS = """
import os
import time
import peer

here = peer.Peer("Loser")


def raises(model, samples, target):
    raise ValueError("no such | luck")


here.add("raises", "an exception", raises)
here.add("silent", "no file", lambda model, samples, target: None)
here.add("dies", "a signal", lambda model, samples, target: os.abort())
here.add("slow", "no end", lambda model, samples, target: time.sleep(600))
if __name__ == "__main__":
    here.main()
"""


def drive(root, folder, *options):
    """Results by peer and setting, and the table that was printed. The stock runtime is the one of the tests."""
    command = [
        sys.executable, root / "Benchmarks/peers/run.py", "--scripts", folder / "scripts", "--stock", sys.executable,
        "--environments", folder / "environments", "--output", folder / "out", *options]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((folder / "out/results.json").read_text())
    return {(row["peer"], row["setting"]): row for row in rows}, done.stdout


def scripts(root, folder, **texts):
    (folder / "scripts").mkdir()
    (folder / "scripts/peer.py").write_text((root / "Benchmarks/peers/peer.py").read_text())
    for name, text in texts.items():
        (folder / f"scripts/peer_{name}.py").write_text(text)


@pytest.fixture(scope="module")
def driven(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    scripts(root, folder, works=WORKS, fails=FAILS, absent=WORKS.replace("Copier", "Absent"))
    # A requirement that pip refuses before it asks any index.
    (folder / "scripts/requirements-absent.txt").write_text("./nowhere/absent.whl\n")
    return drive(root, folder, "--models", "digits_cnn", "--samples", "16", "--settings", "^(?!slow)")


def test_a_peer_that_works_is_measured_and_judged(driven, root):
    row = driven[0]["Copier", "whole"]
    assert row["bytes"] == (root / "Tests/Fixtures/digits_cnn/model.onnx").stat().st_size
    assert row["opens"] and row["values"]["top-1"] == 99.5 and row["values"] == driven[0]["float32", "original"]["values"]
    assert row["seconds"] > 0 and row["processor_seconds"] > 0 and row["peak_bytes"] > 1e6


def test_a_file_that_is_no_model_does_not_open(driven):
    row = driven[0]["Copier", "samples"]
    assert row["bytes"] > 0 and not row["opens"] and row["error"] and "values" not in row


@pytest.mark.parametrize("setting, words", {
    "raises": "ValueError: no such | luck", "silent": "no file was written", "dies": "killed by signal 6"
    }.items())
def test_a_failure_is_a_row_that_says_so(driven, setting, words):
    assert driven[0]["Loser", setting]["error"] == words


def test_a_peer_that_cannot_be_installed_is_a_row(driven):
    assert driven[0]["Absent", "whole"]["error"].startswith("not installed: ")


def test_the_table_has_every_row(driven):
    rows, text = driven
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(rows)
    assert all(line.replace("\\|", "").count("|") == 8 for line in lines)
    assert "no smaller" in next(line for line in lines if "Copier: all of it" in line)
    assert "no file" in next(line for line in lines if "Loser: an exception" in line)


def test_a_peer_that_takes_too_long_is_stopped(root, tmp_path):
    scripts(root, tmp_path, fails=FAILS)
    rows, _ = drive(root, tmp_path, "--settings", "slow", "--limit", "1")
    assert rows["Loser", "slow"]["error"].startswith("stopped after 1 s (")


def test_a_second_run_replaces_its_rows_and_keeps_others(root, tmp_path):
    scripts(root, tmp_path, works=WORKS)
    for setting in ["whole", "samples", "whole"]:
        rows, _ = drive(root, tmp_path, "--settings", setting, "--samples", "4")
    assert [setting for _, setting in rows] == ["original", "whole", "samples"]
