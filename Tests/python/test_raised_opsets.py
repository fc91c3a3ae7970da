"""Models whose operator set the encoding `qdq` raises: every operator that another version gives another form.

Each case is a product with a weight followed by the operator as an old set has it. The written model, in a later set, must
compute what the encoding `float`, in the old set, computes in onnxruntime.
"""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_qdq import FLOAT, build, check, judge, opset_of, quantize, run, samples, weight

import cet

INT64 = TensorProto.INT64


def node(kind, inputs=("h",), outputs=("y",), **attributes):
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def constant(name, values, dtype=np.float32):
    return (name, np.array(values, dtype))


CASES = []


def case(name, opset, nodes, shape, constants=(), x=(2, 3, 6, 10)):
    """`shape` is that of y; h has the shape of x, with 8 in the last place."""
    CASES.append(pytest.param(opset, nodes, shape, constants, x, id=f"{name}-{opset}"))


IMAGE = [2, 3, 6, 8]
case("BatchNormalization", 8, [node("BatchNormalization", ("h", "s", "b", "m", "v"), epsilon=1e-3)], IMAGE, [
    constant("s", [1, 2, 3]), constant("b", [1, 0, -1]), constant("m", [0.1, 0.2, 0.3]), constant("v", [1, 2, 0.5])])
case("BatchNormalization", 7, [node("BatchNormalization", ("h", "s", "b", "m", "v"), spatial=1)], IMAGE, [
    constant("s", [1, 2, 3]), constant("b", [1, 0, -1]), constant("m", [0.1, 0.2, 0.3]), constant("v", [1, 2, 0.5])])
for bounds in ({"min": -0.25}, {"max": 0.25}, {"min": -0.25, "max": 0.5}, {}):
    case("Clip-" + "-".join(bounds), 10, [node("Clip", **bounds)], IMAGE)
for opset in (7, 10, 11):
    case("Dropout", opset, [node("Dropout", ratio=0.3)], IMAGE)
    case("Dropout-mask", opset, [node("Dropout", outputs=("y", "mask"), ratio=0.3)], IMAGE)
for kind in ("Softmax", "LogSoftmax", "Hardmax"):
    case(f"{kind}-last", 11, [node(kind, axis=-1)], IMAGE)
    case(f"{kind}-3", 11, [node(kind, axis=3)], IMAGE)
    case(f"{kind}-2", 11, [node(kind, axis=2)], IMAGE)
    case(f"{kind}-default", 9, [node(kind)], IMAGE)
    case(f"{kind}-inside", 11, [node(kind, outputs=("z",), axis=3), node("Neg", ("z",))], IMAGE)
case("DFT", 17, [node("Reshape", ("h", "to"), ("r",)), node("DFT", ("r",), axis=2)], [6, 6, 8, 2], [
    constant("to", [6, 6, 8, 1], np.int64)])
case("DFT-default", 17, [node("Reshape", ("h", "to"), ("r",)), node("DFT", ("r",))], [6, 6, 8, 2], [
    constant("to", [6, 6, 8, 1], np.int64)])
for p in (1, 2):
    case(f"GlobalLpPool-{p}", 12, [node("GlobalLpPool", p=p)], [2, 3, 1, 1])
    case(f"GlobalLpPool-{p}", 18, [node("GlobalLpPool", p=p)], [2, 3, 1, 1])
for mode in ("bilinear", "nearest", "bicubic"):
    case(f"GridSample-{mode}", 16, [node("GridSample", ("h", "grid"), mode=mode, align_corners=1)], [2, 3, 2, 2], [
        constant("grid", np.linspace(-0.9, 0.8, 16).reshape(2, 2, 2, 2))])
case("GridSample-default", 16, [node("GridSample", ("h", "grid"))], [2, 3, 2, 2], [
    constant("grid", np.linspace(-0.9, 0.8, 16).reshape(2, 2, 2, 2))])
