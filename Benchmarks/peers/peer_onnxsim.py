"""onnxsim's quantizers of weights, each with the refinements that its documentation names."""

import peer

here = peer.Peer("onnxsim")


def loaded(model):
    """The model simplified, and with the operator set that blocks of 4 bits need."""
    import onnx
    import onnxsim

    original = onnx.load(model)
    if original.opset_import[0].version < 21:
        original = onnx.version_converter.convert_version(original, 21)
    return onnxsim.simplify(original)[0]


def save(model, target):
    """Without the float weights that nothing reads any more, which the quantizers leave in the file."""
    import onnx

    read = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    onnx.save(model, target)


def configured(**options):
    def run(model, samples, target):
        import onnxsim

        save(onnxsim.quantize(loaded(model), onnxsim.QuantizationConfig(calibration_data=peer.batches(samples, 32), **options)), target)

    return run


here.add("w8", "weight-only int8, per channel", configured(scheme="weight_only", dtype="int8", granularity="per_channel"))
here.add("w8a8", "static int8, per channel", configured(scheme="static", dtype="int8"))
here.add("w4-gptq", "weight-only int4, blocks of 32, AWQ and GPTQ", configured(scheme="weight_only", dtype="int4", awq=True, gptq=True))


@here.setting("w4-auto")
def w4_auto(model, samples, target):
    """auto_quantize_int4: equalization, AdaRound, bias correction"""
    import onnxsim

    # No budget can be met, so that every refinement is tried and the best result kept.
    result = onnxsim.auto_quantize_int4(loaded(model), accuracy_budget=0.0, calibration_data=peer.batches(samples, 32))
    print("applied:", result.techniques_applied)
    save(result.quantized_model, target)


@here.setting("mixed")
def mixed(model, samples, target):
    """int4 and int8 by search_mixed_precision_for_budget"""
    import onnxsim

    result = onnxsim.search_mixed_precision_for_budget(loaded(model), calibration_data=peer.batches(samples, 32))
    print("fraction of 8 bits:", result.high_bits_fraction)
    save(result.quantized_model, target)


if __name__ == "__main__":
    here.main()
