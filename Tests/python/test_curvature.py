"""Exact second derivatives against PyTorch's double backward, and what must hold without any oracle."""

import numpy as np
import pytest

import cet

LOSSES = ["cross-entropy", "kl"]


@pytest.fixture(scope="module", params=LOSSES)
def hessian(request, model, calibration):
    return cet.Hessian(model, calibration, loss=request.param), request.param


def vectors(hessian, count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, hessian.shape[0])).astype(np.float32)


def test_hessian_parameters_tile_the_vector(hessian):
    operator, _ = hessian
    offset = 0
    for parameter in operator.parameters:
        assert parameter.offset == offset
        assert parameter.count == np.prod(parameter.shape)
        offset += parameter.count
    assert operator.shape == (offset, offset)
    assert operator.dtype == np.float32


def test_hessian_is_symmetric(hessian):
    operator, _ = hessian
    u, v = vectors(operator, 2, seed=1).astype(np.float64)
    hu, hv = operator @ u, operator @ v
    assert abs(u @ hv - v @ hu) <= 1e-5 * np.linalg.norm(u) * np.linalg.norm(hv)
    assert np.linalg.norm(hv) > 0


def test_hessian_is_linear(hessian):
    operator, _ = hessian
    u, v = vectors(operator, 2, seed=2)
    together, apart = operator @ (2 * u - 3 * v), 2 * (operator @ u) - 3 * (operator @ v)
    assert np.linalg.norm(together - apart) <= 1e-5 * np.linalg.norm(apart)


def test_hessian_is_a_scipy_operator(hessian):
    from scipy.sparse.linalg import LinearOperator

    operator, _ = hessian
    assert isinstance(operator, LinearOperator)
    block = vectors(operator, 3, seed=3).T
    np.testing.assert_array_equal((operator @ block)[:, 1], operator @ block[:, 1])


def test_products_keep_their_values_while_they_are_held(hessian):
    operator, _ = hessian
    u, v = vectors(operator, 2, seed=7)
    first = operator @ u
    part, expected = first[5:].reshape(-1, 1), first.copy()
    del first
    second = operator @ v
    for _ in range(3):
        other = operator @ u
    np.testing.assert_array_equal(part[:, 0], expected[5:])
    np.testing.assert_array_equal(other, expected)
    np.testing.assert_array_equal(second, operator @ v)


def test_matrix_products_are_those_of_the_columns(hessian):
    operator, _ = hessian
    matrix = vectors(operator, 11, seed=6).T
    expected = np.stack([operator @ column for column in matrix.T], axis=1)
    np.testing.assert_array_equal(operator @ matrix, expected)
    np.testing.assert_array_equal(operator @ np.asfortranarray(matrix), expected)
    assert (operator @ matrix[:, :0]).shape == (operator.shape[0], 0)


def test_max_memory_is_predicted_kept_and_named(model, calibration):
    """The least that is enough gives the same products as the default."""
    with pytest.raises(cet.OutOfMemory, match=r"curvature needs at least \d+ bytes .* max_memory is 1000$") as raised:
        cet.Hessian(model, calibration, max_memory=1000)
    least = int(str(raised.value).split("at least ")[1].split()[0])
    small, usual = cet.Hessian(model, calibration, max_memory=least), cet.Hessian(model, calibration)
    matrix = vectors(usual, 3, seed=7).T
    np.testing.assert_array_equal(small @ matrix, usual @ matrix)
    assert small.info.threads == 1 and small.info.kept_batches == 0 and small.info.max_memory == least
    assert small.info.least_bytes == usual.info.least_bytes == least
    assert usual.info.kept_batches == usual.info.batches and usual.info.samples == len(calibration)
    for info in (small.info, usual.info):
        assert 0 < info.peak_bytes <= info.predicted_bytes <= info.max_memory
    with open("/proc/meminfo") as file:
        total = next(int(line.split()[1]) for line in file if line.startswith("MemTotal"))
    assert usual.info.max_memory <= 0.6 * 1024 * total


def test_kl_loss_and_gradient_are_zero(model, calibration):
    operator = cet.Hessian(model, calibration, loss="kl")
    labelled = cet.Hessian(model, calibration, loss="cross-entropy")
    assert abs(operator.loss()) < 1e-6
    assert np.linalg.norm(operator.gradient()) < 1e-4 * np.linalg.norm(labelled.gradient())


def test_kl_hessian_is_the_gauss_newton_matrix(model, calibration):
    exact = cet.Hessian(model, calibration, loss="kl")
    gauss_newton = cet.Hessian(model, calibration, loss="kl", curvature="gauss-newton")
    (v,) = vectors(exact, 1, seed=4)
    expected = gauss_newton @ v
    assert np.linalg.norm(exact @ v - expected) <= 1e-4 * np.linalg.norm(expected)


