"""The program cet-onnx, which the wheel brings along. It uses libcet.so of the package `cet`."""

import importlib.util
import os
import sys
from pathlib import Path

__all__ = ["main", "program"]


def program() -> str:
    """The program's path. By itself it finds the library where both packages are in one folder."""
    return str(Path(__file__).parent / "cet-onnx")


def main() -> None:
    """Becomes the program, with this process's arguments."""
    found = importlib.util.find_spec("cet")
    folders = list(found.submodule_search_locations or []) if found else []
    before = os.environ.get("LD_LIBRARY_PATH")
    path = os.pathsep.join(folders + ([before] if before else []))
    os.execve(program(), ["cet-onnx", *sys.argv[1:]], {**os.environ, "LD_LIBRARY_PATH": path})
