"""The encoding `qdq`: DequantizeLinear on ONNX's integer types, in models of all ages.

Every written file passes onnx's checker, runs in onnxruntime, and computes what the file with the dequantized weights (the
encoding `float`, in the model's own operator set) computes.
"""

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
BITS = [2, 3, 4, 8]
GRANULARITIES = ["per-tensor", "per-axis", "block:32"]


def weight(shape, seed, scale=0.2):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def samples(*shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def build(nodes, inputs, outputs, initializers, opset, ir=8, functions=(), domains=()):
    def info(name, element, shape):
        return helper.make_tensor_value_info(name, element, shape)

    graph = helper.make_graph(
        nodes, "g", [info(*x) for x in inputs], [info(*x) for x in outputs],
        [x if isinstance(x, TensorProto) else numpy_helper.from_array(x[1], x[0]) for x in initializers])
    made = helper.make_model(
        graph, functions=functions, ir_version=ir,
        opset_imports=[helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)])
    return made.SerializeToString()


def run(model, inputs, optimized=False):
    """Without optimizations a graph's own nodes run: otherwise onnxruntime fuses DequantizeLinear and MatMul into a kernel
    that rounds activations to 8 bits."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, inputs)


def opset_of(model):
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def quantize(source, inputs, bits, granularity="per-axis", encoding="qdq", **options):
    model, data = cet.Model(source), cet.Calibration(inputs)
    plan = cet.plan(
        model, data, method="uniform", bits=[bits], target_bits=bits, granularity=granularity, encoding=encoding, loss="mse",
        rounding="nearest", **options)
    return cet.quantize(model, data, plan)


def check(source, inputs, bits, granularity="per-axis", encoding="qdq"):
    """The written model, judged."""
    small = quantize(source, inputs, bits, granularity, encoding)
    if encoding == "qdq":
        assert small.plan.summary.file_bytes == len(small.to_bytes())
    return judge(small, inputs)


def judge(small, inputs, checked=True):
    written = small.to_bytes(encoding="qdq")
    model = onnx.load_from_string(written)
    if checked:
        onnx.checker.check_model(model, full_check=True)
    for actual, expected in zip(run(written, inputs), run(small.to_bytes(encoding="float"), inputs), strict=True):
        assert actual.dtype == expected.dtype
        scale = max(1.0, float(np.abs(expected.astype(float)).max()))
        np.testing.assert_allclose(actual.astype(float), expected.astype(float), rtol=0, atol=1e-5 * scale)
    return model


def needed(bits, granularity):
    """Operator set and IR version that the codes need."""
    if bits < 8:
        return (25, 13) if bits == 2 else (21, 10)
    return {"per-tensor": 10, "per-axis": 13, "block:32": 21}[granularity], 0


# MARK: Where weights stand

def dense(opset):
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b"], ["y"], transB=1)]
    return build(
        nodes, [("x", FLOAT, ["n", 70])], [("y", FLOAT, ["n", 10])],
        [("w1", weight((70, 40), 1)), ("w2", weight((10, 40), 2)), ("b", weight((10,), 3))], opset), {"x": samples(8, 70)}


def convolutions(opset):
    """Two-dimensional, grouped, transposed and one-dimensional; rows of 27, 18 and 50 weights."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["c1", "w2"], ["c2"], strides=[2, 2]),
        helper.make_node("Conv", ["c2", "w3"], ["c3"], group=2), helper.make_node("Reshape", ["c3", "shape"], ["flat"]),
        helper.make_node("Conv", ["flat", "w4"], ["y"])]
    return build(
        nodes, [("x", FLOAT, [2, 3, 8, 8])], [("y", FLOAT, [2, 5, 221])],
        [("w1", weight((8, 3, 3, 3), 1)), ("w2", weight((8, 4, 3, 3), 2)), ("w3", weight((10, 2, 3, 3), 3)),
         ("shape", np.array([2, 10, -1])), ("w4", weight((5, 10, 5), 4))], opset), {"x": samples(2, 3, 8, 8)}


def table(opset):
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]), helper.make_node("Transpose", ["table"], ["head"], perm=[1, 0]),
        helper.make_node("MatMul", ["e", "head"], ["y"])]
    return build(
        nodes, [("ids", INT64, ["n", 4])], [("y", FLOAT, ["n", 4, 30])], [("table", weight((30, 48), 1))], opset), {
            "ids": np.random.default_rng(0).integers(0, 30, (8, 4))}


