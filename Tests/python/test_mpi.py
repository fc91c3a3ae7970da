"""A spectrum has the same bits for 1, 2 and 4 MPI processes, from C and from Python, as without MPI."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import cet

COUNT, BATCH = 3, 8

needs_mpi = pytest.mark.skipif(
    shutil.which("mpirun") is None, reason="no MPI: tools/setup.sh tests installs openmpi-bin where apt-get has it")


@pytest.fixture(scope="module")
def samples(digits, tmp_path_factory):
    """75 samples: batches of 8 and one of 3."""
    path = tmp_path_factory.mktemp("mpi") / "samples.npz"
    arrays = np.load(digits / "calibration.npz")
    np.savez(path, input=arrays["input"][:75], labels=arrays["labels"][:75])
    return path


@pytest.fixture(scope="module")
def expected(model, samples):
    """Without MPI, on two threads."""
    hessian = cet.Hessian(model, cet.Calibration.from_npz(samples), batch_size=BATCH, threads=2)
    return cet.eigsh(hessian, k=COUNT).eigenvalues


def run(ranks, *command):
    environment = dict(
        os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", PYTHONPATH=os.pathsep.join(sys.path))
    return subprocess.run(
        ["mpirun", "--oversubscribe", "-n", str(ranks), *map(str, command)], capture_output=True, text=True, timeout=300,
        env=environment)


def values(finished):
    assert finished.returncode == 0, finished.stderr
    return [float.fromhex(line.split()[1]) for line in finished.stdout.splitlines()]


@pytest.fixture(scope="module")
def program(compile_c, root):
    return compile_c(root / "examples" / "mpi" / "spectrum.c", more=[root / "examples" / "mpi" / "cet_mpi.c", "-ldl"])


@needs_mpi
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_spectrum_of_the_c_program_has_the_same_bits(ranks, program, digits, samples, expected):
    assert values(run(ranks, program, digits / "model.onnx", samples, COUNT, BATCH)) == list(expected)


@needs_mpi
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_spectrum_of_the_python_program_has_the_same_bits(ranks, root, digits, samples, expected):
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    script = root / "examples" / "mpi" / "spectrum.py"
    assert values(run(ranks, sys.executable, script, digits / "model.onnx", samples, COUNT, BATCH)) == list(expected)


@needs_mpi
def test_rank_without_its_samples_ends_all_ranks(program, digits, samples):
    """100 samples in a batch: too few batches for two ranks. Nobody hangs."""
    finished = run(2, program, digits / "model.onnx", samples, COUNT, 100)
    assert finished.returncode != 0
    assert "75 samples in batches of 100 are too few for 2 ranks" in finished.stderr


def test_library_does_not_need_mpi(build):
    needed = subprocess.run(["objdump", "-p", build / "lib" / "libcet.so"], check=True, capture_output=True, text=True).stdout
    assert "NEEDED" in needed and "mpi" not in needed


class Alone:
    """One rank of one: nothing to add."""

    calls = 0

    def __call__(self, values):
        assert values.dtype == np.float64
        self.calls += 1


def test_communicator_of_one_gives_the_same_bits(model, calibration):
    allreduce = Alone()
    alone = cet.Hessian(model, calibration, samples=None, communicator=cet.Communicator(0, 1, allreduce))
    plain = cet.Hessian(model, calibration)
    v = np.random.default_rng(1).standard_normal(plain.shape[0]).astype(np.float32)
    np.testing.assert_array_equal(alone @ v, plain @ v)
    np.testing.assert_array_equal(alone.gradient(), plain.gradient())
    assert alone.loss() == plain.loss()
    assert allreduce.calls > 0


def test_exception_in_an_allreduce_is_raised(model, calibration):
    def broken(values):
        raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError, match="on purpose"):
        cet.Hessian(model, calibration, communicator=cet.Communicator(0, 2, broken))


def test_ranges_tile_the_samples():
    for size in (1, 2, 3, 4, 16):
        ranges = [cet.Communicator(rank, size, None).range(1000, 16) for rank in range(size)]
        assert [k for part in ranges for k in part] == list(range(1000))
        assert all(part.start % 16 == 0 for part in ranges)
    with pytest.raises(cet.InvalidArgument, match="48 samples in batches of 16 are too few for 4 ranks"):
        cet.Communicator(0, 4, None).range(48, 16)
