"""What `make install` and pip put on a machine works there."""

import os
import shutil
import subprocess
import sys

import pytest


def call(*command, **options):
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, **options)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory, root, build):
    prefix = tmp_path_factory.mktemp("prefix")
    call(root / "tools" / "install.sh", build, prefix, "")
    return prefix


def test_install_lays_out_library_header_and_tool(prefix):
    names = sorted(str(path.relative_to(prefix)) for path in prefix.rglob("*") if not path.is_dir())
    # Where libonnx-dev is not installed, onnx-judge is not built.
    assert [name for name in names if name != "libexec/cet/onnx-judge"] == [
        "bin/cet-onnx", "include/cet/cet.h", "include/cet/cet.hpp", "lib/cmake/cet/cetConfig.cmake", "lib/cmake/cet/cetConfigVersion.cmake",
        "lib/libcet.so", "lib/libcet.so.0.1", "lib/libcet.so.0.1.0", "lib/pkgconfig/cet.pc",
        "share/man/man1/cet-onnx.1"]
    assert os.readlink(prefix / "lib" / "libcet.so.0.1") == "libcet.so.0.1.0"


def test_install_destdir_is_put_in_front(root, build, tmp_path):
    call(root / "tools" / "install.sh", build, "/opt/cet", tmp_path)
    assert (tmp_path / "opt" / "cet" / "lib" / "libcet.so").exists()


def test_installed_tool_finds_its_library(prefix, digits):
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    assert "libcet 0.1.0" in call(prefix / "bin" / "cet-onnx", "--version", env=environment)
    call(prefix / "bin" / "cet-onnx", "inspect", digits / "model.onnx", env=environment, cwd="/")


def test_installed_library_serves_a_c_program(prefix, compile_c, root, digits, tmp_path):
    program = compile_c(root / "examples" / "c" / "compress.c", prefix)
    output = call(program, digits / "model.onnx", digits / "calibration.npz", "8", tmp_path / "x.onnx")
    assert "fc1.weight" in output
    assert (tmp_path / "x.onnx").exists()


def test_installed_library_solves_a_hosts_own_map(prefix, compile_c, root):
    output = call(compile_c(root / "examples" / "c" / "custom_operator.c", prefix))
    for line in output.splitlines()[:-1]:
        value, _, exact = line.split()[:3]
        assert abs(float(value) - float(exact)) < 1e-4


def test_installed_library_serves_cmake(prefix, root, digits, tmp_path):
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(consumer C)\nfind_package(cet 0.1 REQUIRED)\n"
        f"add_executable(compress {root}/examples/c/compress.c)\ntarget_link_libraries(compress cet::cet)\n")
    call(cmake, "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    call(cmake, "--build", tmp_path / "build")
    call(tmp_path / "build" / "compress", digits / "model.onnx", digits / "calibration.npz", "8", tmp_path / "x.onnx")


def test_installed_header_serves_rust(prefix, root, digits, tmp_path):
    if shutil.which("bindgen") is None or shutil.which("rustc") is None:
        pytest.skip("bindgen or rustc is not installed")
    shutil.copy(root / "examples" / "rust" / "compress.rs", tmp_path)
    call("bindgen", prefix / "include" / "cet" / "cet.h", "--allowlist-function", "cet_.*", "--allowlist-type", "cet_.*",
         "--allowlist-var", "CET_.*", "--no-prepend-enum-name", "-o", tmp_path / "cet.rs", "--",
         f"-I{call('cc', '-print-file-name=include').strip()}")
    call("rustc", "-O", "compress.rs", "-L", prefix / "lib", "-C", f"link-arg=-Wl,-rpath,{prefix}/lib", cwd=tmp_path)
    call(tmp_path / "compress", digits / "model.onnx", digits / "calibration.npz", "8", tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").exists()


def test_python_package_installs_with_pip(root, build, tmp_path, digits):
    source = tmp_path / "source"
    shutil.copytree(root / "bindings" / "python", source)
    call(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target",
         tmp_path / "site", source)
    call(sys.executable, "-c", "import cet, sys; cet.Model(sys.argv[1])", digits / "model.onnx",
         env=dict(os.environ, PYTHONPATH=str(tmp_path / "site")), cwd="/")


def test_python_package_with_the_library_inside_needs_no_setting(root, build, tmp_path, digits):
    site = tmp_path / "site"
    shutil.copytree(root / "bindings" / "python" / "cet", site / "cet")
    shutil.copy(build / "lib" / "libcet.so.0.1", site / "cet" / "libcet.so.0.1")
    environment = {name: value for name, value in os.environ.items() if name != "CET_LIBRARY"}
    environment["PYTHONPATH"] = str(site)
    output = call(sys.executable, "-c", "import cet; print(cet.library_path())", env=environment, cwd="/")
    assert output.strip() == str(site / "cet" / "libcet.so.0.1")


def test_python_example_is_ten_lines_that_work(root, digits, tmp_path):
    text = (root / "examples" / "python" / "compress.py").read_text()
    assert len([line for line in text.splitlines() if line and not line.startswith(('"""', "import"))]) <= 10
    output = call(
        sys.executable, root / "examples" / "python" / "compress.py", digits / "model.onnx", digits / "calibration.npz",
        11, tmp_path / "x.onnx", env=dict(os.environ, PYTHONPATH=str(root / "bindings" / "python")))
    assert "fc1.weight" in output and (tmp_path / "x.onnx").exists()
