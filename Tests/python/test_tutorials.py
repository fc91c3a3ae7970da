"""Every block of the tutorials runs as it is written, after the lines that each of them begins with."""

import os
import re
import subprocess

import pytest

TUTORIALS = ["python", "c"]
LONG = ["tool", "spectra", "server"]
# What these lines set is not there before.
SET = {"CET", "CET_LIBRARY", "PYTHONPATH"}


def blocks(text):
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)


def start(text):
    """The first indented lines, without the one that builds."""
    lines = re.search(r"^(?:    .*\n)+", text, re.M).group()
    return re.sub("^    ", "", re.sub(r"^    make lib .*\n", "", lines), flags=re.M)


@pytest.mark.parametrize("name", TUTORIALS + [pytest.param(name, marks=pytest.mark.long) for name in LONG])
def test_tutorial_works_as_it_is_written(name, root, tmp_path):
    text = (root / "docs" / "tutorials" / f"{name}.md").read_text()
    environment = {key: value for key, value in os.environ.items() if key not in SET}
    scripts = {language: "\n".join(part for kind, part in blocks(text) if kind == language) for language in ("c", "python", "sh")}
    assert scripts["python"] or scripts["sh"]
    commands = [start(text)]
    if scripts["c"]:
        commands.append('printf %s "$TEXT_C" >tutorial.c')
    if scripts["python"]:
        commands.append('python -c "$TEXT_PYTHON"')
    if scripts["sh"]:
        commands.append(scripts["sh"])
    environment.update({"TMPDIR": str(tmp_path), "TEXT_C": scripts["c"], "TEXT_PYTHON": scripts["python"]})
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)], cwd=root, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_tutorials_are_all_tried(root):
    assert {path.stem for path in (root / "docs" / "tutorials").glob("*.md")} == set(TUTORIALS + LONG)
