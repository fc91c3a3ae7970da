"""Trellis codes, judged from outside: a decoder in NumPy from the header's words alone, onnxruntime for the written files."""

import ctypes
import json
import subprocess

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet


def decoded(initializer):
    """The weights of a trellis initializer, as the header tells how to make them."""
    table, bits = initializer.trellis_table, initializer.bits
    codes = np.moveaxis(initializer.codes, initializer.axis, 0)
    others = codes.shape[1:]
    # Steps go through the first of the other axes fastest.
    codes = np.moveaxis(codes, 1, -1).reshape(len(codes), -1)
    states = np.zeros(codes.shape, np.int64)
    state = np.zeros(len(codes), np.int64)
    for column in range(codes.shape[1]):
        state = ((state << bits) | codes[:, column]) % len(table)
        states[:, column] = state
    run = initializer.trellis_rotation
    levels = table[states].reshape(-1, run)
    half = 1
    while half < run:
        pairs = levels.reshape(-1, run // (2 * half), 2, half)
        levels = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2).reshape(-1, run)
        half *= 2
    levels = levels * (np.float32(1) / np.sqrt(np.float32(run)))
    block = initializer.block_size or codes.shape[1]
    scale = initializer.scale.reshape(len(codes), -1).repeat(block, axis=1)[:, : codes.shape[1]]
    values = np.moveaxis(levels.reshape([len(codes), *others[1:], others[0]]), -1, 1) * scale.reshape(len(codes), *others)
    return np.moveaxis(values, 0, initializer.axis)


def run(model, inputs, optimized=True):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, inputs)


def weight(shape, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 0.2).astype(np.float32)


def made(nodes, initializers, inputs, outputs, opset=17):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * rank) for n, rank in outputs],
        [numpy_helper.from_array(v, n) for n, v in initializers.items()])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()


F, I = TensorProto.FLOAT, TensorProto.INT64


def samples_of(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)



KINDS = {
    "conv": (
        [helper.make_node("Conv", ["x", "w"], ["y"])], {"w": weight((6, 4, 3, 3))}, [("x", F, ["n", 4, 8, 8])],
        {"x": samples_of(32, 4, 8, 8)}),
    "depthwise": (
        [helper.make_node("Conv", ["x", "w"], ["y"], group=6)], {"w": weight((6, 1, 3, 3))}, [("x", F, ["n", 6, 8, 8])],
        {"x": samples_of(32, 6, 8, 8)}),
    "grouped": (
        [helper.make_node("Conv", ["x", "w"], ["y"], group=2)], {"w": weight((6, 3, 3, 3))}, [("x", F, ["n", 6, 8, 8])],
        {"x": samples_of(32, 6, 8, 8)}),
    "transposed": (
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"])], {"w": weight((4, 5, 3, 3))}, [("x", F, ["n", 4, 6, 6])],
        {"x": samples_of(32, 4, 6, 6)}),
    "grouped transposed": (
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=2)], {"w": weight((4, 5, 3, 3))},
        [("x", F, ["n", 4, 6, 6])], {"x": samples_of(32, 4, 6, 6)}),
    "matmul": (
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight((20, 9))}, [("x", F, ["n", 20])],
        {"x": samples_of(64, 20)}),
    "gemm": (
        [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], {"w": weight((9, 20))}, [("x", F, ["n", 20])],
        {"x": samples_of(64, 20)}),
    "left matmul": (
        [helper.make_node("MatMul", ["w", "x"], ["y"])], {"w": weight((7, 12))}, [("x", F, ["n", 12, 3])],
        {"x": samples_of(64, 12, 3)}),
    "table": (
        [helper.make_node("Gather", ["w", "i"], ["y"])], {"w": weight((50, 16))}, [("i", I, ["n", 5])],
        {"i": np.random.default_rng(5).integers(0, 50, (64, 5))}),
    "lstm": (
        [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
         helper.make_node("LSTM", ["t", "w", "r"], ["s"], hidden_size=6),
         helper.make_node("Squeeze", ["s", "one"], ["q"]), helper.make_node("Transpose", ["q"], ["y"], perm=[1, 0, 2])],
        {"w": weight((1, 24, 8)), "r": weight((1, 24, 6), 1), "one": np.array([1], np.int64)}, [("x", F, ["n", 7, 8])],
        {"x": samples_of(32, 7, 8)}),
}


RANKS = {"conv": 4, "depthwise": 4, "grouped": 4, "transposed": 4, "grouped transposed": 4, "left matmul": 3, "table": 3, "lstm": 3}


