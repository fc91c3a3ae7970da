"""Top-1 accuracy of digit classifiers, run by onnxruntime with its default options.

usage: python accuracy.py TEST.npz MODEL.onnx [MODEL.onnx ...]
TEST.npz: `x` uint8 [n, 8, 8] with values 0 to 16, `y` the classes.
"""

import os
import sys

import numpy as np
import onnxruntime


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    test = np.load(sys.argv[1])
    images = (test["x"].astype(np.float32) / 16 - np.float32(0.3))[:, None]
    for path in sys.argv[2:]:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        logits = session.run(None, {session.get_inputs()[0].name: images})[0]
        correct = int((logits.argmax(1) == test["y"]).sum())
        share = 100 * correct / len(images)
        print(f"{os.path.basename(path):<24} {os.path.getsize(path):>9,} bytes  top-1 {share:6.2f} % ({correct}/{len(images)})")


main()
