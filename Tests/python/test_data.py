"""Samples from what programs have: float64, lists, PyTorch's tensors, data loaders and other iterables."""

import gc
import weakref

import numpy as np
import pytest

import cet

QUICK = dict(target_bits=3, samples=32, method="mckp", rounding="nearest")


@pytest.fixture(scope="module")
def images(calibration_arrays):
    return calibration_arrays["input"][:96]


@pytest.fixture(scope="module")
def classes(calibration_arrays):
    return calibration_arrays["labels"][:96]


@pytest.fixture(scope="module")
def expected(model, images, classes):
    return cet.plan(model, cet.Calibration({"input": images}, classes), loss="cross-entropy", **QUICK).to_json()


def planned(model, data):
    return cet.plan(model, data, loss="cross-entropy", **QUICK).to_json()


def test_float64_samples_are_those_that_float32_has(model, images, classes, expected):
    wide = cet.Calibration({"input": images.astype(np.float64)}, classes)
    assert planned(model, wide) == expected
    assert len(wide) == len(images)


def test_float64_samples_serve_every_call_that_takes_samples(model, images):
    wide, narrow = (cet.Calibration({"input": images.astype(kind)}) for kind in (np.float64, np.float32))
    plan = cet.plan(model, narrow, **QUICK)
    assert cet.quantize(model, wide, plan).to_bytes() == cet.quantize(model, narrow, plan).to_bytes()
    vector = np.ones(sum(parameter.count for parameter in model.parameters), np.float32)
    np.testing.assert_array_equal(*(cet.Hessian(model, data, samples=8) @ vector for data in (wide, narrow)))
    for one, other in zip(cet.run_samples(model, wide), cet.run_samples(model, narrow), strict=True):
        np.testing.assert_array_equal(one["logits"], other["logits"])
    assert cet.Session(model, wide, **QUICK).plan(target_bits=4).to_json() == cet.Session(model, narrow, **QUICK).plan(target_bits=4).to_json()
    session = cet.Session(model, **QUICK)
    session.add_batch({"input": images.astype(np.float64)})
    assert session.plan(target_bits=4).to_json() == cet.Session(model, narrow, **QUICK).plan(target_bits=4).to_json()


def test_float64_samples_added_later_count_too(model, images, classes, expected):
    wide = cet.Calibration({"input": images[:40].astype(np.float64)}, classes[:40])
    planned(model, wide)
    wide.add_batch({"input": images[40:].astype(np.float64)}, classes[40:])
    assert len(wide) == len(wide.fitting(model)) == 96


def test_float64_samples_beyond_float32_are_refused(model, images):
    wide = images.astype(np.float64)
    wide[0, 0, 0, 0] = 1e300
    data = cet.Calibration({"input": wide})
    with pytest.raises(cet.NumericError):
        cet.plan(model, data, **QUICK)


