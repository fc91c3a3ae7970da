"""Runs models in a runtime that PYTHONPATH has: `run_beside.py onnxruntime|onnxruntime-usual|openvino|openvino-usual FOLDER`.

FOLDER has NAME.onnx and one inputs.npz for all of them. Afterwards it has NAME.RUNTIME.npy, the first output, of the models that could
be loaded, and RUNTIME.json with what the runtime said of the others.
"""

import json
import pathlib
import sys

import numpy as np


def with_onnxruntime(is_usual):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not is_usual:
        # As the nodes say it: no DequantizeLinear becomes an integer kernel.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL

    def run(path, inputs):
        session = ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        return session.run(None, {value.name: inputs[value.name] for value in session.get_inputs()})[0]

    return ort.__version__, run


def with_openvino(options):
    import openvino

    core = openvino.Core()

    def run(path, inputs):
        model = core.compile_model(core.read_model(path), "CPU", options)
        # An input has the names of what is made of it without a step, too.
        return model({name: inputs[name] for value in model.inputs for name in value.get_names() if name in inputs})[0]

    return openvino.__version__, run


name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
if name.startswith("onnxruntime"):
    version, run = with_onnxruntime(name == "onnxruntime-usual")
else:
    version, run = with_openvino({} if name == "openvino-usual" else {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"})
inputs = dict(np.load(folder / "inputs.npz"))
messages = {"version": version}
for path in sorted(folder.glob("*.onnx")):
    try:
        np.save(folder / f"{path.stem}.{name}.npy", run(path, inputs))
    except Exception as error:  # of a kind for every cause
        messages[path.stem] = str(error)
(folder / f"{name}.json").write_text(json.dumps(messages))
