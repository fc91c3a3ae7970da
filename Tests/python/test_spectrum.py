"""Eigenpairs, densities, traces and diagonals against NumPy and SciPy."""

import numpy as np
import pytest

import cet


def symmetric(n, seed=0):
    matrix = np.random.default_rng(seed).standard_normal((n, n))
    return ((matrix + matrix.T) / 2).astype(np.float32)


def with_spectrum(values, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return (q * values) @ q.T


class Counting:
    """A matrix that remembers the shapes it was multiplied with."""

    def __init__(self, matrix):
        self.matrix, self.shape, self.calls = matrix, matrix.shape, []

    def __matmul__(self, v):
        self.calls.append(v.shape)
        return self.matrix @ v


def check_pairs(found, matrix, atol=1e-4):
    values = np.linalg.eigvalsh(matrix)
    expected = sorted(values, key=abs, reverse=True)[: len(found)]
    np.testing.assert_allclose(np.abs(found.eigenvalues), np.abs(expected), atol=atol * np.abs(values).max())
    residuals = np.linalg.norm(matrix @ found.eigenvectors - found.eigenvectors * found.eigenvalues, axis=0)
    np.testing.assert_allclose(residuals, found.residual_norms, atol=1e-5 * np.abs(values).max())


@pytest.mark.parametrize("block", [1, 2, 5])
@pytest.mark.parametrize(
    "matrix",
    [
        symmetric(90), np.diag(np.arange(60.0) - 20), with_spectrum([5.0] * 3 + [4.0] * 2 + list(np.linspace(0, 1, 50))),
        np.outer(np.ones(40), np.ones(40)), np.zeros((25, 25)), np.array([[-3.0]]), symmetric(7),
    ], ids=["random", "diagonal", "repeated", "rank one", "zero", "n = 1", "n = 7"])
def test_eigsh_of_known_matrices_matches_numpy(matrix, block):
    operator = Counting(matrix)
    found = cet.eigsh(operator, k=min(4, len(matrix)), tolerance=1e-5, block_size=block, max_applies=3000)
    assert found.converged.all()
    check_pairs(found, matrix)
    assert found.applies == sum(1 if len(shape) == 1 else shape[1] for shape in operator.calls)


def test_eigsh_blocks_match_scipy():
    sparse = pytest.importorskip("scipy.sparse.linalg")
    matrix = symmetric(200, seed=3)
    expected = sparse.eigsh(matrix.astype(np.float64), k=6, which="LA", return_eigenvectors=False)[::-1]
    for threads in (1, 2):
        found = cet.eigsh(Counting(matrix), k=6, which="LA", block_size=3, tolerance=1e-6, threads=threads)
        np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-5)


def test_eigsh_any_threads_same_bits():
    matrix = symmetric(300, seed=4)
    runs = [cet.eigsh(Counting(matrix), k=3, block_size=2, basis_type=kind, threads=threads)
            for kind in ("float32", "bfloat16") for threads in (1, 2)]
    for one, two in (runs[:2], runs[2:]):
        assert (one.eigenvalues == two.eigenvalues).all() and (one.eigenvectors == two.eigenvectors).all()


def test_basis_in_a_file_has_the_same_bits_and_leaves_nothing(tmp_path):
    matrix = symmetric(150, seed=5)
    found = cet.eigsh(Counting(matrix), k=4, basis_path=tmp_path)
    assert (found.eigenvectors == cet.eigsh(Counting(matrix), k=4).eigenvectors).all()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(cet.IOFailure, match="nowhere"):
        cet.eigsh(Counting(matrix), k=4, basis_path=tmp_path / "nowhere")


def test_bfloat16_basis_is_near_and_says_how_near():
    matrix = symmetric(400, seed=6)
    found = cet.eigsh(Counting(matrix), k=5, basis_type="bfloat16", max_applies=3000)
    assert found.converged.all()
    values = np.linalg.eigvalsh(matrix)
    for value, norm in zip(found.eigenvalues, found.residual_norms):
        assert np.abs(values - value).min() <= norm
        assert norm <= 1e-2 * abs(value)
    check_pairs(found, matrix, atol=1e-3)


def test_max_memory_chooses_a_smaller_basis_or_says_what_is_needed():
    matrix = symmetric(1000, seed=7)
    assert cet.eigsh(Counting(matrix), k=10, max_memory=22 * 4000, max_applies=40).krylov_dimension <= 19
    with pytest.raises(cet.OutOfMemory, match="need 60000 bytes.*max_memory is 40000"):
        cet.eigsh(Counting(matrix), k=10, max_memory=40000, basis_type="float32")


