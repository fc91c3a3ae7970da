"""libcet itself: its command-line tool, which CET_ONNX names."""

import os

import peer

here = peer.Peer("libcet")


def compress(*options):
    def run(model, samples, target):
        tool = os.environ.get("CET_ONNX")
        if not tool:
            raise SystemExit("error: no cet-onnx (--cet, or `make lib`)")
        # In place of this process, whose time and memory are counted.
        os.execv(tool, [tool, "compress", model, target, "--data", samples, "--quiet", *options])

    return run


# Weights of 8 bits throughout, then mixed bits at the ratios of the README.
here.add("8bit", "8 bit", compress("--target-ratio", "4"))
for ratio in (6, 8, 11, 16):
    here.add(f"ratio-{ratio}", f"{ratio}×", compress("--target-ratio", str(ratio)))
here.add(
    "w8a8", "W8A8, codes in the file (--bits 8 --encoding qdq --activations 8)",
    compress("--target-bits", "8", "--bits", "8", "--encoding", "qdq", "--activations", "8"))
here.add("ratio-11-a8", "11×, activations of 8 bits (--activations 8)", compress("--target-ratio", "11", "--activations", "8"))
here.add("ratio-8-affine", "8×, uniform grids (--coding affine)", compress("--target-ratio", "8", "--coding", "affine"))
here.add(
    "ratio-8-unmoved", "8×, uniform grids, no moved copies of images (--coding affine --shifts 0)",
    compress("--target-ratio", "8", "--coding", "affine", "--shifts", "0"))

if __name__ == "__main__":
    here.main()