case("GroupNormalization", 18, [
    node("GroupNormalization", ("h", "s", "b"), num_groups=2, epsilon=1e-3)], [2, 4, 6, 8], [
        constant("s", [1, 2]), constant("b", [0.5, -1])], x=(2, 4, 6, 10))
case("Pad-constant", 10, [node("Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1], value=1.5)], [2, 3, 7, 11])
case("Pad-zero", 10, [node("Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1])], [2, 3, 7, 11])
case("Pad-reflect", 10, [node("Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="reflect")], [2, 3, 7, 11])
for kind in ("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare"):
    for opset in (11, 17):
        case(f"{kind}-axes", opset, [node(kind, axes=[1, 3], keepdims=0)], [2, 6])
        case(f"{kind}-all", opset, [node(kind)], [1, 1, 1, 1])
case("ReduceLogSum", 13, [node("Exp", outputs=("e",)), node("ReduceLogSum", ("e",), axes=[-1])], [2, 3, 6, 1])
case("ReduceSum", 11, [node("ReduceSum", axes=[2])], [2, 3, 1, 8])
case("ReduceSum-all", 11, [node("ReduceSum")], [1, 1, 1, 1])
for mode in ("nearest", "linear"):
    case(f"Resize-{mode}", 10, [node("Resize", ("h", "scales"), mode=mode)], [2, 3, 12, 12], [constant("scales", [1, 1, 2, 1.5])])
    case(f"Upsample-{mode}", 9, [node("Upsample", ("h", "scales"), mode=mode)], [2, 3, 12, 12], [
        constant("scales", [1, 1, 2, 1.5])])
    case(f"Upsample-{mode}", 7, [node("Upsample", scales=[1, 1, 2, 1.5], mode=mode)], [2, 3, 12, 12])
    case(f"Resize-{mode}-sizes", 11, [node("Resize", ("h", "roi", "none", "sizes"), mode=mode)], [2, 3, 4, 12], [
        constant("roi", []), constant("none", []), constant("sizes", [2, 3, 4, 12], np.int64)])
case("Resize-cubic-scales", 12, [
    node("Resize", ("h", "roi", "scales"), mode="cubic", coordinate_transformation_mode="align_corners")], [2, 3, 9, 4], [
        constant("roi", []), constant("scales", [1, 1, 1.5, 0.5])])
for mode in ("avg", "max"):
    case(f"RoiAlign-{mode}", 10, [node("RoiAlign", ("h", "rois", "batch"), output_height=2, output_width=3, mode=mode, sampling_ratio=2)],
         [2, 3, 2, 3], [constant("rois", [[0, 0, 4, 5], [1, 1, 6, 4]]), constant("batch", [0, 1], np.int64)])
case("Scatter", 10, [node("Scatter", ("h", "at", "new"), axis=3)], IMAGE, [
    constant("at", np.arange(36).reshape(2, 3, 6, 1) % 8, np.int64), constant("new", np.linspace(0, 1, 36).reshape(2, 3, 6, 1))])
case("Slice", 9, [node("Slice", axes=[2, 3], starts=[1, -4], ends=[5, 1000])], [2, 3, 4, 4])
case("Slice-first", 9, [node("Slice", starts=[0, 1], ends=[1, 3])], [1, 2, 6, 8])
for opset in (11, 13, 17):
    extra = {"split": [4, 4]} if opset == 11 else {}
    case("Split", opset, [node("Split", outputs=("a", "b"), axis=3, **extra), node("Sub", ("b", "a"))], [2, 3, 6, 4])
case("Split-equal", 11, [node("Split", outputs=("a", "b"), axis=3), node("Sub", ("b", "a"))], [2, 3, 6, 4])
case("Split-uneven", 11, [node("Split", outputs=("a", "y"), axis=3, split=[3, 5])], [2, 3, 6, 5])
case("Split-input", 13, [node("Split", ("h", "parts"), ("a", "y"), axis=3)], [2, 3, 6, 5], [constant("parts", [3, 5], np.int64)])
case("Squeeze", 11, [node("Unsqueeze", outputs=("u",), axes=[0, 3]), node("Squeeze", ("u",), axes=[3])], [1, *IMAGE])
case("Squeeze-all", 11, [node("Unsqueeze", outputs=("u",), axes=[0]), node("Squeeze", ("u",))], IMAGE)
case("Swish", 24, [node("Swish")], IMAGE)
case("Swish-alpha", 24, [node("Swish", alpha=0.7)], IMAGE)
case("TopK", 9, [node("TopK", outputs=("y", "at"), k=3, axis=-1)], [2, 3, 6, 3])


@pytest.mark.parametrize("bits,least", [(8, 13), (4, 21), (2, 25)])
@pytest.mark.parametrize("opset,nodes,shape,constants,x", CASES)
def test_an_operator_of_an_older_set_computes_the_same(opset, nodes, shape, constants, x, bits, least):
    source = build(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), *nodes], [("x", FLOAT, list(x))], [("y", FLOAT, shape)],
        [("w", weight((10, 8), 1)), *constants], opset)
    if least == 25 and any(n.op_type == "RoiAlign" for n in nodes):
        pytest.skip("onnxruntime has no RoiAlign of set 22")
    # Codes to nearest need the weight alone: the library need not execute the operator that is converted.
    product = build(
        [helper.make_node("MatMul", ["x", "w"], ["h"])], [("x", FLOAT, list(x))], [("h", FLOAT, [*x[:-1], 8])],
        [("w", weight((10, 8), 1))], opset)
    inputs = {"x": samples(*x)}
    plan = quantize(product, inputs, bits).plan
    # The plan of the product alone, made out to the whole model.
    plan = cet.Plan.from_json(
        plan.to_json().replace(plan.summary.model_sha256, hashlib.sha256(source).hexdigest()))
    small = cet.quantize(cet.Model(source), None, plan, rounding="nearest")
    assert small.plan.summary.file_bytes == len(small.to_bytes())
    # The checker refuses GroupNormalization of its first version everywhere.
    checked = least > 18 or all(n.op_type != "GroupNormalization" for n in nodes)
    assert opset_of(judge(small, inputs, checked)) == max(opset, least)


def compatible(old, new):
    """Whether every node of an operator's old form is one of its new form with the same meaning, as far as a schema says."""
    for name, attribute in old.attributes.items():
        if name not in new.attributes or str(new.attributes[name].default_value) != str(attribute.default_value):
            return False
    for before, after in ((old.inputs, new.inputs), (old.outputs, new.outputs)):
        if len(after) < len(before) or any(x.option != onnx.defs.OpSchema.FormalParameterOption.Optional for x in after[len(before):]):
            return False
    return not new.deprecated


def test_every_change_of_form_has_a_case():
    """The schemas of the onnx package name the operators whose form changes from set 7 to 25; there are more cases than those,
    of operators that onnxruntime has in the older form alone."""
    versions = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= 25:
            versions.setdefault(schema.name, []).append(schema)
    changed = set()
    for name, schemas in versions.items():
        schemas.sort(key=lambda s: s.since_version)
        for old, new in zip(schemas, schemas[1:]):
            if new.since_version > 7 and not compatible(old, new):
                changed.add(name)
    covered = {node.op_type for case in CASES for node in case.values[1]}
    # Scan of set 8 takes sequence lengths, and is refused.
    assert changed - covered == {"Scan"}


# MARK: Other domains and functions

@pytest.mark.parametrize("bits", [8, 4, 2])
def test_functions_rise_with_the_model(bits):
    inner = helper.make_function(
        "local", "Centred", ["x"], ["y"],
        [helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1), helper.make_node("Sub", ["x", "m"], ["d"]),
         helper.make_node("Softmax", ["d"], ["y"], axis=1)], [helper.make_opsetid("", 12)])
    source = build(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Centred", ["h"], ["c"], domain="local"),
         helper.make_node("Gelu", ["c"], ["y"], domain="com.microsoft")],
        [("x", FLOAT, ["n", 10])], [("y", FLOAT, ["n", 8])], [("w", weight((10, 8), 1))], 12, functions=[inner],
        domains=["local", "com.microsoft"])
    small = quantize(source, {"x": samples(4, 10)}, bits)
    written = small.to_bytes()
    assert len(written) == small.plan.summary.file_bytes
    model = onnx.load_from_string(written)
    onnx.checker.check_model(model)
    assert opset_of(model.functions[0]) == opset_of(model)
    np.testing.assert_allclose(
        run(written, {"x": samples(4, 10)})[0], run(small.to_bytes(encoding="float"), {"x": samples(4, 10)})[0], rtol=0, atol=1e-5)


def test_branches_rise_with_the_model():
    """Both branches name their values alike, as they may."""
    def branch(name, kind):
        return helper.make_graph(
            [helper.make_node(kind, ["h"], ["m"], axes=[1], keepdims=1)], name, [],
            [helper.make_tensor_value_info("m", FLOAT, ["n", 1])])

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("If", ["flag"], ["y"], then_branch=branch("a", "ReduceMax"), else_branch=branch("b", "ReduceMin"))]
    source = build(
        nodes, [("x", FLOAT, ["n", 10]), ("flag", TensorProto.BOOL, [])], [("y", FLOAT, ["n", 1])], [("w", weight((10, 8), 1))], 17)
    for flag in (True, False):
        assert opset_of(check(source, {"x": samples(6, 10), "flag": np.array(flag)}, 4)) == 21


def test_sixteen_bit_bounds_keep_their_type():
    source = build(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Clip", ["h"], ["y"], min=-0.25, max=0.5)],
        [("x", TensorProto.FLOAT16, ["n", 10])], [("y", TensorProto.FLOAT16, ["n", 8])],
        [numpy_helper.from_array(weight((10, 8), 1).astype(np.float16), "w")], 10)
    inputs = {"x": samples(6, 10).astype(np.float16)}
    small = quantize(source, inputs, 4)
    onnx.checker.check_model(onnx.load_from_string(small.to_bytes()), full_check=True)
    (y,), (expected,) = run(small.to_bytes(), inputs), run(small.to_bytes(encoding="float"), inputs)
    assert y.dtype == np.float16 and y.min() == -0.25 and y.max() == 0.5
    np.testing.assert_allclose(y.astype(float), expected, rtol=0, atol=2**-11 * 10**0.5)
    with pytest.raises(cet.UnsupportedOperator, match="type of its min"):
        quantize(source, inputs, 8)


# MARK: Refusals

REFUSED = {
    "smaller": (10, [node("Resize", ("h", "scales"), mode="nearest")], [2, 3, 3, 8], [constant("scales", [1, 1, 0.5, 1])], "nearest"),
    "half-pixel": (11, [node("Resize", ("h", "roi", "scales"), coordinate_transformation_mode="tf_half_pixel_for_nn")],
                   [2, 3, 12, 8], [constant("roi", []), constant("scales", [1, 1, 2, 1])], "tf_half_pixel_for_nn"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_later_form_is_refused_with_its_place(name):
    opset, nodes, shape, constants, reason = REFUSED[name]
    source = build(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), *nodes], [("x", FLOAT, [2, 3, 6, 10])], [("y", FLOAT, shape)],
        [("w", weight((10, 8), 1)), *constants], opset)
    inputs = {"x": samples(2, 3, 6, 10)}
    with pytest.raises(cet.UnsupportedOperator) as caught:
        quantize(source, inputs, 4)
    text = str(caught.value)
    for part in ("node 'y'", "Resize", f"operator set {opset}", "operator set 21", reason, "encoding 'planes'"):
        assert part in text
    assert "\n" not in text
    # What needs no later set is written, and so is everything under `planes`.
    small = quantize(source, inputs, 4, encoding="planes")
    with pytest.raises(cet.UnsupportedOperator, match="encoding 'planes'"):
        small.to_bytes(encoding="qdq")
    onnx.checker.check_model(onnx.load_from_string(small.to_bytes()))
