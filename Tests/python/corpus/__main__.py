"""Writes the corpus as files, for readers that are no Python: PYTHONPATH=Tests/python python -m corpus FOLDER"""

import pathlib
import sys

from . import CASES

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for case in CASES:
    (folder / f"{case.name}.onnx").write_bytes(case.model)
print(f"{len(CASES)} models of the corpus in {folder}")
