"""What a written file must compute: the original with the weights that the codes stand for."""

import numpy as np
import onnx
from onnx import numpy_helper


def dequantized(content, quantized):
    """The original with decoded weights and corrected biases, by the onnx package."""
    model = onnx.load_model_from_string(content)
    values = {name: quantized[name].dequantize() for name, bits in quantized.plan.bits.items() if bits < 32}
    values.update({correction.name: correction.values for correction in quantized.corrections if not correction.added})
    for initializer in model.graph.initializer:
        if initializer.name in values:
            shaped = np.asarray(values[initializer.name], np.float32).reshape(tuple(initializer.dims))
            initializer.CopyFrom(numpy_helper.from_array(shaped, initializer.name))
    return model.SerializeToString()


def halved(content):
    """The model with float16 in the place of float32 in its initializers and outputs."""
    model = onnx.load_model_from_string(content)
    for initializer in model.graph.initializer:
        if initializer.data_type == onnx.TensorProto.FLOAT:
            initializer.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(initializer).astype(np.float16), initializer.name))
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    return model.SerializeToString()
