"""What the Python tests share: the built library in build/, the tool, the bundled model.

Run after `make lib`. CET_BUILD names another prefix than build/.
"""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CET_BUILD", ROOT / "build")).resolve()
os.environ["CET_LIBRARY"] = str(BUILD / "lib" / "libcet.so")
sys.path.insert(0, str(ROOT / "bindings" / "python"))

# A runner in the background may have been started with interrupts ignored, and programs inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

DIGITS = ROOT / "Tests" / "Fixtures" / "digits_cnn"


# Files that take longest. Begun last, one of them would keep one processor busy and the other waiting.
FIRST = [f"test_{name}.py" for name in ("real_models", "tutorials", "tool", "tool_files", "notebook", "predictions", "package")]


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes some ten seconds or more, and `make test-all` alone runs it")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def build():
    """A prefix with lib, bin and include."""
    return BUILD


@pytest.fixture(scope="session")
def digits():
    """The folder of the bundled model."""
    return DIGITS


@pytest.fixture(scope="session")
def calibration_arrays():
    return dict(np.load(DIGITS / "calibration.npz"))


@pytest.fixture(scope="session")
def model():
    import cet

    return cet.Model(DIGITS / "model.onnx")


@pytest.fixture(scope="session")
def calibration():
    import cet

    return cet.Calibration.from_npz(DIGITS / "calibration.npz")


@pytest.fixture(scope="session")
def plan(model, calibration):
    import cet

    return cet.plan(model, calibration, target_ratio=11)


@pytest.fixture(scope="session")
def quantized(model, calibration, plan):
    import cet

    return cet.quantize(model, calibration, plan)


@pytest.fixture(scope="session")
def tool():
    """Runs cet-onnx; gives the finished process with its texts."""

    def run(*arguments, **options):
        command = [str(BUILD / "bin" / "cet-onnx"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)

    return run


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory):
    """Compiles a C program against a prefix and gives the path of the executable."""

    def compile(source, prefix=BUILD, more=()):
        output = tmp_path_factory.mktemp("c") / pathlib.Path(source).stem
        environment = dict(os.environ, PKG_CONFIG_PATH=str(pathlib.Path(prefix) / "lib" / "pkgconfig"))
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "cet"], check=True, capture_output=True, text=True, env=environment)
        subprocess.run(
            ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", str(source), *map(str, more),
             *flags.stdout.split(), "-lm", f"-Wl,-rpath,{prefix}/lib", "-o", str(output)],
            check=True)
        return output

    return compile