def quantized(kind, bits=3, **options):
    nodes, initializers, inputs, data = KINDS[kind]
    model, samples = cet.Model(made(nodes, initializers, inputs, [("y", RANKS.get(kind, 2))])), cet.Calibration(data)
    plan = cet.plan(model, samples, method="uniform", bits=[bits], target_bits=bits, coding="trellis", loss="mse", **options)
    return cet.quantize(model, samples, plan), data


@pytest.mark.parametrize("granularity", ["per-axis", "block:8"])
@pytest.mark.parametrize("kind", KINDS)
def test_everyKind_decodesByTheHeadersWords_andRunsInOnnxruntime(kind, granularity):
    q, data = quantized(kind, granularity=granularity)
    for initializer in q:
        assert initializer.coding == "trellis" and initializer.zero_point is None
        columns = initializer.codes.size // initializer.shape[initializer.axis]
        # A block that is no shorter than a row is the row.
        is_whole = granularity == "per-axis" or columns <= 8
        assert initializer.trellis_rotation == (np.gcd(columns, 16 if columns < 1024 else 64) if is_whole else 1)
        values = decoded(initializer)
        np.testing.assert_array_equal(values, initializer.dequantize())
    file = q.to_bytes()
    onnx.checker.check_model(onnx.load_model_from_string(file), full_check=True)
    expected = run(q.to_bytes(encoding="float"), data)[0]
    for optimized in (False, True):
        found = run(file, data, optimized)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("bits", range(1, 7))
def test_everyWidth_losesLessThanAGrid(bits):
    nodes, initializers, inputs, data = KINDS["matmul"]
    initializers = {"w": weight((256, 32))}
    inputs, data = [("x", F, ["n", 256])], {"x": samples_of(512, 256)}
    model, samples = cet.Model(made(nodes, initializers, inputs, [("y", 2)])), cet.Calibration(data)
    errors = {}
    for coding in ["affine", "trellis"][bits == 1 :]:
        plan = cet.plan(
            model, samples, method="uniform", bits=[bits], target_bits=bits, coding=coding, rounding="gptq", loss="mse")
        q = cet.quantize(model, samples, plan)
        assert q["w"].coding == coding
        errors[coding] = float(((q["w"].dequantize() - initializers["w"]) ** 2).mean() / (initializers["w"] ** 2).mean())
    # Of a normal source: what 32 paths reach and a little more.
    assert errors["trellis"] < [0.31, 0.09, 0.026, 0.0075, 0.0023, 0.0008][bits - 1]
    if "affine" in errors:
        assert errors["trellis"] < 0.8 * errors["affine"]


DEGENERATE = {
    "zero rows": lambda w: np.where(np.arange(12)[None] % 3 == 0, 0, w),
    "all zero": lambda w: w * 0,
    "one outlier": lambda w: w + 50.0 * (np.arange(w.size) == 7).reshape(w.shape),
    "two values": lambda w: np.sign(w) * 0.3,
    "constant rows": lambda w: w * 0 + np.arange(12)[None] / 7,
    "huge": lambda w: w * 1e30,
    "tiny": lambda w: w * 1e-30,
    "sparse": lambda w: np.where(np.abs(w) > 0.45, w, 0),
    "dead inputs": lambda w: w,
}