def test_hessian_is_the_mean_over_samples(model, calibration_arrays):
    images, labels = calibration_arrays["input"][:64], calibration_arrays["labels"][:64]
    parts = [
        cet.Hessian(model, cet.Calibration({"input": images[k:k + 32]}, labels[k:k + 32])) for k in (0, 32)
    ]
    whole = cet.Calibration({"input": images[:32]}, labels[:32])
    whole.add_batch({"input": images[32:]}, labels[32:])
    operator = cet.Hessian(model, whole)
    (v,) = vectors(operator, 1, seed=5)
    expected = (parts[0] @ v + parts[1] @ v) / 2
    assert np.linalg.norm(operator @ v - expected) <= 1e-5 * np.linalg.norm(expected)
    assert operator.loss() == pytest.approx((parts[0].loss() + parts[1].loss()) / 2, rel=1e-6)


def test_hessian_wrong_vectors_are_refused(hessian):
    operator, _ = hessian
    with pytest.raises(ValueError):
        operator @ np.zeros(3, np.float32)
    with pytest.raises(cet.NumericError):
        operator @ np.full(operator.shape[0], np.nan, np.float32)


@pytest.fixture(scope="module")
def torch_reference():
    pytest.importorskip("torch", reason="PyTorch is not installed (CET_TORCH=1 make test installs it)")
    import torch_reference

    return torch_reference


@pytest.fixture(scope="module")
def some_samples(calibration_arrays):
    """Fewer: PyTorch's double precision takes its time."""
    return {name: array[:48] for name, array in calibration_arrays.items()}


@pytest.fixture(scope="module", params=["model.onnx", "model_opset21.onnx"])
def reference(request, torch_reference, digits, some_samples):
    """The library's model and PyTorch's in double precision."""
    data = cet.Calibration({"input": some_samples["input"]}, some_samples["labels"])
    return cet.Model(digits / request.param), data, torch_reference.TorchReference(digits / request.param, some_samples)


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradient_equal_pytorch(reference, loss):
    model, data, judge = reference
    operator = cet.Hessian(model, data, loss=loss)
    judge.check_order(operator.parameters)
    value, gradient = judge.gradient(loss)
    assert operator.loss() == pytest.approx(value, rel=1e-5, abs=1e-6)
    # The gradient of KL to the model's own output is zero.
    if loss == "cross-entropy":
        assert np.linalg.norm(operator.gradient() - gradient) <= 1e-4 * np.linalg.norm(gradient)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", [10, 11])
def test_hvp_equals_pytorch_double_backward(reference, loss, seed):
    model, data, judge = reference
    operator = cet.Hessian(model, data, loss=loss)
    (v,) = vectors(operator, 1, seed=seed)
    expected = judge.hvp(loss, v)
    assert np.linalg.norm(operator @ v - expected) <= 1e-4 * np.linalg.norm(expected)


def test_eigenvalues_equal_scipy_over_pytorch(torch_reference, model, digits, some_samples):
    import torch
    from scipy.sparse.linalg import LinearOperator, eigsh

    data = cet.Calibration({"input": some_samples["input"]}, some_samples["labels"])
    found = cet.eigsh(cet.Hessian(model, data, loss="cross-entropy"), k=5, which="LM")
    assert found.converged.all()
    assert (np.diff(np.abs(found.eigenvalues)) <= 0).all()

    judge = torch_reference.TorchReference(digits / "model.onnx", some_samples, dtype=torch.float32)
    size = found.eigenvectors.shape[0]
    products = LinearOperator((size, size), matvec=lambda v: judge.hvp("cross-entropy", v.reshape(-1)), dtype=np.float64)
    start = np.random.default_rng(20).standard_normal(size)
    values = eigsh(products, k=5, which="LM", v0=start, tol=1e-5, return_eigenvectors=False)
    values = values[np.argsort(-np.abs(values))]
    np.testing.assert_allclose(found.eigenvalues, values, rtol=1e-3)


def test_eigenpairs_residual_norms_are_true(model, calibration):
    operator = cet.Hessian(model, calibration, loss="cross-entropy", samples=64)
    found = cet.eigsh(operator, k=4, which="LA")
    assert found.eigenvectors.shape == (operator.shape[0], 4)
    largest = np.abs(found.eigenvalues).max()
    for value, vector, norm in zip(found.eigenvalues, found.eigenvectors.T, found.residual_norms):
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        residual = np.linalg.norm((operator @ vector).astype(np.float64) - value * vector)
        assert residual == pytest.approx(norm, rel=0.1, abs=1e-5 * largest)
    gram = found.eigenvectors.T @ found.eigenvectors
    np.testing.assert_allclose(gram, np.eye(4), atol=1e-4)


@pytest.mark.parametrize("which, order", [("LA", slice(None, -4, -1)), ("SA", slice(0, 3))])
def test_eigsh_of_a_callback_matches_numpy(which, order):
    generator = np.random.default_rng(30)
    matrix = generator.standard_normal((60, 60))
    matrix = (matrix + matrix.T) / 2
    found = cet.eigsh(lambda v: matrix @ v, k=3, which=which, n=60, tolerance=1e-6)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(matrix)[order], rtol=1e-4)
    assert found.converged.all()


def test_eigsh_exception_of_the_operator_comes_through():
    def broken(v):
        raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError, match="on purpose"):
        cet.eigsh(broken, k=1, n=10)
