"""Packages that are imported only when what needs them is used."""

from __future__ import annotations

import importlib
from typing import Any


def required(module: str, purpose: str) -> Any:
    """The module; ImportError with one line that says what needs it and how it is had."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f"{purpose} needs {package}: pip install {package} ({error})") from error
