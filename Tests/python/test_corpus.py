"""A few hundred small models over all operators, judged from outside (corpus/judge.py).

What the library runs equals onnxruntime; what it writes computes what the model with its dequantized weights computes;
its Hessian-vector products are second differences of the loss in float64 and do not depend on the batch size; what
`inspect` promises, planning does.
"""

import dataclasses
import functools
import re
import zlib

import numpy as np
import onnx
import pytest

import cet
import corpus
from corpus import judge

BITS = (2, 3, 4, 8)
GRANULARITIES = ("per-axis", "per-tensor", "block:4")

every_case = pytest.mark.parametrize("case", corpus.CASES, ids=str)


@functools.lru_cache(maxsize=8)
def loaded(name):
    return cet.Model(next(case for case in corpus.CASES if case.name == name).model)


def settled(case):
    """The case as the judge changes it: weights that the model computes from constants stand in it as constants."""
    names = [parameter.name for parameter in loaded(case.name).parameters]
    return dataclasses.replace(case, model=judge.settled(case.model, names))


def run(case, model, inputs=None, **options):
    """Outputs by the judge, which sees one batch after the other where the model has a fixed size."""
    inputs = case.inputs if inputs is None else inputs
    judged = judge.run_stock if case.stock else lambda model, inputs, **_: judge.run_reference(model, inputs)
    if case.batches != (1,):
        return judged(model, inputs, **options)
    parts = [judged(model, {k: v[i:i + 1] for k, v in inputs.items()}, **options) for i in range(case.samples)]
    return [np.concatenate(each) for each in zip(*parts)]


def same(actual, expected, tolerance, what=""):
    assert len(actual) == len(expected)
    for index, (a, b) in enumerate(zip(actual, expected)):
        assert a.shape == b.shape and a.dtype == b.dtype, f"{what} output {index}: {a.dtype} {a.shape}, {b.dtype} {b.shape}"
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        scale = max(np.linalg.norm(b), 1e-12)
        difference = np.linalg.norm(a - b) / scale
        assert difference <= tolerance, f"{what} output {index} differs by {difference:.2e}"


def labels(case, scores):
    return np.random.default_rng(zlib.crc32(case.name.encode())).integers(0, scores.shape[-1], scores.shape[:-1])


def repeated(case, times):
    """The samples several times, each along its own axis of samples."""
    def axis(info):
        dims = [d.dim_param for d in info.type.tensor_type.shape.dim]
        return dims.index("n") if "n" in dims else 0 if dims and case.samples == case.inputs[info.name].shape[0] else None

    infos = {info.name: info for info in onnx.load_from_string(case.model).graph.input}
    result = {}
    for name, values in case.inputs.items():
        along = axis(infos[name])
        result[name] = values if along is None else np.concatenate([values] * times, along)
    return result


# MARK: Outputs

@every_case
def test_outputs_equal_those_of_the_judge(case):
    if case.batches == (1,):
        parts = [cet.run(loaded(case.name), {k: v[i:i + 1] for k, v in case.inputs.items()}) for i in range(case.samples)]
        own = [np.concatenate([part[name] for part in parts]) for name in parts[0]]
    else:
        own = list(cet.run(loaded(case.name), case.inputs).values())
    same(own, run(case, case.model), case.tolerance)


# MARK: Written files

def planned(case, encoding):
    """Planes by the whole method on as many samples as compensation needs; DequantizeLinear with all widths by turns."""
    model, turn = loaded(case.name), zlib.crc32(case.name.encode())
    if encoding == "planes":
        data = cet.Calibration(repeated(case, 3) if case.batches[-1] == corpus.SAMPLES else case.inputs)
        return data, cet.plan(model, data, target_bits=3.5)
    data = cet.Calibration(case.inputs)
    fix = {parameter.name: BITS[(turn + k) % 4] for k, parameter in enumerate(model.parameters)}
    return data, cet.plan(
        model, data, method="uniform", target_bits=8, bits=BITS, fix=fix, encoding="qdq", rounding="gptq",
        granularity=GRANULARITIES[turn % 3])


@every_case
@pytest.mark.parametrize("encoding", ["planes", "qdq"])
def test_written_file_computes_what_the_dequantized_weights_compute(case, encoding):
    if not case.quantizable or case.refused:
        pytest.skip("nothing to write")
    data, plan = planned(case, encoding)
    case = settled(case)
    small = cet.quantize(loaded(case.name), data, plan)
    written = small.to_bytes()
    assert small.plan.summary.file_bytes == len(written)
    expected = run(case, judge.replaced(case.model, {w.name: w.dequantize() for w in small}, small.corrections).SerializeToString())
    same(run(case, written), expected, case.tolerance, "no optimizations:")
    # Without the level a fused kernel rounds activations to 8 bits.
    same(run(case, written, optimized=True, session__qdq_matmulnbits_accuracy_level="1"), expected, case.tolerance, "optimized:")
    same(run(case, small.to_bytes(encoding="float")), expected, case.tolerance, "float:")


