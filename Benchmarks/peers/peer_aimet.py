"""AIMET on ONNX: simulated quantization, exported as QuantizeLinear and DequantizeLinear with codes in place of weights."""

import peer

here = peer.Peer("AIMET")


def simulation(model, samples, bits, activations):
    """The model's simulation with one scale a channel, and the samples to fit it to."""
    import aimet_onnx
    import onnx
    from aimet_onnx.common.quantsim_config.utils import get_path_for_per_channel_config

    weights = {4: aimet_onnx.int4, 8: aimet_onnx.int8}[bits]
    data = peer.batches(samples, 32)
    sim = aimet_onnx.QuantizationSimModel(
        onnx.load(model), param_type=weights, activation_type=aimet_onnx.int8, dummy_input=data[0],
        config_file=get_path_for_per_channel_config())
    if not activations:
        for name in sim.activation_names:
            sim.qc_quantize_op_dict[name].enabled = False
    return sim, data


def run(bits, activations, rounding=None):
    def quantize(model, samples, target):
        import aimet_onnx
        import onnx

        sim, data = simulation(model, samples, bits, activations)
        if rounding == "AdaRound":
            # What its documentation recommends for fewer than 8 bits.
            aimet_onnx.apply_adaround(sim, data, num_iterations=15000)
        elif rounding == "SeqMSE":
            aimet_onnx.apply_seq_mse(sim, data)
        sim.compute_encodings(data)
        onnx.save(sim.to_onnx_qdq(prequantize_constants=True), target)

    return quantize


here.add("w8a8", "W8A8, per channel", run(8, True))
here.add("w4-seqmse", "W4, per channel, SeqMSE", run(4, False, "SeqMSE"))
here.add("w4-adaround", "W4, per channel, AdaRound", run(4, False, "AdaRound"))
here.add("w4a8-adaround", "W4A8, per channel, AdaRound", run(4, True, "AdaRound"))

if __name__ == "__main__":
    here.main()