def test_float64_of_a_model_that_reads_float64_stays(tmp_path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), helper.make_node("MatMul", ["f", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", 4])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [weight])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    model = cet.Model(made.SerializeToString())
    inputs = {"x": np.random.default_rng(1).normal(size=(8, 4))}
    data = cet.Calibration(inputs)
    assert data.fitting(model) is data
    np.testing.assert_allclose(
        cet.run(model, inputs)["y"], inputs["x"].astype(np.float32) @ numpy_helper.to_array(weight), rtol=1e-5, atol=1e-6)


def test_run_rounds_float64_and_takes_lists(model, images):
    expected = cet.run(model, {"input": images[:2]})["logits"]
    np.testing.assert_array_equal(cet.run(model, {"input": images[:2].astype(np.float64)})["logits"], expected)
    np.testing.assert_array_equal(cet.run(model, {"input": images[:2].tolist()})["logits"], expected)


def test_run_writes_into_arrays_of_the_caller(model, images):
    expected = cet.run(model, {"input": images[:2]})["logits"]
    out = np.full((2, 10), np.nan, np.float32)
    found = cet.run(model, {"input": images[:2]}, out={"logits": out})
    assert found["logits"] is out
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(cet.ShapeMismatch):
        cet.run(model, {"input": images[:2]}, out={"logits": np.zeros((3, 10), np.float32)})
    for wrong in (np.zeros((10, 2), np.float32).T, np.zeros((2, 10), ">f4"), [[0.0] * 10] * 2, np.broadcast_to(np.float32(0), (2, 10))):
        with pytest.raises(cet.InvalidArgument, match="logits"):
            cet.run(model, {"input": images[:2]}, out={"logits": wrong})


def batches(images, classes, size=32):
    for first in range(0, len(images), size):
        yield images[first:first + size], classes[first:first + size]


FORMS = {
    "dicts with labels": (lambda x, y: {"input": x, "labels": y}, {}),
    "dicts with labels of another name": (lambda x, y: {"input": x, "target": y}, {"labels": "target"}),
    "dicts with more": (lambda x, y: {"input": x, "labels": y, "id": np.arange(len(y))}, {"names": ["input"]}),
    "pairs": (lambda x, y: ({"input": x}, y), {}),
    "lists of dict and labels": (lambda x, y: [{"input": x}, y], {}),
    "tuples": (lambda x, y: (x, y), {"names": ["input"]}),
    "lists of lists": (lambda x, y: [x.tolist(), y.tolist()], {"names": "input"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_batches_of_every_form_are_the_samples_at_once(model, images, classes, expected, form):
    make, options = FORMS[form]
    data = cet.Calibration.from_batches((make(x, y) for x, y in batches(images, classes)), **options)
    assert len(data) == 96
    assert planned(model, data) == expected
    session = cet.Session(model, loss="cross-entropy", **QUICK)
    session.pull((make(x, y) for x, y in batches(images, classes)), **options)
    assert len(session) == 96


def test_batches_without_labels_are_arrays_alone(model, images, classes):
    arrays = cet.Calibration.from_batches((x for x, _ in batches(images, classes)), names=["input"])
    dicts = cet.Calibration.from_batches({"input": x} for x, _ in batches(images, classes))
    assert cet.plan(model, arrays, **QUICK).to_json() == cet.plan(model, dicts, **QUICK).to_json()


@pytest.mark.parametrize("batch, options, message", [
    ((1, 2), {}, "batch 1 is no mapping but 2 arrays: names="),
    ((1, 2, 3), {"names": ["input"]}, "batch 1 is 3 arrays, expected 1 for 'input'"),
    ({"image": 1}, {"names": ["input"]}, "batch 1 has no 'input', only 'image'")])
def test_batches_of_another_form_are_refused_by_number(batch, options, message):
    with pytest.raises(cet.InvalidArgument, match=message):
        cet.Calibration.from_batches([batch], **options)


def test_batches_are_taken_one_at_a_time_and_no_more_than_needed(images, classes):
    class Array(np.ndarray):
        """Can be watched."""

    alive, made = [], 0

    def stream():
        nonlocal made
        while True:  # endless
            array = images[:32].copy().view(Array)
            alive.append(weakref.ref(array))
            made += 1
            yield {"input": array}
            del array
            gc.collect()
            assert not any(reference() is not None for reference in alive)

    data = cet.Calibration.from_batches(stream(), samples=100)
    assert len(data) == 128 and made == 4


def test_torch_data_loaders_and_tensors_of_many_kinds_give_the_same_samples(model, images, classes, expected):
    torch = pytest.importorskip("torch")
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(images.copy()), torch.from_numpy(classes.copy()))
    data = cet.Calibration.from_batches(torch.utils.data.DataLoader(dataset, batch_size=32), names=["input"])
    assert planned(model, data) == expected
    tensor = torch.from_numpy(images.copy())
    strange = [
        tensor.double(), tensor.requires_grad_(), tensor.detach().permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2),
        tensor.detach().double().requires_grad_(), torch.cat([tensor, tensor], 3).detach()[..., :8],
    ]
    for value in strange:
        assert planned(model, cet.Calibration({"input": value}, torch.from_numpy(classes.copy()))) == expected
    half = tensor.detach().bfloat16().permute(0, 1, 3, 2)
    np.testing.assert_array_equal(
        cet.run(model, {"input": half[:4]})["logits"], cet.run(model, {"input": half[:4].float().numpy()})["logits"])


def test_torch_tensors_keep_their_names_in_the_set(model, images):
    """The library borrows names, too; many allocations in between would overwrite what nobody holds."""
    torch = pytest.importorskip("torch")
    for _ in range(50):
        data = cet.Calibration.from_batches([{"input": torch.from_numpy(images[:4].copy())} for _ in range(3)])
        assert [list(inputs) for inputs, _ in data._batches()] == [["input"]] * 3


def test_tensors_of_another_device_say_what_to_do():
    class Elsewhere:
        def __dlpack__(self, **_):
            raise AssertionError("never asked")

        def __dlpack_device__(self):
            return (2, 0)

    with pytest.raises(cet.InvalidArgument, match="'input' is on DLPack device 2.*copy it"):
        cet.Calibration({"input": Elsewhere()})
