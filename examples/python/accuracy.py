"""Top-1 accuracy of digit classifiers, run by onnxruntime with its default options.

usage: python accuracy.py TEST.npz MODEL.onnx ...
TEST.npz: `x` uint8 [n, 8, 8] with values 0 to 16, `y` the classes.
"""

import os

import numpy as np
import onnxruntime

from arguments import arguments


def main():
    data, *models = arguments(__doc__)
    test = np.load(data)
    images = (test["x"].astype(np.float32) / 16 - np.float32(0.3))[:, None]
    for path in models:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        logits = session.run(None, {session.get_inputs()[0].name: images})[0]
        correct = int((logits.argmax(1) == test["y"]).sum())
        share = 100 * correct / len(images)
        print(f"{os.path.basename(path):<24} {os.path.getsize(path):>9,} bytes  top-1 {share:6.2f} % ({correct}/{len(images)})")


main()
