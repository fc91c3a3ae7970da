"""The report of the command-line tool, from Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Iterator, Optional, Union

from .errors import CetError
from .library import library_path
from .native import Pathlike
from .plan import Plan
from .quantized import Quantized

TOOL = "cet-onnx"


def report(plan: Union[Plan, Quantized], path: Pathlike, *, title: Optional[str] = None, force: bool = False) -> None:
    """Writes an HTML page about a plan, with its figures inside, by the command-line tool.

    The tool is looked for beside the library that was loaded (PREFIX/bin), then among the commands of the system.

    Args:
        plan: A plan, or a quantized model, whose plan has what was measured, too.
        path: Of the page; an earlier report is replaced.
        title: What the page calls the model.
        force: Also replace a file that is no report.

    Raises:
        FileNotFoundError: The tool is not installed.
        CetError: The tool failed, with its line.
    """
    tool = find_tool()
    command = [tool, "report", "-", os.fspath(path), "--title", title or "model"] + (["--force"] if force else [])
    document = (plan.plan if isinstance(plan, Quantized) else plan).to_json()
    run = subprocess.run(command, input=document, capture_output=True, text=True, encoding="utf-8", errors="replace")
    if run.returncode != 0:
        raise CetError(f"{tool}: {' '.join(run.stderr.split()) or f'exit code {run.returncode}'}")


def find_tool() -> str:
    """The path of the command-line tool."""
    for library in _library_files():
        # PREFIX/lib/libcet.so, or PREFIX/lib/x86_64-linux-gnu/libcet.so.
        for prefix in library.resolve().parents[1:3]:
            tool = prefix / "bin" / TOOL
            if os.access(tool, os.X_OK) and tool.is_file():
                return str(tool)
    found = shutil.which(TOOL)
    if found is None:
        raise FileNotFoundError(
            f"cet.report needs the command-line tool {TOOL}, which is neither beside {library_path()} nor in PATH: install the "
            "package cet-onnx, or run make install")
    return found


def _library_files() -> Iterator[Path]:
    """Where the library is: its path, or what the system's loader made of its name."""
    path = Path(library_path())
    if path.exists():
        yield path
        return
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            for line in maps:
                mapped = Path(line.split(maxsplit=5)[-1].strip())
                if mapped.name.startswith(path.name):
                    yield mapped
                    return
    except OSError:
        return
