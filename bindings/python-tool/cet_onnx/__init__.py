"""The program cet-onnx, which the wheel brings along; it finds libcet.so in the package `cet` beside it."""

import os
import sys
from pathlib import Path

__all__ = ["main", "program"]


def program() -> str:
    """The program's path."""
    return str(Path(__file__).parent / "cet-onnx")


def main() -> None:
    """Becomes the program, with this process's arguments."""
    os.execv(program(), ["cet-onnx", *sys.argv[1:]])
