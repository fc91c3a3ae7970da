"""Every block of the tutorials runs as it is written, in a folder with the bundled digits files."""

import os
import re
import shutil
import subprocess
import sys

import pytest

TUTORIALS = ["python", "c"]
LONG = ["tool", "spectra", "server"]


def blocks(path):
    return re.findall(r"^```(\w+)\n(.*?)^```$", path.read_text(), re.M | re.S)


@pytest.mark.parametrize("name", TUTORIALS + [pytest.param(name, marks=pytest.mark.long) for name in LONG])
def test_tutorial_works_as_it_is_written(name, root, tmp_path):
    library = os.environ.get("CET_LIBRARY", str(root / "build" / "lib" / "libcet.so"))
    environment = {
        **os.environ, "CET": str(root), "CET_LIBRARY": library, "PYTHONPATH": str(root / "bindings" / "python"),
        "PATH": f"{root / 'build' / 'bin'}:{os.environ['PATH']}"}
    for file in (root / "Tests" / "Fixtures" / "digits_cnn").glob("*.*"):
        shutil.copy(file, tmp_path)
    found = blocks(root / "docs" / "tutorials" / f"{name}.md")
    scripts = {language: "\n".join(text for kind, text in found if kind == language) for language in ("python", "sh", "c")}
    if scripts["c"]:
        (tmp_path / "tutorial.c").write_text(scripts["c"])
    commands = [[sys.executable, "-c", scripts["python"]]] if scripts["python"] else []
    if scripts["sh"]:
        commands.append(["bash", "-euo", "pipefail", "-c", scripts["sh"]])
    assert commands
    for command in commands:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_tutorials_are_all_tried(root):
    assert {path.stem for path in (root / "docs" / "tutorials").glob("*.md")} == set(TUTORIALS + LONG)
