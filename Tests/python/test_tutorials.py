"""Every block of the tutorials and how-to pages runs as it is written, after the lines that each of them begins with."""

import os
import re
import subprocess

import pytest

PAGES = ["tutorials/python", "tutorials/c", "how-to/size"]
LONG = ["tutorials/tool", "tutorials/spectra", "tutorials/server", "how-to/runtime", "how-to/accuracy", "how-to/limits-of-a-machine"]
# What these lines set is not there before.
SET = {"CET", "CET_LIBRARY", "PYTHONPATH"}


def blocks(text):
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)


def start(text):
    """The first indented lines, without the one that builds."""
    lines = re.search(r"^(?:    .*\n)+", text, re.M).group()
    return re.sub("^    ", "", re.sub(r"^    make lib .*\n", "", lines), flags=re.M)


@pytest.mark.parametrize("name", PAGES + [pytest.param(name, marks=pytest.mark.long) for name in LONG])
def test_page_works_as_it_is_written(name, root, tmp_path):
    text = (root / "docs" / f"{name}.md").read_text()
    environment = {key: value for key, value in os.environ.items() if key not in SET}
    scripts = {language: "\n".join(part for kind, part in blocks(text) if kind == language) for language in ("c", "python", "sh")}
    assert scripts["python"] or scripts["sh"]
    commands = [start(text)]
    if scripts["c"]:
        commands.append('printf %s "$TEXT_C" >tutorial.c')
    if scripts["sh"]:
        commands.append(scripts["sh"])
    if scripts["python"]:
        commands.append('python -c "$TEXT_PYTHON"')
    environment.update({"TMPDIR": str(tmp_path), "TEXT_C": scripts["c"], "TEXT_PYTHON": scripts["python"]})
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)], cwd=root, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_pages_are_all_tried(root):
    found = {f"{folder}/{path.stem}" for folder in ("tutorials", "how-to") for path in (root / "docs" / folder).glob("*.md")}
    assert found == set(PAGES + LONG)
