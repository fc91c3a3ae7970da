"""Runs models in the onnxruntime that PYTHONPATH has: `run_old_runtime.py FOLDER`.

FOLDER has NAME.onnx and one inputs.npz for all of them. Afterwards it has NAME.npy, the first output, of the models that could be
loaded, and messages.json with what onnxruntime said of the others.
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime as ort

folder = pathlib.Path(sys.argv[1])
inputs = dict(np.load(folder / "inputs.npz"))
options = ort.SessionOptions()
options.log_severity_level = 4
# As the nodes say it: no DequantizeLinear becomes an integer kernel.
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
messages = {"version": ort.__version__}
for path in sorted(folder.glob("*.onnx")):
    try:
        session = ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of a kind for every cause
        messages[path.stem] = str(error)
        continue
    feeds = {value.name: inputs[value.name] for value in session.get_inputs()}
    np.save(folder / f"{path.stem}.npy", session.run(None, feeds)[0])
(folder / "messages.json").write_text(json.dumps(messages))
