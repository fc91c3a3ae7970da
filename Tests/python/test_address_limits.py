"""A limit on a process's addresses that is there from its start: every command ends by itself, with a status and a line."""

import os
import resource
import subprocess

import numpy as np
import onnx
import pytest

MEGABYTES = [90, 120, 150, 170, 200, 240, 280, 295, 320, 360, 420, 500, 700]


def limited(megabytes):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return limit


@pytest.fixture(scope="module")
def few(digits, tmp_path_factory):
    """A few of the samples."""
    path = tmp_path_factory.mktemp("few") / "few.npz"
    data = np.load(digits / "calibration.npz")
    np.savez(path, **{name: data[name][:32] for name in data.files})
    return path


@pytest.mark.parametrize("command", ["version", "inspect", "spectrum", "compress", "check"])
def test_commands_end_by_themselves_under_any_limit_on_addresses(build, digits, few, tmp_path, command):
    model, output = digits / "model.onnx", tmp_path / "small.onnx"
    arguments = {
        "version": ["--version"],
        "inspect": ["inspect", model],
        "spectrum": ["spectrum", model, "--data", few, "-k", "4", "--quiet"],
        "compress": ["compress", model, output, "--data", few, "--target-bits", "4", "--coding", "affine", "--method", "mckp", "--quiet"],
        "check": ["check", model, "--against", model, "--data", few],
    }[command]
    ends = []
    for megabytes in MEGABYTES:
        found = subprocess.run(
            [str(build / "bin" / "cet-onnx"), *map(str, arguments)], preexec_fn=limited(megabytes), capture_output=True, text=True, timeout=120,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "2"})  # each takes 128 MB of addresses
        # The loader itself may have no room for the libraries: 127.
        assert found.returncode in (0, 1, 127), (megabytes, found.returncode, found.stderr[-500:])
        if found.returncode == 1:
            assert len(found.stderr.splitlines()) == 1 and found.stderr.startswith("cet-onnx: "), (megabytes, found.stderr)
            assert list(tmp_path.iterdir()) == []
        if command == "compress" and found.returncode == 0:
            onnx.load(output)
            output.unlink()
        ends.append(found.returncode)
    assert ends[0] != 0 and ends[-1] == 0, dict(zip(MEGABYTES, ends))


def test_a_program_of_one_call_ends_under_any_limit_on_addresses(build, tmp_path):
    """OpenBLAS's threads look for memory without an end there, and exit waits for them."""
    source, program = tmp_path / "one.c", tmp_path / "one"
    source.write_text('#include <cet/cet.h>\nint main(void) { char *json; return cet_build_info_json(&json) != CET_OK; }\n')
    library = build / "lib"
    subprocess.run(
        ["cc", source, "-o", program, f"-I{build / 'include'}", f"-L{library}", "-lcet", f"-Wl,-rpath,{library}"], check=True)
    for megabytes in MEGABYTES * 2:
        found = subprocess.run([program], preexec_fn=limited(megabytes), timeout=30, env={**os.environ, "OPENBLAS_NUM_THREADS": "4"})
        assert found.returncode in (0, 1, 127), megabytes