# MARK: Curvature

def scales(hessian, values):
    """The size of each weight's tensor: directions and products are measured in it."""
    parts = []
    for parameter in hessian.parameters:
        size = np.sqrt(np.mean(np.asarray(values[parameter.name], np.float64) ** 2))
        parts.append(np.full(parameter.count, size or 0.1))
    return np.concatenate(parts)


def split(hessian, vector):
    return {parameter.name: vector[parameter.slice] for parameter in hessian.parameters}


@every_case
def test_products_are_second_differences_whatever_the_batch_size(case):
    if not case.quantizable:
        pytest.skip("no weights")
    case = settled(case)
    scores = run(case, case.model)[0]
    classes = labels(case, scores) if "cross-entropy" in case.loss else None
    data = cet.Calibration(case.inputs, classes)
    losses = judge.Losses(case, classes) if case.curvature else None
    random = np.random.default_rng(7)
    products = {}
    for loss in case.loss:
        for batch in case.batches:
            hessian = cet.Hessian(loaded(case.name), data, loss=loss, batch_size=batch)
            if not products:
                size = scales(hessian, {n: onnx.numpy_helper.to_array(t) for n,
                    t in judge.tensors(onnx.load_from_string(case.model))})
                v = random.standard_normal(len(size))
                v /= np.linalg.norm(v)
            product = size * (hessian @ (size * v).astype(np.float32)).astype(np.float64)
            first = products.setdefault(loss, product)
            floor = 1e-7 * max(1, abs(hessian.loss()))
            difference = np.linalg.norm(product - first)
            assert difference <= 1e-4 * np.linalg.norm(first) + floor, f"{loss}: batches of {batch} differ by {difference:.2e}"
    if losses is None or losses.own.size == 0:
        return
    main = products[case.loss[0]]
    left = main / (np.linalg.norm(main) or 1), random.standard_normal(len(v))
    for u in (left[0], left[1] / np.linalg.norm(left[1])):
        check_products(hessian, losses, products, size, u, v)


def check_products(hessian, losses, products, size, u, v):
    """Kinks spoil large steps and round-off small ones: one of the steps must agree."""
    misses = {}
    for step in (1e-3, 1e-4, 1e-2, 2e-5):
        found = losses.mixed(split(hessian, size * u), split(hessian, size * v), step)
        misses = {
            loss: (u @ product, found[loss]) for loss, product in products.items()
            if misses.get(loss, True) and not abs(u @ product - found[loss]) <= 1e-4 * np.linalg.norm(product) + 1e-7}
        if not misses:
            return
    raise AssertionError("; ".join(f"{loss}: product {a:.6e}, second difference {b:.6e}" for loss, (a, b) in misses.items()))


# MARK: Inspection

@every_case
def test_inspection_promises_what_planning_does(case):
    found = cet.inspect(loaded(case.name))
    promised = found["supported"] and found["quantizable_weights"] > 0
    try:
        cet.plan(loaded(case.name), cet.Calibration(case.inputs), target_bits=4, method="uniform", rounding="nearest")
        works = True
    except cet.CetError as error:
        works = False
        assert re.search(case.refused or "no quantizable weights", str(error)), f"{'supported, but ' if promised else ''}{error}"
    assert promised == works == (case.quantizable and not case.refused)


def test_corpus_has_every_operator_of_the_table(root):
    """docs/operators.md is generated from the library's registry."""
    used = set()
    for case in corpus.CASES:
        for graph in judge.graphs(onnx.load_from_string(case.model)):
            used |= {(node.domain if node.domain != "ai.onnx" else "", node.op_type) for node in graph.node}
    domain, missing = "", []
    for line in (root / "docs" / "operators.md").read_text().splitlines():
        if line.startswith("## "):
            domain = "" if line.split()[1] == "ai.onnx" else line.split()[1]
        entry = re.match(r"\| (\w+) \| \d", line)
        if entry and (domain, entry[1]) not in used:
            missing.append(entry[1])
    assert missing == []
    assert len({case.name for case in corpus.CASES}) == len(corpus.CASES) >= 200
