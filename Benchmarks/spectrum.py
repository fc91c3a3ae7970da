"""Lanczos steps end to end, peak memory, and the time to open a large file.

    python Benchmarks/spectrum.py MODEL [--pairs 20] [--samples 16] [--threads 2]

MODEL is a name of models.py. One process, one line each.
"""

import pathlib
import resource
import sys
import tempfile
import time

import numpy as np
import onnx

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "bindings/python")]

import arguments as a  # noqa: E402
import cet  # noqa: E402
import models  # noqa: E402


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def large_file(folder, megabytes=500):
    """A chain of wide layers."""
    net = models.Network()
    x = "input"
    for _ in range(megabytes // 4):
        x = net.node("MatMul", x, net.weight((1024, 1024), 0.03))
    graph = onnx.helper.make_graph(
        net.nodes, "large", [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["batch", 1024])],
        [onnx.helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, ["batch", 1024])], net.initializers)
    path = f"{folder}/large.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def main():
    parser = a.Parser(__doc__)
    parser.add_argument("model", type=models.known)
    parser.add_argument("--pairs", type=a.count, default=20)
    parser.add_argument("--samples", type=a.count, default=16)
    parser.add_argument("--threads", type=a.count, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = large_file(folder)
        open(path, "rb").read()  # the file is in the page cache, as after a download
        start = time.perf_counter()
        large = cet.Model(path)
        print(f"opening a model of 500 MB: {1e3 * (time.perf_counter() - start):.1f} ms")
        del large
        path = f"{folder}/{options.model}.onnx"
        onnx.save(models.build(options.model), path)
        inputs, labels = models.data(options.model, options.samples)
        hessian = cet.Hessian(
            cet.Model(path), cet.Calibration(inputs, labels=labels), loss="cross-entropy", threads=options.threads)
    before = peak()
    start = time.perf_counter()
    found = cet.eigsh(hessian, k=options.pairs, which="LM")
    print(f"{options.model}, {hessian.shape[0] / 1e6:.1f} M parameters, {options.samples} samples, {options.pairs} pairs: "
          f"{time.perf_counter() - start:.1f} s, {int(np.sum(found.converged))} converged, "
          f"peak memory {peak():.2f} GiB ({before:.2f} before)")


main()
