"""Sony's Model Compression Toolkit. It takes PyTorch modules, so that the model goes through onnx2torch; its export is ONNX."""

import peer

here = peer.Peer("MCT")


def run(gradient, compression=None):
    def quantize(model, samples, target):
        import model_compression_toolkit as mct
        import onnx2torch
        import torch

        torch.manual_seed(0)
        module = onnx2torch.convert(model).eval()

        def data():
            for part in peer.batches(samples, 32):
                yield list(part.values())

        core, options = mct.core.CoreConfig(), {}
        if compression:
            core = mct.core.CoreConfig(mixed_precision_config=mct.core.MixedPrecisionQuantizationConfig())
            count = sum(p.numel() for p in module.parameters())
            options["target_resource_utilization"] = mct.core.ResourceUtilization(weights_memory=4 * count / compression)
        if gradient:
            settings = mct.gptq.get_pytorch_gptq_config(n_epochs=20, use_hessian_based_weights=False, use_hessian_sample_attention=False)
            quantized, _ = mct.gptq.pytorch_gradient_post_training_quantization(
                module, data, core_config=core, gptq_config=settings, **options)
        else:
            quantized, _ = mct.ptq.pytorch_post_training_quantization(module, data, core_config=core, **options)
        # Standard operators around float weights: its other format has operators of its own.
        fake = mct.exporter.QuantizationFormat.FAKELY_QUANT
        mct.exporter.pytorch_export_model(model=quantized, save_model_path=target, repr_dataset=data, quantization_format=fake)

    return quantize


here.add("ptq", "PTQ W8A8", run(False))
here.add("mixed-8", "mixed precision at an eighth of the weights' bytes", run(False, 8))
here.add("gptq-8", "the same with gradient rounding, 20 epochs", run(True, 8))

if __name__ == "__main__":
    here.main()
