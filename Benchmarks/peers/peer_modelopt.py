"""NVIDIA's Model Optimizer on ONNX, on the CPU."""

import peer

here = peer.Peer("ModelOpt")


def run(mode, method, **options):
    def quantize(model, samples, target):
        from modelopt.onnx.quantization import quantize

        # float32 where nothing is quantized: its default of float16 is for GPUs.
        quantize(
            model, quantize_mode=mode, calibration_method=method, calibration_data=peer.arrays(samples), calibration_eps=["cpu"],
            high_precision_dtype="fp32", output_path=target, **options)

    return quantize


here.add("int8-entropy", "int8, W8A8, entropy", run("int8", "entropy"))
here.add("int8-max", "int8, W8A8, max", run("int8", "max"))
here.add("int8-dq", "int8, W8A8, entropy, codes in the file (dq_only)", run("int8", "entropy", dq_only=True))
here.add("int4-awq", "int4 weights, awq_clip", run("int4", "awq_clip"))
here.add("int4-rtn", "int4 weights, rtn_dq", run("int4", "rtn_dq"))

if __name__ == "__main__":
    here.main()
