"""onnxruntime's own quantizers: static QDQ, dynamic, and blocks of 4 bits.

Parameters are those that its documentation names for processors with VNNI: unsigned activations, signed weights, full range, one scale
a channel, and the model prepared by quant_pre_process.
"""

import peer

here = peer.Peer("onnxruntime")


class Reader:
    """The samples in batches, from the start after each `rewind`."""

    def __init__(self, samples, size=32):
        self.parts = peer.batches(samples, size)
        self.rewind()

    def __iter__(self):
        return iter(self.parts)

    def rewind(self):
        self.rest = iter(self.parts)

    def get_next(self):
        return next(self.rest, None)


def prepared(model):
    """The model with shapes, fused and folded as the quantizers want it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # Symbolic inference stops at some exports of PyTorch; the quantizers do without it.
    quant_pre_process(model, "prepared.onnx", skip_symbolic_shape=True)
    return "prepared.onnx"


def static(method, weights="QInt8"):
    def run(model, samples, target):
        from onnxruntime import quantization as q

        # Transformers are calibrated on what is multiplied, as the documentation has it for them.
        only = ["MatMul", "Gather", "Gemm"] if peer.transformer(model) else None
        q.quantize_static(
            prepared(model), target, Reader(samples), quant_format=q.QuantFormat.QDQ, per_channel=True,
            activation_type=q.QuantType.QUInt8, weight_type=q.QuantType[weights],
            calibrate_method=q.CalibrationMethod[method], op_types_to_quantize=only)

    return run


here.add("static-minmax", "static W8A8, per channel, MinMax", static("MinMax"))
here.add("static-entropy", "static W8A8, per channel, Entropy", static("Entropy"))
here.add("static-percentile", "static W8A8, per channel, Percentile", static("Percentile"))
here.add("static-w4", "static W4A8, per channel, MinMax", static("MinMax", "QInt4"))


@here.setting("dynamic")
def dynamic(model, samples, target):
    """dynamic W8A8, per channel"""
    from onnxruntime import quantization as q

    q.quantize_dynamic(prepared(model), target, per_channel=True, weight_type=q.QuantType.QInt8)


def blocks(name, block=32, bits=4):
    """MatMulNBits, and GatherBlockQuantized where the algorithm has it."""

    def run(model, samples, target):
        import onnx
        from onnxruntime.quantization import matmul_nbits_quantizer as m

        gathers = ("MatMul", "Gather")
        axes = (("MatMul", 0), ("Gather", 1))
        config = {
            "RTN": lambda: m.DefaultWeightOnlyQuantConfig(
                block_size=block, is_symmetric=False, bits=bits, op_types_to_quantize=gathers, quant_axes=axes),
            "HQQ": lambda: m.HQQWeightOnlyQuantConfig(block_size=block, bits=bits),
            "GPTQ": lambda: m.GPTQWeightOnlyQuantConfig(Reader(samples), block_size=block, mse=True, actorder=False),
            "k-quant": lambda: m.KQuantWeightOnlyQuantConfig(op_types_to_quantize=("MatMul",)),
        }[name]()
        # The quantizer declares operator set 21 and leaves other operators as they were.
        original = onnx.version_converter.convert_version(onnx.load(model), 21)
        quantizer = m.MatMulNBitsQuantizer(original, bits=bits, block_size=block, algo_config=config)
        quantizer.process()
        quantizer.model.save_model_to_file(target, False)

    return run


here.add("4bit-rtn", "MatMulNBits 4 bit and embeddings, blocks of 32, RTN", blocks("RTN"))
here.add("4bit-rtn-128", "MatMulNBits 4 bit and embeddings, blocks of 128, RTN", blocks("RTN", 128))
here.add("4bit-hqq", "MatMulNBits 4 bit, blocks of 32, HQQ", blocks("HQQ"))
here.add("4bit-gptq", "MatMulNBits 4 bit, blocks of 32, GPTQ", blocks("GPTQ"))
here.add("4bit-k", "MatMulNBits 4 bit, k-quant", blocks("k-quant"))
here.add("2bit-rtn", "MatMulNBits 2 bit and embeddings, blocks of 32, RTN", blocks("RTN", bits=2))

if __name__ == "__main__":
    here.main()
