"""Reports, which the tool cet-onnx draws."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Mapping, Optional, Union

import numpy as np

from .errors import CetError, IOFailure
from .library import library_path
from .native import Pathlike
from .plan import Plan


def _tool() -> str:
    """CET_ONNX names it; else it is in the package `cet_onnx`, beside the library, or where the shell finds programs."""
    places = [os.environ.get("CET_ONNX"), Path(__file__).parent.parent / "cet_onnx" / "cet-onnx"]
    if os.sep in library_path():
        places.append(Path(library_path()).resolve().parent.parent / "bin" / "cet-onnx")
    for place in places:
        if place and os.access(place, os.X_OK):
            return os.fspath(place)
    found = shutil.which("cet-onnx")
    if not found:
        raise IOFailure("cet-onnx, which draws reports, is not installed: install the wheel cet-onnx, or let CET_ONNX name it")
    return found


def report(
    path: Pathlike, model: Pathlike, plan: Plan, *, written: Optional[Pathlike] = None,
    data: Union[None, Pathlike, Mapping[str, Any]] = None, threads: int = 0,
) -> None:
    """Writes a report about a plan: one HTML file with size-loss curve, predictions, bits along depth and a table.

    model: the ONNX file that the plan was made for.
    plan: `quantized.plan` has measured losses, too.
    written, data: the compressed file, and samples (arrays by input name, an .npz file or a folder of .npy files) on which it is
    compared with the original.
    An existing file is replaced if libcet wrote it.
    """
    if (written is None) != (data is None):
        raise ValueError("written and data need each other")
    with tempfile.TemporaryDirectory() as folder:
        plan_path = os.path.join(folder, "plan.json")
        plan.save(plan_path)
        command = [_tool(), "report", os.fspath(model), plan_path, os.fspath(path), "--quiet"]
        if data is not None and written is not None:
            place = os.path.join(folder, "data.npz") if isinstance(data, Mapping) else os.fspath(data)
            if isinstance(data, Mapping):
                np.savez(place, **data)
            command += ["--written", os.fspath(written), "--data", place]
        if threads:
            command += ["--threads", str(threads)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CetError(done.stderr.strip().removeprefix("cet-onnx: ") or f"cet-onnx ended with {done.returncode}")