def test_a_basis_is_bfloat16_where_float32_does_not_fit():
    matrix = symmetric(1000, seed=7)
    logged = []
    found = cet.eigsh(
        Counting(matrix), k=10, max_memory=40000, max_applies=60, log=lambda level, text: logged.append(text))
    asked = cet.eigsh(Counting(matrix), k=10, max_memory=40000, max_applies=60, basis_type="bfloat16")
    assert found.tolerance == 1e-2 and found.eigenvalues.tobytes() == asked.eigenvalues.tobytes()
    assert any("bfloat16" in text and "60000" in text for text in logged)
    with pytest.raises(cet.OutOfMemory, match="need 34000 bytes.*bfloat16.*max_memory is 30000"):
        cet.eigsh(Counting(matrix), k=10, max_memory=30000)


def test_total_max_memory_is_shared_with_the_hessian(model, calibration):
    ample = cet.Hessian(model, calibration)
    H = cet.Hessian(model, calibration)
    assert H.info.kept_batches > 0
    total = H.info.least_bytes + H.shape[0] * 4 * (8 + 1 + 2)
    found = cet.eigsh(H, k=3, total_max_memory=total)
    assert found.krylov_dimension == 8 and found.converged.all()
    info = H.info
    assert (info.kept_batches, info.threads, info.predicted_bytes) == (0, 1, info.least_bytes)
    v = np.random.RandomState(3).randn(H.shape[0]).astype(np.float32)
    np.testing.assert_array_equal(H @ v, ample @ v)
    with pytest.raises(cet.InvalidArgument, match="max_memory and total_max_memory: expected one"):
        cet.eigsh(H, k=3, max_memory=total, total_max_memory=total)
    with pytest.raises(cet.InvalidArgument, match="total_max_memory"):
        cet.eigsh(Counting(symmetric(30)), k=3, total_max_memory=total)


# Files


def test_spectrum_saved_and_loaded_is_the_same(tmp_path):
    for kind in ("float32", "bfloat16"):
        found = cet.eigsh(Counting(symmetric(80)), k=20, krylov_dimension=30, basis_type=kind, max_applies=4000)
        found.save(tmp_path / "pairs")
        again = cet.Spectrum.load(tmp_path / "pairs")
        for name in ("eigenvalues", "eigenvectors", "residual_norms", "converged"):
            np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
        for name in ("applies", "restarts", "krylov_dimension", "tolerance", "which", "shape"):
            assert getattr(again, name) == getattr(found, name)
        assert [path.name for path in tmp_path.iterdir()] == ["pairs"]


def test_spectrum_damaged_file_is_refused(tmp_path):
    path = tmp_path / "pairs"
    cet.eigsh(Counting(symmetric(50)), k=2).save(path)
    data = path.read_bytes()
    for broken in (b"", data[:10], data[:-1], data + b"x", b"X" + data[1:], data[:-20] + b"\1" + data[-19:]):
        path.write_bytes(broken)
        with pytest.raises(cet.IOFailure):
            cet.Spectrum.load(path)
    with pytest.raises(cet.IOFailure, match="absent"):
        cet.Spectrum.load(tmp_path / "absent")
    with pytest.raises(cet.IOFailure):
        cet.eigsh(Counting(symmetric(50)), k=2).save(tmp_path / "no folder" / "pairs")


def test_spectrum_of_another_curvature_is_told(model, calibration, tmp_path):
    hessian = cet.Hessian(model, calibration, samples=32)
    found = cet.eigsh(hessian, k=2)
    found.save(tmp_path / "pairs")
    again = cet.Spectrum.load(tmp_path / "pairs")
    again.check(hessian)
    for other, difference in [
        (cet.Hessian(model, calibration, samples=33), "data is"), (cet.Hessian(model, calibration, samples=32, loss="mse"), "loss is"),
        (cet.Hessian(model, calibration, samples=32, keep=hessian.parameters[0].name), "parameters is"),
    ]:
        with pytest.raises(cet.InvalidArgument, match=difference):
            again.check(other)
    with pytest.raises(cet.InvalidArgument, match="option initial"):
        cet.eigsh(cet.Hessian(model, calibration, keep=hessian.parameters[0].name), k=2, initial=again)
    # Other samples are no obstacle to a start.
    assert cet.eigsh(cet.Hessian(model, calibration, samples=33), k=2, initial=again).converged.all()


def test_initial_pairs_save_products():
    matrix = with_spectrum(np.concatenate([np.arange(20.0, 10, -1), np.linspace(0, 10.8, 300)]), seed=8)
    cold = cet.eigsh(Counting(matrix), k=10, krylov_dimension=16, max_applies=4000)
    moved = matrix + 1e-3 * symmetric(len(matrix), seed=9)
    warm = cet.eigsh(Counting(moved), k=10, krylov_dimension=16, max_applies=4000, initial=cold)
    again = cet.eigsh(Counting(moved), k=10, krylov_dimension=16, max_applies=4000)
    assert warm.converged.all() and warm.applies < again.applies
    check_pairs(warm, moved)


