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
here.add("slow", "no end", lambda model, samples, target: time.sleep(60))
if __name__ == "__main__":
    here.main()
"""


@pytest.fixture(scope="module")
def driven(root, tmp_path_factory):
    """Results and table of one run: rows by peer and setting, the Markdown text."""
    folder = tmp_path_factory.mktemp("peers")
    scripts = folder / "scripts"
    scripts.mkdir()
    (scripts / "peer.py").write_text((root / "Benchmarks/peers/peer.py").read_text())
    (scripts / "peer_works.py").write_text(WORKS)
    (scripts / "peer_fails.py").write_text(FAILS)
    (scripts / "peer_absent.py").write_text(WORKS.replace("Copier", "Absent"))
    # A requirement that pip refuses before it asks any index.
    (scripts / "requirements-absent.txt").write_text("./nowhere/absent.whl\n")
    command = [
        sys.executable, root / "Benchmarks/peers/run.py", "--models", "digits_cnn", "--scripts", scripts, "--stock", sys.executable,
        "--environments", folder / "environments", "--output", folder / "out", "--samples", "16", "--limit", "8"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((folder / "out/results.json").read_text())
    return {(row["peer"], row["setting"]): row for row in rows}, done.stdout


def test_a_peer_that_works_is_measured_and_judged(driven, root):
    row = driven[0]["Copier", "whole"]
    assert row["bytes"] == (root / "Tests/Fixtures/digits_cnn/model.onnx").stat().st_size
    assert row["opens"] and row["values"]["top-1"] == 99.5 and row["values"] == driven[0]["float32", "original"]["values"]
    assert row["seconds"] > 0 and row["processor_seconds"] > 0 and row["peak_bytes"] > 1e6


def test_a_file_that_is_no_model_does_not_open(driven):
    row = driven[0]["Copier", "samples"]
    assert row["bytes"] > 0 and not row["opens"] and row["error"] and "values" not in row


@pytest.mark.parametrize("setting, words", {
    "raises": "ValueError: no such | luck", "silent": "FileNotFoundError: no file was written", "dies": "killed by signal 6",
    "slow": "stopped after 8 s"}.items())
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


def test_a_second_run_replaces_its_rows_and_keeps_others(root, tmp_path):
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "peer.py").write_text((root / "Benchmarks/peers/peer.py").read_text())
    (scripts / "peer_works.py").write_text(WORKS)
    for setting in ["whole", "samples", "whole"]:
        command = [
            sys.executable, root / "Benchmarks/peers/run.py", "--scripts", scripts, "--stock", sys.executable, "--settings", setting,
            "--environments", tmp_path, "--output", tmp_path / "out", "--samples", "4"]
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
    rows = json.loads((tmp_path / "out/results.json").read_text())
    assert [row["setting"] for row in rows] == ["original", "whole", "samples"]