def recurrent(opset):
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=10)]
    return build(
        nodes, [("x", FLOAT, [5, "n", 36])], [("y", FLOAT, [5, 1, "n", 10])],
        [("w", weight((1, 40, 36), 1)), ("r", weight((1, 40, 10), 2))], opset), {"x": samples(5, 1, 36)}


def stacked(opset):
    """A three-dimensional right operand, one matrix for each entry of the batch."""
    return build(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [("x", FLOAT, [3, 4, 40])], [("y", FLOAT, [3, 4, 6])],
        [("w", weight((3, 40, 6), 1))], opset), {"x": samples(3, 4, 40)}


def moved(opset):
    """Weights behind operators that only move their elements, as exporters leave them."""
    nodes = [
        helper.make_node("Transpose", ["w1"], ["t1"], perm=[1, 0]), helper.make_node("MatMul", ["x", "t1"], ["h"]),
        helper.make_node("Slice", ["w2", "start", "end"], ["s2"]), helper.make_node("Transpose", ["s2"], ["t2"], perm=[1, 0]),
        helper.make_node("MatMul", ["h", "t2"], ["y"])]
    return build(
        nodes, [("x", FLOAT, ["n", 70])], [("y", FLOAT, ["n", 10])],
        [("w1", weight((40, 70), 1)), ("w2", weight((12, 40), 2)), ("start", np.array([2])), ("end", np.array([12]))], opset), {
            "x": samples(8, 70)}


MODELS = {f.__name__: f for f in (dense, convolutions, table, recurrent, stacked, moved)}


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 21])
@pytest.mark.parametrize("name", MODELS)
def test_all_widths_compute_what_the_dequantized_weights_compute(name, opset):
    source, inputs = MODELS[name](opset)
    for bits in BITS:
        for granularity in GRANULARITIES:
            written = check(source, inputs, bits, granularity)
            least, ir = needed(bits, granularity)
            assert (opset_of(written), written.ir_version) == (max(opset, least), max(8, ir))
            types = {t.data_type for t in written.graph.initializer if t.name.endswith(".cet.q")}
            assert types == {{2: TensorProto.UINT2, 3: TensorProto.UINT4, 4: TensorProto.UINT4, 8: TensorProto.UINT8}[bits]}


@pytest.mark.parametrize("fixture", ["model", "model_opset21"])
@pytest.mark.parametrize("bits", BITS)
def test_digits_compute_what_the_dequantized_weights_compute(digits, calibration_arrays, fixture, bits):
    source = (digits / f"{fixture}.onnx").read_bytes()
    inputs = {k: v for k, v in calibration_arrays.items() if k != "labels"}
    for granularity in GRANULARITIES:
        check(source, inputs, bits, granularity)