@pytest.mark.parametrize("options", [{}, {"block_size": 3}, {"basis_type": "bfloat16"}])
def test_interrupted_solve_goes_on_to_the_same_bits(tmp_path, options):
    matrix = symmetric(300, seed=10)
    options = dict(options, k=5, krylov_dimension=20, max_applies=2000, fingerprint="random 300")
    whole = cet.eigsh(Counting(matrix), **options)
    assert whole.restarts > 3
    state = tmp_path / "state"

    class Stops(Counting):
        def __matmul__(self, v):
            if len(self.calls) == 25:
                raise KeyboardInterrupt
            return super().__matmul__(v)

    with pytest.raises(KeyboardInterrupt):
        cet.eigsh(Stops(matrix), state_path=state, **options)
    assert state.exists()
    with pytest.raises(cet.InvalidArgument, match="another solve: seed is 0, expected 1"):
        cet.eigsh(Counting(matrix), state_path=state, **dict(options, seed=1))
    with pytest.raises(cet.InvalidArgument, match="another solve: fingerprint is random 300, expected other"):
        cet.eigsh(Counting(matrix), state_path=state, **dict(options, fingerprint="other"))
    rest = Counting(matrix)
    resumed = cet.eigsh(rest, state_path=state, **options)
    assert (resumed.eigenvalues == whole.eigenvalues).all() and (resumed.eigenvectors == whole.eigenvectors).all()
    assert resumed.applies == whole.applies > sum(1 if len(s) == 1 else s[1] for s in rest.calls)
    assert not state.exists()


def test_damaged_state_is_refused(tmp_path):
    state = tmp_path / "state"
    calls = []

    def stops(v):
        calls.append(0)
        if len(calls) == 60:
            raise KeyboardInterrupt
        return symmetric(100) @ v

    with pytest.raises(KeyboardInterrupt):
        cet.eigsh(stops, n=100, k=5, krylov_dimension=20, tolerance=1e-6, max_applies=2000, state_path=state)
    data = state.read_bytes()
    for broken in (data[:100], data[:-1], data[:-30] + b"\1\2" + data[-28:]):
        state.write_bytes(broken)
        with pytest.raises(cet.IOFailure):
            cet.eigsh(stops, n=100, k=5, krylov_dimension=20, tolerance=1e-6, max_applies=2000, state_path=state)


# Single tensors


def test_hessian_of_one_tensor_is_the_diagonal_block(model, calibration):
    whole = cet.Hessian(model, calibration, samples=32)
    place = whole.parameters[1]
    block = cet.Hessian(model, calibration, samples=32, only=place.name)
    assert [p.name for p in block.parameters] == [place.name]
    count = block.shape[0]
    v = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    wide = np.zeros(whole.shape[0], np.float32)
    wide[place.offset:place.offset + count] = v
    expected = (whole @ wide)[place.offset:place.offset + count]
    assert np.linalg.norm(block @ v - expected) <= 1e-4 * np.linalg.norm(expected)
    with pytest.raises(cet.InvalidArgument, match="only pattern 'nothing' matches none"):
        cet.Hessian(model, calibration, only="nothing")
    with pytest.raises(cet.InvalidArgument, match="no parameters"):
        cet.Hessian(model, calibration, only=place.name, keep=place.name)


# Estimates


@pytest.mark.parametrize("method", ["hutchinson", "hutch++"])
def test_trace_is_within_its_error(method):
    matrix = with_spectrum(np.concatenate([[100.0, -60, 40], np.linspace(0, 1, 200)]))
    operator = Counting(matrix)
    trace, error = cet.trace(operator, samples=40, method=method, seed=1)
    assert abs(trace - np.trace(matrix)) <= 4 * error
    assert len(operator.calls) == 40
    if method == "hutchinson":
        off = matrix - np.diag(np.diag(matrix))
        assert error == pytest.approx(np.sqrt(2 * (off**2).sum() / 40), rel=0.5)
    else:
        # Without the three stiff eigenvalues; Hutchinson's method has ten times as much.
        assert error < 1.2 * np.sqrt(2 * (np.linspace(0, 1, 200) ** 2).sum() / 20)


@pytest.mark.parametrize("method", ["hutchinson", "hutch++"])
@pytest.mark.parametrize("matrix", [np.diag([3.0, -1, 2, 0.5]), np.zeros((9, 9)), np.array([[4.0]])])
def test_trace_of_small_matrices_is_exact(matrix, method):
    trace, error = cet.trace(Counting(matrix), samples=8, method=method)
    assert trace == pytest.approx(np.trace(matrix), abs=1e-5)
    assert error == pytest.approx(0, abs=1e-5)


