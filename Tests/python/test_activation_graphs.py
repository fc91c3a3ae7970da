"""Rounded activations in graphs of unusual forms: files stay valid, and onnxruntime's defaults compute what was told."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

import cet
from test_activations import IMAGES, ROWS, compressed, made, node, session, weight

ENCODINGS = ["planes", "qdq", "float"]


def array(name, values):
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def outputs(content, arrays, level=ort.GraphOptimizationLevel.ORT_ENABLE_ALL):
    return session(content, level=level).run(None, arrays)[0]


def valid(small, arrays, share=1e-4):
    """The file's bytes: it passes the checker and runs with and without optimisations, and the library computes the same."""
    written = small.to_bytes()
    model = onnx.load_model_from_string(written)
    onnx.checker.check_model(model, full_check=True)
    plain = outputs(written, arrays, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    np.testing.assert_allclose(cet.run(cet.Model(written), arrays)["y"], plain, rtol=share, atol=share * np.abs(plain).max())
    outputs(written, arrays)
    assert small.plan.summary.file_bytes == len(written)
    return written


def told(small, content, arrays, rel=0.05):
    """The loss told is that of onnxruntime's defaults."""
    difference = outputs(small.to_bytes(), arrays).astype(np.float64) - outputs(content, arrays)
    found = np.mean(np.sum(difference.reshape(len(difference), -1) ** 2, axis=1)) / 2
    assert small.plan.measured_loss_change == pytest.approx(found, rel=rel)


@pytest.mark.parametrize("bits, opset", [(8, 7), (8, 11), (8, 12), (16, 11)])
def test_weights_are_written_for_the_operator_set_that_activations_need(bits, opset):
    # Small weights of one form are unpacked together and split; 23 columns are no whole number of bytes.
    arrays = {"x": ROWS["x"][:, :23].copy()}
    content = made(
        [node("MatMul", ["x", "a"], ["1"]), node("Sigmoid", ["1"], ["2"]), node("MatMul", ["2", "b"], ["3"]), node("Sigmoid", ["3"], ["4"]),
         node("MatMul", ["4", "c"], ["y"])],
        [weight("a", 23, 23), weight("b", 23, 23), weight("c", 23, 5)], [("x", ["N", 23])], ["y"], opset)
    written = valid(compressed(content, arrays, activations=bits, loss="mse"), arrays)
    assert onnx.load_model_from_string(written).opset_import[0].version == (13 if bits == 8 else 21)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_layers_of_float16_behind_casts_stay_float(encoding):
    content = made(
        [node("Cast", ["x"], ["xh"], to=10), node("Cast", ["a"], ["ah"], to=10), node("MatMul", ["xh", "ah"], ["1"]), node("Cast", ["1"], ["2"], to=1),
         node("MatMul", ["2", "b"], ["y"])],
        [weight("a", 24, 16), weight("b", 16, 5)], [("x", ["N", 24])], ["y"])
    small = compressed(content, ROWS, encoding=encoding, loss="mse")
    assert [a.name for a in small.plan.activations] == ["2"]
    # The library computes float16 with float32, which flips single codes.
    valid(small, ROWS, share=0.02)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_indices_of_a_pool_are_no_activation(encoding):
    content = made(
        [node("Conv", ["x", "a"], ["1"]), node("Relu", ["1"], ["r"]), node("MaxPool", ["r"], ["p", "i"], kernel_shape=[2, 2], strides=[2, 2]),
         node("Add", ["i", "i"], ["twice"]), node("Cast", ["twice"], ["f"], to=1), node("Mul", ["f", "k"], ["part"]),
         node("Add", ["p", "part"], ["sum"]), node("Flatten", ["sum"], ["flat"]), node("MatMul", ["flat", "c"], ["y"])],
        [weight("a", 4, 3, 3, 3), weight("c", 100, 5), array("k", 1e-3)], [("x", ["N", 3, 12, 12])], ["y"])
    small = compressed(content, IMAGES, encoding=encoding, loss="mse", shifts=0)
    assert "twice" not in [a.name for a in small.plan.activations]
    valid(small, IMAGES)


def uneven(name, *shape, axis=0):
    """A weight of which one channel is sixty times the others: one scale for all of it ruins these."""
    values = numpy_helper.to_array(weight(name, *shape)).copy()
    np.moveaxis(values, axis, 0)[0] *= 60
    return array(name, values)


def even(name, *shape):
    """Takes what the large channel makes as one among others."""
    values = numpy_helper.to_array(weight(name, *shape)).copy()
    values[:, 0] /= 60
    return array(name, values)


def behind(nodes, initializers):
    """Convolutions before and behind a layer of channels 8 to 8 that makes "2" of "1"."""
    return made(
        [node("Conv", ["x", "first"], ["0"]), node("Relu", ["0"], ["1"]), *nodes, node("Relu", ["2"], ["3"]), node("Conv", ["3", "last"], ["4"]),
         node("Relu", ["4"], ["5"]), node("GlobalAveragePool", ["5"], ["6"]), node("Flatten", ["6"], ["7"]), node("Gemm", ["7", "d"], ["y"])],
        [weight("first", 8, 3, 3, 3), *initializers, even("last", 8, 8, 3, 3), weight("d", 8, 5)], [("x", ["N", 3, 12, 12])], ["y"])


FLOAT_WEIGHTS = {
    "kept": (behind([node("Conv", ["1", "b"], ["2"])], [uneven("b", 8, 8, 3, 3)]), {"keep": "b"}),
    "transposed convolution": (behind([node("ConvTranspose", ["1", "b"], ["2"])], [uneven("b", 8, 8, 3, 3, axis=1)]), {}),
    "shared": (behind([node("Conv", ["1", "b"], ["t"]), node("Conv", ["t", "b"], ["2"])], [uneven("b", 8, 8, 3, 3)]), {}),
    "moved": (behind([node("Transpose", ["b"], ["bt"], perm=[1, 0, 2, 3]), node("Conv", ["1", "bt"], ["2"])], [uneven("b", 8, 8, 3, 3, axis=1)]), {}),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("case", FLOAT_WEIGHTS)
def test_float_weights_between_codes_stay_float(case, encoding):
    content, options = FLOAT_WEIGHTS[case]
    small = compressed(content, IMAGES, encoding=encoding, target_bits=8, bits=[8], loss="mse", shifts=0, samples=64, **options)
    valid(small, IMAGES)
    told(small, content, IMAGES)


@pytest.mark.parametrize("rounding", ["compensated", "nearest"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_biases_that_became_whole_numbers_leave_nothing_behind(encoding, rounding):
    bias = helper.make_node("Constant", [], ["ab"], value=weight("ab", 16))
    content = made(
        [bias, node("Gemm", ["x", "a", "ab"], ["1"]), node("Relu", ["1"], ["2"]), node("Gemm", ["2", "b", "bb"], ["y"])],
        [weight("a", 24, 16), weight("b", 16, 5), weight("bb", 5)], [("x", ["N", 24])], ["y"])
    small = compressed(content, ROWS, encoding=encoding, rounding=rounding, loss="mse")
    graph = onnx.load_model_from_string(valid(small, ROWS)).graph
    read = {name for each in graph.node for name in each.input} | {each.name for each in graph.output}
    assert [each.name for each in graph.initializer if each.name not in read] == []
    assert [each.name for each in graph.node if not read & set(each.output)] == []


@pytest.mark.parametrize("bias, size", [(1e30, 1e-25), (1e38, 1e-10)])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_biases_beyond_all_whole_numbers_are_measured_as_what_is_left(encoding, bias, size):
    values = numpy_helper.to_array(weight("bb", 5)).copy()
    values[0] = bias
    content = made([node("Gemm", ["x", "b", "bb"], ["y"])], [weight("b", 24, 5), array("bb", values)], [("x", ["N", 24])], ["y"])
    arrays = {"x": ROWS["x"] * np.float32(size)}
    assert compressed(content, arrays, encoding=encoding, loss="mse").plan.measured_loss_change > 0


@pytest.mark.parametrize("activations, encoding, products", [
    (16, "planes", 2), (16, "float", 2), (16, "qdq", 2), (8, "planes", 0), (8, "qdq", 0), ("8,float", "qdq", 2)])
def test_a_note_says_where_onnxruntime_takes_8_bits_for_more(activations, encoding, products):
    content = made(
        [node("MatMul", ["x", "a"], ["1"]), node("Tanh", ["1"], ["2"]), node("MatMul", ["2", "b"], ["y"])],
        [weight("a", 24, 32), weight("b", 32, 10)], [("x", ["N", 24])], ["y"])
    options = {"activation_mean_bits": 32} if activations == "8,float" else {}
    plan = compressed(content, ROWS, activations=activations, encoding=encoding, target_bits=8, loss="mse", **options).plan
    notes = [note for note in plan.notes if "8-bit activations" in note]
    assert [f"computes {products} matrix products" in note for note in notes] == ([True] if products else [])


def test_weights_beside_activations_that_stayed_float_are_counted_by_their_bits():
    content = made(
        [node("MatMul", ["x", "a"], ["1"]), node("Tanh", ["1"], ["2"]), node("MatMul", ["2", "b"], ["y"])],
        [weight("a", 24, 32), weight("b", 32, 10)], [("x", ["N", 24])], ["y"])
    # Before quantizing, which counts anew.
    plan = cet.plan(
        cet.Model(content), cet.Calibration(ROWS), activations="8,float", encoding="qdq", target_bits=4, bits=[4], loss="mse",
        activation_mean_bits=20)
    rounded = {a.name: a.bits == 8 for a in plan.activations}
    assert sorted(rounded.values()) == [False, True]
    assert plan.summary.code_bytes == 24 * 32 // (1 if rounded["x"] else 2) + 32 * 10 // (1 if rounded["2"] else 2)


def test_a_size_that_only_more_bits_reach_is_reached():
    small = {"a": weight("a", 12, 24), "b": weight("b", 5, 12)}
    content = made(
        [node("Gemm", ["x", "a"], ["1"], transB=1), node("Relu", ["1"], ["2"]), node("Gemm", ["2", "b"], ["y"], transB=1)],
        list(small.values()), [("x", ["N", 24])], ["y"])
    model, data = cet.Model(content), cet.Calibration(ROWS)
    sizes = {bits: cet.plan(model, data, target_bits=bits, bits=[bits], loss="mse").summary.file_bytes for bits in (2, 8)}
    # What unpacks trellis codes takes more room than they save in so small a model.
    assert sizes[8] < sizes[2]
    plan = cet.plan(model, data, target_size=sizes[8], loss="mse")
    assert plan.summary.file_bytes <= sizes[8]
    with pytest.raises(cet.InfeasibleBudget, match="a file of 500 bytes cannot be reached: the allowed bits give") as refused:
        cet.plan(model, data, target_size=500, loss="mse")
    least, most = (int(word) for word in str(refused.value).split("give ")[1].split(" bytes")[0].split(" to "))
    assert least == sizes[8] and least < most


def test_a_loaded_session_quantizes_to_the_same_bytes_with_activations(tmp_path):
    content, _ = FLOAT_WEIGHTS["kept"]
    model, data = cet.Model(content), cet.Calibration(IMAGES)
    made_once = cet.Session(model, data, activations=8, loss="mse")
    plan = made_once.plan(target_bits=4)
    made_once.save(tmp_path / "state")
    loaded = cet.Session.load(model, tmp_path / "state")
    again = loaded.plan(target_bits=4)
    assert again.to_json() == plan.to_json()
    assert loaded.quantize(again).to_bytes() == made_once.quantize(plan).to_bytes()
