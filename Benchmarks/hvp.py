"""Hessian-vector products of the library against PyTorch's double backward: same model, data and threads, in turns.

    python Benchmarks/hvp.py MODEL [MODEL ...] [--batch 8] [--rounds 5] [--threads 2] [--loss cross-entropy|kl|mse]

MODEL is a name of models.py, or FILE.onnx:DATA.npz. PyTorch's time is that of `autograd.grad` of the gradient with the
graph kept, ours that of a product whose primals are kept: both repeat only what depends on the vector. Prints a table
of medians; `error` is the relative difference of the products.
"""

import pathlib
import resource
import statistics
import sys
import tempfile
import time

import numpy as np
import onnx
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "Tests/python"), str(ROOT / "bindings/python")]

import arguments as a  # noqa: E402
import cet  # noqa: E402
import models  # noqa: E402
from torch_reference import TorchReference  # noqa: E402


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def peak_gflops(threads):
    """Single-precision matrix product of PyTorch's BLAS, the best of several."""
    torch.set_num_threads(threads)
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return 2 * 2048**3 / min(timed(lambda: a @ b)[0] for _ in range(10)) / 1e9


def load(name, batch, folder):
    if ":" in name:
        path, arrays = name.rsplit(":", 1)
        arrays = np.load(arrays)
        inputs = {key: arrays[key][:batch] for key in arrays.files if key != "labels"}
        labels = arrays["labels"][:batch] if "labels" in arrays.files else np.zeros(batch, np.int64)
        return path, inputs, labels
    path = f"{folder}/{name}.onnx"
    onnx.save(models.build(name), path)
    return path, *models.data(name, batch)


def measure(name, options, folder):
    path, inputs, labels = load(name, options.batch, folder)
    calibration = cet.Calibration(inputs, labels=labels if options.loss == "cross-entropy" else None)
    model = cet.Model(path)
    settings = dict(loss=options.loss, threads=options.threads)
    hessian = cet.Hessian(model, calibration, **settings)
    gauss_newton = cet.Hessian(model, calibration, curvature="gauss-newton", **settings)
    reference = TorchReference(path, dict(inputs, labels=labels), dtype=torch.float32, batch=options.batch)
    reference.check_order(hessian.parameters)
    vector = np.random.default_rng(2).standard_normal(hessian.shape[0]).astype(np.float32)
    kept = reference.kept_gradient(options.loss)
    times = {key: [] for key in ("torch", "hvp", "gradient", "gn")}
    ours = hessian @ vector  # fills what products share
    gauss_newton @ vector
    for _ in range(options.rounds):
        for key, work in (
            ("torch", lambda: reference.product(kept, vector)), ("hvp", lambda: hessian @ vector),
            ("gradient", hessian.gradient), ("gn", lambda: gauss_newton @ vector),
        ):
            elapsed, result = timed(work)
            times[key].append(1e3 * elapsed / options.batch)
            if key == "torch":
                theirs = result
    median = {key: statistics.median(values) for key, values in times.items()}
    error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    stem = pathlib.Path(name.split(":")[0])
    return (
        f"| {stem.parent.name if ':' in name else name} | {len(vector) / 1e6:.1f} M | {median['torch']:.1f} | {median['hvp']:.1f} "
        f"| {median['torch'] / median['hvp']:.2f} | {median['hvp'] / median['gradient']:.2f} "
        f"| {median['gn'] / median['hvp']:.2f} | {error:.1e} |")


def main():
    parser = a.Parser(__doc__)
    parser.add_argument("models", nargs="+", type=models.known_or_own)
    parser.add_argument("--batch", type=a.count, default=8)
    parser.add_argument("--rounds", type=a.count, default=5)
    parser.add_argument("--threads", type=a.count, default=2)
    parser.add_argument("--loss", default="cross-entropy", choices=["cross-entropy", "kl", "mse"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.loss}, batch {options.batch}, {options.threads} threads, PyTorch {torch.__version__}, "
          f"matrix products {peak_gflops(options.threads):.0f} GFLOP/s\n")
    print("| model | parameters | PyTorch ms/sample | libcet ms/sample | faster | HVP / gradient | Gauss-Newton / HVP | error |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            print(measure(name, options, folder), flush=True)
    print(f"\npeak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


main()