@pytest.mark.parametrize("bits", BITS)
def test_sixteen_bit_weights_keep_their_type(bits):
    half = [numpy_helper.from_array(weight((64, 12), 1).astype(np.float16), "w")]
    source = build(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Identity", ["w"], ["copy"])],
        [("x", TensorProto.FLOAT16, ["n", 64])],
        [("y", TensorProto.FLOAT16, ["n", 12]), ("copy", TensorProto.FLOAT16, [64, 12])], half, 17)
    inputs = {"x": samples(8, 64).astype(np.float16)}
    small = quantize(source, inputs, bits)
    written = small.to_bytes()
    onnx.checker.check_model(onnx.load_from_string(written), full_check=True)
    (y, w), (expected, same) = run(written, inputs), run(small.to_bytes(encoding="float"), inputs)
    assert w.dtype == y.dtype == np.float16
    np.testing.assert_array_equal(w, same)
    # Products of 16 bits are summed in another order when the weight is no constant: 64 roundings.
    np.testing.assert_allclose(y.astype(float), expected, rtol=0, atol=2**-11 * 64**0.5 * np.abs(expected).max())


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shared", [False, True])
def test_constant_nodes_and_branches_give_way(bits, shared):
    """Branches may name their values alike."""
    def branch(name, w):
        own = "" if shared else name
        return helper.make_graph(
            [helper.make_node("Constant", [], [f"{name}.w"], value=numpy_helper.from_array(w, "")),
             helper.make_node("MatMul", ["x", f"{name}.w"], [f"{own}.z"]),
             helper.make_node("ReduceMean", [f"{own}.z"], [f"{own}.m"], axes=[1], keepdims=1)], name, [],
            [helper.make_tensor_value_info(f"{own}.m", FLOAT, ["n", 1])])

    nodes = [
        helper.make_node(
            "If", ["flag"], ["y"], then_branch=branch("a", weight((20, 6), 1)), else_branch=branch("b", weight((20, 6), 2)))]
    source = build(
        nodes, [("x", FLOAT, ["n", 20]), ("flag", TensorProto.BOOL, [])], [("y", FLOAT, ["n", 1])], [], 17)
    model = cet.Model(source)
    for flag in (True, False):
        inputs = {"x": samples(6, 20), "flag": np.array(flag)}
        plan = cet.plan(
            model, cet.Calibration(inputs), method="uniform", bits=[bits], target_bits=bits, encoding="qdq", loss="mse",
            rounding="nearest", fix={"*": bits})
        written = cet.quantize(model, cet.Calibration(inputs), plan)
        onnx.checker.check_model(onnx.load_from_string(written.to_bytes()), full_check=True)
        np.testing.assert_allclose(
            run(written.to_bytes(), inputs)[0], run(written.to_bytes(encoding="float"), inputs)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("bits", [2, 3])
def test_codes_of_planes_are_written_exactly(bits):
    """Half zero points of 2 bits, which the encoding `planes` searches, take doubled codes of 4 bits."""
    source, inputs = convolutions(17)
    written = check(source, inputs, bits, encoding="planes")
    types = {t.data_type for t in written.graph.initializer if t.name.endswith(".cet.q")}
    assert types == {TensorProto.UINT4}


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", MODELS)
def test_fused_kernels_stay_within_the_rounding_of_activations(name, bits):
    """onnxruntime's defaults fuse DequantizeLinear and MatMul and round activations to 8 bits in blocks: each is off by at most
    1/254 of the largest in its block, and errors of random signs add up to far less than 1 % of the largest output."""
    source, inputs = MODELS[name](17)
    for granularity in GRANULARITIES:
        small = quantize(source, inputs, bits, granularity)
        expected = run(small.to_bytes(encoding="float"), inputs)[0]
        actual = run(small.to_bytes(), inputs, optimized=True)[0]
        np.testing.assert_allclose(actual, expected, rtol=0, atol=0.01 * np.abs(expected).max())


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("granularity", ["per-tensor", "per-axis", "block:16", "block:64"])
def test_fused_kernels_take_any_number_of_columns(bits, granularity):
    """Those of 2 bits take columns by four and make other numbers of the rest."""
    for inner in (16, 33, 64):
        for columns in (1, 3, 5, 6, 10):
            nodes = [
                helper.make_node("MatMul", ["x", "w1"], ["h"]), helper.make_node("Tanh", ["h"], ["t"]),
                helper.make_node("Gemm", ["t", "w2"], ["y"]), helper.make_node("Transpose", ["w1"], ["w1t"], perm=[1, 0]),
                helper.make_node("MatMul", ["y", "w1t"], ["z"])]
            source = build(
                nodes, [("x", FLOAT, ["n", inner])], [("y", FLOAT, ["n", columns]), ("z", FLOAT, ["n", inner])],
                [("w1", weight((inner, columns), 1)), ("w2", weight((columns, columns), 2))], 17)
            inputs = {"x": samples(8, inner)}
            small = quantize(source, inputs, bits, granularity)
            judge(small, inputs)
            for actual, expected in zip(run(small.to_bytes(), inputs, optimized=True), run(small.to_bytes(encoding="float"), inputs)):
                np.testing.assert_allclose(actual, expected, rtol=0, atol=0.02 * np.abs(expected).max())


# MARK: Versions, sizes, the tool

def test_versions_are_no_higher_than_the_codes_need():
    source, inputs = dense(13)
    assert [opset_of(check(source, inputs, bits)) for bits in (8, 7, 5, 4, 3, 2)] == [13, 13, 13, 21, 21, 25]
    source, inputs = dense(11)
    assert opset_of(check(source, inputs, 8, "per-tensor")) == 11
    assert opset_of(check(source, inputs, 8)) == 13
    source, inputs = dense(9)
    assert opset_of(check(source, inputs, 8, "per-tensor")) == 10
    assert opset_of(check(source, inputs, 8, "block:32")) == 21


@pytest.mark.parametrize("runtime, reads_two_bits", [("ort-1.20", False), ("ort-1.23", False), ("ort-1.24", True), ("openvino-2026", False)])
def test_codes_are_of_types_that_the_oldest_runtime_reads(runtime, reads_two_bits, model, calibration):
    def plan(**options):
        return cet.plan(
            model, calibration, samples=16, effort="low", encoding="qdq", min_runtime=runtime, coding="affine",
            **{"target_bits": 2.5 if reads_two_bits else 3.5, **options})

    found = plan()
    assert {bits for tensor in found.tensors for bits in tensor.measured_loss} == {3, 4, 8} | ({2} if reads_two_bits else set())
    written = onnx.load_from_string(cet.quantize(model, None, found, rounding="nearest").to_bytes())
    assert reads_two_bits or opset_of(written) <= 21 and written.ir_version <= 10
    for options in ({"bits": 2, "target_bits": 2}, {"fix": "fc*=2"}):
        if reads_two_bits:
            assert 2 in plan(**options).bits.values()
        else:
            with pytest.raises(cet.InvalidArgument, match=f"codes of 2 bits in a type that {runtime} does not read"):
                plan(**options)


@pytest.mark.parametrize("fixture", ["model", "model_opset21"])
def test_target_sizes_are_never_exceeded(digits, tmp_path, fixture):
    model, data = cet.Model(digits / f"{fixture}.onnx"), cet.Calibration.from_npz(digits / "calibration.npz")
    source = cet.plan(model, data, target_ratio=8, encoding="qdq")
    least = source.replan(model, target_ratio=16).summary.file_bytes
    most = source.replan(model, target_ratio=4).summary.file_bytes
    assert least < most
    reached = []
    for limit in np.linspace(least, most, 7).astype(int):
        plan = source.replan(model, target_size=int(limit))
        path = tmp_path / "small.onnx"
        cet.quantize(model, data, plan, rounding="nearest").save(path)
        assert path.stat().st_size <= limit
        reached.append(plan.predicted_loss_change)
    assert reached == sorted(reached, reverse=True)
    with pytest.raises(cet.InfeasibleBudget, match=f"{least - 1} bytes cannot be reached"):
        source.replan(model, target_size=least - 1)


def test_ratio_counts_code_bits_and_bytes_count_storage(digits, calibration):
    model = cet.Model(digits / "model.onnx")
    plans = [
        cet.plan(model, calibration, method="uniform", bits=[b], target_bits=b, encoding="qdq", rounding="nearest").summary
        for b in (3, 4)]
    assert [p.ratio for p in plans] == [pytest.approx(32 / 3), 8]
    assert plans[0].code_bytes == plans[1].code_bytes and plans[0].stored_bytes == plans[1].stored_bytes


def test_tool_writes_qdq(tool, digits, tmp_path):
    output = tmp_path / "small.onnx"
    made = tool(
        "compress", digits / "model.onnx", output, "--data", digits / "calibration.npz", "--target-ratio", "8",
        "--encoding", "qdq", "--json")
    assert made.returncode == 0, made.stderr
    model = onnx.load(output)
    assert [n.op_type for n in model.graph.node].count("DequantizeLinear") > 0
    onnx.checker.check_model(model, full_check=True)
    assert json.loads(made.stdout)["bytes"]["file"] == output.stat().st_size


def test_codes_are_searched_for_the_levels_of_the_encoding(digits, calibration):
    """Zero points of 2 bits are whole codes, those of 3 bits may be halves."""
    model = cet.Model(digits / "model.onnx")
    for bits, unit in ((2, 1), (3, 0.5)):
        plan = cet.plan(model, calibration, method="uniform", target_bits=bits, bits=[bits], encoding="qdq")
        small = cet.quantize(model, calibration, plan)
        zeros = np.concatenate([info.zero_point for info in small])
        assert (zeros % unit == 0).all() and (unit == 1 or (zeros % 1 != 0).any())
        assert small.plan.summary.file_bytes == len(small.to_bytes())
