"""What the scripts of peers share. Nothing but the standard library and NumPy: it runs in every peer's environment.

    python peer_NAME.py list                               # the settings, as JSON, without any import of the peer
    python peer_NAME.py run SETTING MODEL.onnx CALIBRATION.npz OUT.onnx

`run` starts in an empty folder that is thrown away, and leaves OUT.onnx, with the external data that it names beside it.
"""

import collections
import inspect
import json
import sys

Setting = collections.namedtuple("Setting", "name text function")


class Peer:
    """A peer by its settings: functions of model, samples and target path, whose docstrings say what they are."""

    def __init__(self, title):
        self.title, self.settings = title, {}

    def setting(self, name):
        def register(function):
            self.settings[name] = Setting(name, inspect.getdoc(function), function)
            return function

        return register

    def add(self, name, text, function):
        self.settings[name] = Setting(name, text, function)

    def main(self):
        command, arguments = sys.argv[1], sys.argv[2:]
        if command == "list":
            texts = {setting.name: setting.text for setting in self.settings.values()}
            print(json.dumps({"title": self.title, "settings": texts}))
            return
        name, model, samples, target = arguments
        self.settings[name].function(model, samples, target)


def arrays(samples):
    """The calibration samples by the model's input names, samples along axis 0."""
    import numpy as np

    with np.load(samples) as file:
        return {name: file[name] for name in file.files}


def batches(samples, size):
    """The calibration samples in batches, each by the model's input names."""
    data = arrays(samples)
    count = len(next(iter(data.values())))
    return [{name: array[i : i + size] for name, array in data.items()} for i in range(0, count, size)]


def transformer(model):
    """Is the model a transformer? Some peers want to be told."""
    import onnx

    return any(node.op_type in ("LayerNormalization", "Erf") for node in onnx.load(model).graph.node)
