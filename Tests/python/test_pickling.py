"""What is pickled and copied, and what says that it is not."""

import copy
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import cet


def again(value):
    return pickle.loads(pickle.dumps(value))


def test_pickled_plan_is_the_same_document(plan):
    assert again(plan).to_json() == plan.to_json() == copy.deepcopy(plan).to_json()


def test_pickled_model_is_its_path_and_digest(model, digits):
    data = pickle.dumps(model)
    assert len(data) < 1000 and str(digits / "model.onnx").encode() in data
    assert pickle.loads(data).sha256 == model.sha256


def test_pickled_model_whose_file_changed_is_refused(digits, tmp_path):
    path = tmp_path / "m.onnx"
    shutil.copy(digits / "model.onnx", path)
    data = pickle.dumps(cet.Model(path))
    shutil.copy(digits / "model_opset21.onnx", path)
    with pytest.raises(cet.InvalidArgument, match="another model than the one that was pickled"):
        pickle.loads(data)
    path.unlink()
    with pytest.raises(cet.IOFailure):
        pickle.loads(data)


def test_pickled_model_from_bytes_is_the_bytes(digits):
    contents = (digits / "model.onnx").read_bytes()
    assert again(cet.Model(bytearray(contents))).sha256 == cet.Model(contents).sha256


@pytest.mark.parametrize("make", [
    lambda path, arrays: cet.Calibration.from_npz(path),
    lambda path, arrays: cet.Calibration({"input": arrays["input"]}, arrays["labels"]),
    lambda path, arrays: cet.Calibration({"input": arrays["input"].astype(np.float64)}),
    lambda path, arrays: cet.Calibration.from_batches([{"input": arrays["input"][:9]}, {"input": arrays["input"][9:99]}])])
def test_pickled_calibration_has_the_same_samples(model, digits, calibration_arrays, make):
    data = make(digits / "calibration.npz", calibration_arrays)
    found = again(data)
    assert len(found) == len(data)
    options = dict(target_bits=3, samples=32, method="mckp", rounding="nearest")
    assert cet.plan(model, found, **options).to_json() == cet.plan(model, data, **options).to_json()


def test_pickled_calibration_without_samples_is_empty():
    assert len(again(cet.Calibration())) == 0


def test_pickled_quantized_model_writes_the_same_bytes(quantized):
    found = again(quantized)
    assert found.to_bytes() == quantized.to_bytes() and found.plan.to_json() == quantized.plan.to_json()
    initializer = again(quantized["fc1.weight"])
    np.testing.assert_array_equal(initializer.codes, quantized["fc1.weight"].codes)
    assert again(found).to_bytes() == quantized.to_bytes()


def test_pickled_spectrum_has_values_vectors_and_origin(model, calibration):
    hessian = cet.Hessian(model, calibration, samples=8)
    spectrum = cet.eigsh(hessian, k=3)
    found = again(spectrum)
    np.testing.assert_array_equal(found.eigenvalues, spectrum.eigenvalues)
    np.testing.assert_array_equal(found.eigenvectors, spectrum.eigenvectors)
    found.check(hessian)
    for value in (hessian, cet.Session(model)):
        with pytest.raises(TypeError, match="cannot be pickled or copied: "):
            pickle.dumps(value)
        with pytest.raises(TypeError, match="cannot be pickled or copied: "):
            copy.copy(value)


def _loss(quantized):
    return quantized.plan.measured_loss_change, quantized["fc1.weight"].dequantize()


def test_pickled_objects_go_to_other_processes(quantized):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        loss, values = pool.submit(_loss, quantized).result(timeout=120)
    assert loss == quantized.plan.measured_loss_change
    np.testing.assert_array_equal(values, quantized["fc1.weight"].dequantize())


def test_pickled_errors_keep_their_parts(model):
    with pytest.raises(cet.ShapeMismatch) as caught:
        cet.run(model, {"input": np.zeros((2, 3), np.float32)})
    found = again(caught.value)
    assert str(found) == str(caught.value) and found.input == "input" and found.got == caught.value.got