def test_diagonal_is_within_its_errors():
    matrix = symmetric(60)
    diagonal, errors = cet.diagonal(Counting(matrix), samples=200)
    assert diagonal.dtype == errors.dtype == np.float32
    distance = np.abs(diagonal - np.diag(matrix)) / errors
    assert distance.max() < 5 and np.mean(distance < 2) > 0.8
    off = matrix - np.diag(np.diag(matrix))
    np.testing.assert_allclose(errors, np.sqrt((off**2).sum(axis=1) / 200), rtol=0.3)
    np.testing.assert_allclose(cet.diagonal(Counting(np.diag([1.0, 2, -3])), samples=2)[0], [1, 2, -3])


def test_density_moments_match_numpy():
    matrix = symmetric(120)
    values = np.linalg.eigvalsh(matrix)
    found = cet.spectral_density(Counting(matrix), samples=30, steps=20)
    assert found.nodes.shape == found.weights.shape == (30, 20)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, atol=1e-12)
    for power in range(5):
        moments = (found.weights * found.nodes**power).sum(axis=1)
        error = moments.std(ddof=1) / np.sqrt(30)
        assert abs(moments.mean() - np.mean(values**power)) <= 4 * error + 1e-5 * np.abs(values).max()**power


def test_density_on_a_grid_matches_the_true_spectrum():
    matrix = with_spectrum(np.concatenate([np.full(50, -2.0), np.full(100, 1.0), np.full(50, 4.0)]))
    found = cet.spectral_density(Counting(matrix), samples=20, steps=10, width=0.2)
    # Three distinct eigenvalues: a Krylov space of three vectors.
    assert ((found.weights > 0).sum(axis=1) == 3).all()
    density, errors = found(np.array([-2.0, 1, 4, 2.5]))
    peak = 1 / (0.2 * np.sqrt(2 * np.pi))
    assert (np.abs(density - peak * np.array([0.25, 0.5, 0.25, 0])) <= 4 * errors + 1e-6).all()
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("matrix, values", [
    (np.zeros((30, 30)), [0.0]), (np.outer(np.ones(30), np.ones(30)), [0.0, 30]), (np.array([[7.0]]), [7.0]), (np.eye(5), [1.0])])
def test_density_of_simple_maps_has_their_eigenvalues(matrix, values):
    operator = Counting(matrix)
    found = cet.spectral_density(operator, samples=4, steps=12)
    nodes = found.nodes[found.weights > 1e-9]
    assert np.abs(nodes[:, None] - np.array(values)).min(axis=1).max() < 1e-4
    assert len(operator.calls) <= 4 * len(values)


def test_estimates_of_a_curvature_agree_with_its_matrix(model, calibration):
    hessian = cet.Hessian(model, calibration, samples=32, only=cet.Hessian(model, calibration).parameters[0].name)
    n = hessian.shape[0]
    matrix = np.stack([hessian @ column for column in np.eye(n, dtype=np.float32)])
    trace, error = cet.trace(hessian, samples=50)
    assert abs(trace - np.trace(matrix)) <= 4 * error + 1e-5
    diagonal, errors = cet.diagonal(hessian, samples=50)
    assert (np.abs(diagonal - np.diag(matrix)) <= 6 * errors + 1e-5).all()
    found = cet.spectral_density(hessian, samples=10, steps=20)
    means = (found.weights * found.nodes).sum(axis=1)
    assert abs(n * means.mean() - np.trace(matrix)) <= 4 * n * means.std(ddof=1) / np.sqrt(10) + 1e-5


@pytest.mark.parametrize("estimate", [cet.trace, cet.diagonal, cet.spectral_density])
def test_estimates_any_threads_same_bits_and_errors_come_through(estimate):
    matrix = symmetric(70)
    one, two = (estimate(Counting(matrix), samples=5, threads=threads) for threads in (1, 2))
    parts = lambda x: (x.nodes, x.weights) if hasattr(x, "nodes") else x
    for a, b in zip(parts(one), parts(two)):
        np.testing.assert_array_equal(a, b)

    def broken(v):
        raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError, match="on purpose"):
        estimate(broken, n=10)


def test_damaged_header_of_a_spectrum_file_is_said_to_be_one(model, calibration, tmp_path):
    cet.eigsh(cet.Hessian(model, calibration, samples=16), k=1).save(tmp_path / "s")
    data = (tmp_path / "s").read_bytes()
    assert data.count(b'"largest-magnitude"') == 1
    (tmp_path / "s").write_bytes(data.replace(b'"largest-magnitude"', b'"largest-magnitudf"'))
    with pytest.raises(cet.IOFailure, match="header, which: expected one of") as caught:
        cet.Spectrum.load(tmp_path / "s")
    assert "plan" not in str(caught.value) and "spectrum file" in str(caught.value)