@pytest.mark.parametrize("rows", [1, 2, 40])
@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerateWeights_areNeverWorseThanOnTheGrid(kind, rows):
    w = DEGENERATE[kind](weight((rows, 12))).astype(np.float32)
    data = {"x": np.random.default_rng(rows).standard_normal((128, rows)).astype(np.float32)}
    if kind == "dead inputs":
        data["x"][:, rows // 2 :] = 0
    source = made([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": w}, [("x", F, ["n", rows])], [("y", 2)])
    model, samples = cet.Model(source), cet.Calibration(data)
    losses = {}
    for coding in ["affine", "auto"]:
        plan = cet.plan(model, samples, method="uniform", bits=[3], target_bits=3, coding=coding, rounding="gptq", loss="mse")
        difference = cet.quantize(model, samples, plan)["w"].dequantize().astype(np.float64) - w
        losses[coding] = float(((data["x"].astype(np.float64) @ difference) ** 2).mean())
    assert losses["auto"] <= losses["affine"] * 1.05 + 1e-12 * float((w.astype(np.float64) ** 2).mean())


def test_codesAndScales_areTheSameForAnyNumberOfThreads():
    found = []
    for threads in (1, 2, 3):
        q, _ = quantized("conv", threads=threads)
        found.append((q["w"].packed_codes.tobytes(), q["w"].scale.tobytes()))
    assert found[0] == found[1] == found[2]


def test_autoPlan_ofTheDigits_hasBothCodings_andSaysSo(model, calibration):
    plan = cet.plan(model, calibration, target_ratio=11)
    assert {t.coding for t in plan.tensors if t.bits < 32} <= {"affine", "trellis"}
    assert any(t.coding == "trellis" for t in plan.tensors)
    assert plan.summary.coding == "auto"
    document = json.loads(plan.to_json())
    for tensor, entry in zip(plan.tensors, document["tensors"]):
        assert entry["coding"] == (tensor.coding or "affine")
        assert {int(b) for b, word in entry["codings"].items() if word == "trellis"} == set(tensor.trellis_bits)
    assert cet.Plan.from_json(plan.to_json()).to_json() == plan.to_json()
    again = plan.replan(model, target_ratio=14)
    assert again.summary.ratio >= 14 and any(t.coding == "trellis" for t in again.tensors)


def test_affineCoding_hasGridsAlone(model, calibration):
    plan = cet.plan(model, calibration, target_ratio=11, coding="affine")
    assert {t.coding for t in plan.tensors if t.bits < 32} == {"affine"}
    assert {b for t in plan.tensors for b in t.sensitivity} <= {2, 3, 4, 8}


def test_trellisPlan_inQdq_hasGrids_andAnotherBudgetNeedsData(model, calibration):
    plan = cet.plan(model, calibration, target_ratio=9, bits=[2, 3, 4, 8])
    with pytest.raises(cet.InvalidArgument, match="trellis codes"):
        plan.replan(model, target_ratio=10, encoding="qdq")
    q = cet.quantize(model, calibration, plan, encoding="qdq")
    assert {i.coding for i in q} == {"affine"}
    assert any("no trellis codes" in note for note in q.plan.notes)
    assert cet.Plan.from_json(q.plan.to_json()).to_json() == q.plan.to_json()
    with pytest.raises(cet.InvalidArgument, match="plan or quantize for this encoding"):
        cet.quantize(model, calibration, plan).to_bytes(encoding="qdq")


def test_planOfGridsAlone_inQdq_isReadBackFromItsJSON(model, calibration):
    plan = cet.plan(model, calibration, target_ratio=4, fix={"*": 8})
    q = cet.quantize(model, calibration, plan, encoding="qdq", effort="low")
    assert cet.Plan.from_json(q.plan.to_json()).to_json() == q.plan.to_json()
    assert json.loads(q.plan.to_json())["options"]["effort"] == "low"


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(coding="trellis", encoding="qdq"), "encoding 'qdq' has none"),
        (dict(coding="trellis", granularity="per-tensor"), "granularity per-tensor has none"),
        (dict(coding="affine", bits=[1, 2]), "1 bit needs trellis codes"),
        (dict(encoding="qdq", fix={"*": 1}), "1 bit needs trellis codes"),
        (dict(rounding="nearest", bits=[1]), "1 bit needs trellis codes"),
        (dict(coding="lattice"), "lattice"),
        (dict(effort="heroic"), "heroic"),
    ])
def test_impossibleCodings_areRefused(model, calibration, options, words):
    with pytest.raises(cet.InvalidArgument, match=words):
        cet.plan(model, calibration, target_ratio=9, **options)


def test_planRoundedToNearest_isReadBackFromItsJSON(model, calibration):
    plan = cet.plan(model, calibration, target_ratio=11)
    q = cet.quantize(model, calibration, plan, rounding="nearest")
    again = cet.Plan.from_json(q.plan.to_json())
    assert again.to_json() == q.plan.to_json()
    assert cet.quantize(model, None, again).plan.bits == plan.bits


