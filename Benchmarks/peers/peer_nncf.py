"""NNCF on ONNX: post-training quantization of weights and activations, and compression of weights."""

import peer

here = peer.Peer("NNCF")


def dataset(samples, size):
    import nncf

    return nncf.Dataset(peer.batches(samples, size))


def activations(fast):
    def run(model, samples, target):
        import nncf
        import onnx

        # Batches of one, which exact correction asks for.
        count = len(peer.batches(samples, 1))
        kind = nncf.ModelType.TRANSFORMER if peer.transformer(model) else None
        quantized = nncf.quantize(
            onnx.load(model), dataset(samples, 1), preset=nncf.QuantizationPreset.MIXED, subset_size=count,
            fast_bias_correction=fast, model_type=kind)
        onnx.save(quantized, target)

    return run


here.add("w8a8", "quantize() W8A8, all samples", activations(True))
here.add("w8a8-exact", "quantize() W8A8, all samples, exact bias correction", activations(False))


def weights(mode, **options):
    def run(model, samples, target):
        import nncf
        import onnx

        data = dataset(samples, 1) if options else None
        compressed = nncf.compress_weights(
            onnx.load(model), mode=nncf.CompressWeightsMode[mode], dataset=data, subset_size=len(peer.batches(samples, 1)), **options)
        onnx.save(compressed, target)

    return run


here.add("weights-int8", "compress_weights INT8_ASYM", weights("INT8_ASYM"))
here.add(
    "weights-int4", "compress_weights INT4_ASYM everywhere, groups of 32, AWQ and scale estimation",
    weights("INT4_ASYM", group_size=32, all_layers=True, awq=True, scale_estimation=True))
here.add(
    "weights-int4-mixed", "compress_weights INT4_ASYM for 80 %, the rest 8 bit, AWQ and scale estimation",
    weights("INT4_ASYM", ratio=0.8, group_size=32, awq=True, scale_estimation=True))

if __name__ == "__main__":
    here.main()