def test_rowsTooLongForATrellis_haveGrids_andNoSingleBit():
    w = weight((70000, 2))
    source = made([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": w}, [("x", F, ["n", 70000])], [("y", 2)])
    model, samples = cet.Model(source), cet.Calibration({"x": samples_of(4, 70000)})
    for method in ("uniform", "cet"):
        plan = cet.plan(model, samples, method=method, target_ratio=15, rounding="nearest", coding="trellis", loss="mse")
        assert plan.bits == {"w": 2} and plan.tensors[0].coding == "affine"
        assert cet.quantize(model, None, plan)["w"].coding == "affine"
    with pytest.raises(cet.InfeasibleBudget):
        cet.plan(model, samples, method="uniform", target_ratio=20, rounding="nearest", coding="trellis", loss="mse")
    with pytest.raises(cet.InvalidArgument, match="cannot have trellis codes"):
        cet.plan(model, samples, target_ratio=8, rounding="nearest", coding="trellis", loss="mse", fix={"w": 1})


def test_decoderOfTheDocuments_makesTheWeights(root, build, tmp_path):
    """The C code of docs/abi.md as it stands there."""
    text = (root / "docs" / "abi.md").read_text()
    code = text[text.index("```c") + 4 :]
    code = code[: code.index("```")].replace("static void", "void")
    (tmp_path / "decode.c").write_text("#include <math.h>\n#include <stdint.h>\n#include <cet/cet.h>\n" + code)
    subprocess.run(
        ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC", "-I", str(root / "include"),
         tmp_path / "decode.c", "-lm", "-o", tmp_path / "decode.so"], check=True)
    decode = ctypes.CDLL(str(tmp_path / "decode.so")).decode_row
    decode.argtypes = [ctypes.c_void_p] + [ctypes.c_uint64] * 3 + [ctypes.POINTER(ctypes.c_float)]
    for coding in ("affine", "trellis"):
        nodes, initializers, inputs, data = KINDS["conv"]
        model, samples = cet.Model(made(nodes, initializers, inputs, [("y", 4)])), cet.Calibration(data)
        plan = cet.plan(model, samples, method="uniform", bits=[3], target_bits=3, coding=coding, loss="mse")
        initializer = cet.quantize(model, samples, plan)["w"]
        rows, channels, positions = initializer.shape[0], initializer.shape[1], 9
        row = (ctypes.c_float * (channels * positions))()
        for index in range(rows):
            decode(ctypes.addressof(initializer._view), index, channels, positions, row)
            np.testing.assert_array_equal(np.array(row), initializer.dequantize()[index].ravel())


def test_editedPlans_takeTheTablesCoding(model, calibration):
    plan = cet.plan(model, calibration, target_ratio=11)
    document = json.loads(plan.to_json())
    tensor = next(t for t in document["tensors"] if t["bits"] != 2 and "2" in t["codings"])
    tensor["bits"] = 2
    edited = cet.Plan.from_json(json.dumps(document))
    assert next(t for t in edited.tensors if t.name == tensor["name"]).coding == tensor["codings"]["2"]
    tensor["bits"] = tensor["decided_bits"]
    tensor["coding"] = "affine" if tensor["coding"] == "trellis" else "trellis"
    with pytest.raises(cet.InvalidArgument, match="table's loss"):
        cet.Plan.from_json(json.dumps(document))


@pytest.mark.long
def test_writtenFile_isPlannedAgain(model, digits, calibration, calibration_arrays):
    file = cet.quantize(model, calibration, cet.plan(model, calibration, target_ratio=9)).to_bytes()
    again = cet.Model(file)
    nodes = onnx.load_model_from_string(file).graph.node
    together = [list(n.output) for n in nodes if n.op_type == "Split"]
    assert together  # weights that are decoded as one are found, too
    plan = cet.plan(again, calibration, target_ratio=12)
    assert {t.name for t in plan.tensors} == {t.name for t in cet.plan(model, calibration, target_ratio=12).tensors}
    q = cet.quantize(again, calibration, plan)
    assert q.plan.summary.ratio >= 12
    x = {model.inputs[0].name: calibration_arrays[model.inputs[0].name][:64]}
    reference = run(str(digits / "model.onnx"), x)[0]
    assert np.abs(run(q.to_bytes(), x)[0] - reference).max() < 0.3 * np.abs(reference).max()
    # One of those decoded together stays as it is.
    kept = together[0][0]
    q = cet.quantize(again, calibration, cet.plan(again, calibration, target_ratio=10, keep=[kept]))
    onnx.checker.check_model(onnx.load_model_from_string(q.to_bytes()), full_check=True)
    expected = run(q.to_bytes(encoding="float"), x)[0]
    np.testing.assert_allclose(run(q.to_bytes(), x)[0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_moreEffort_losesLess():
    errors = []
    data = {"x": samples_of(512, 300)}
    w = weight((300, 400))
    source = made([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": w}, [("x", F, ["n", 300])], [("y", 2)])
    model, samples = cet.Model(source), cet.Calibration(data)
    for effort in ["low", "high"]:
        plan = cet.plan(
            model, samples, method="uniform", bits=[4], target_bits=4, coding="trellis", rounding="gptq", loss="mse",
            effort=effort)
        errors.append(float(((data["x"] @ (cet.quantize(model, samples, plan)["w"].dequantize() - w)) ** 2).mean()))
    assert errors[1] < errors[0]
