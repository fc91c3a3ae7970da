"""Files that others cut, overwrite or replace while the library reads them, and after: never a signal, never a mixture."""

import json
import mmap
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cet
from conftest import DIGITS, ROOT

N = 1000


def constant_model(value, location=None):
    """y = x W with W full of one value: a product that is not N * value was made from other bytes."""
    weights = numpy_helper.from_array(np.full((N, N), value, np.float32), "w")
    data = weights.raw_data
    if location is not None:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        for key, text in (("location", location), ("offset", "0"), ("length", str(len(data)))):
            entry = weights.external_data.add()
            entry.key, entry.value = key, text
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", N])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", N])], [weights])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return proto.SerializeToString(), data


def samples(path):
    """The values of a calibration set, which a model that passes them through shows."""
    shape = ["n", N]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)])
    model = cet.Model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    return np.unique(np.concatenate([outputs["y"] for outputs in cet.run_samples(model, cet.Calibration.from_npz(path))]))


def product(model):
    return np.unique(cet.run(model, {"x": np.ones((1, N), np.float32)})["y"]) / N


# What is read: the file that others write, its two states, and what a reader makes of them.

def whole_model(folder):
    path = folder / "m.onnx"
    return path, [constant_model(value)[0] for value in (1, 2)], lambda: product(cet.Model(path))


def external_data(folder):
    (folder / "m.onnx").write_bytes(constant_model(0, "w.bin")[0])
    return folder / "w.bin", [constant_model(value)[1] for value in (1, 2)], lambda: product(cet.Model(folder / "m.onnx"))


def saved(folder, save):
    states = []
    for value in (1, 2):
        save(folder / "state.npz", np.full((N, N), value, np.float32))
        states.append((folder / "state.npz").read_bytes())
        os.remove(folder / "state.npz")
    return states


def archive(folder):
    path = folder / "data.npz"
    states = saved(folder, lambda path, array: np.savez(path, x=array))
    return path, states, lambda: samples(path)


def array_folder(folder):
    (folder / "arrays").mkdir()
    path = folder / "arrays" / "x.npy"

    def save(path, array):
        with open(path, "wb") as file:
            np.save(file, array)

    return path, saved(folder, save), lambda: samples(folder / "arrays")


def spectrum_file(folder):
    path, states = folder / "s.cet", []
    for value in (1, 2):
        cet.eigsh(lambda v, value=value: value * v, k=1, n=1 << 18).save(path)
        states.append(path.read_bytes())
    assert len(states[0]) == len(states[1])
    return path, states, lambda: np.unique(np.round(cet.Spectrum.load(path).eigenvalues, 3))


def seeded(folder, save, load):
    """Files of one model and two seeds, which plans tell."""
    model, path, states = cet.Model(DIGITS / "model.onnx"), folder / "file.cet", []
    data = cet.Calibration.from_npz(DIGITS / "calibration.npz")
    for seed in (1, 2):
        save(model, data, path, {"seed": seed, "method": "uniform", "rounding": "nearest", "samples": 32})
        states.append(path.read_bytes())
    return path, states, lambda: np.array([json.loads(load(model, path).to_json())["options"]["seed"]])


def quantized_state(folder):
    return seeded(
        folder, lambda model, data, path, options: cet.quantize(model, data, cet.plan(model, data, target_bits=4, **options)).save_state(path),
        lambda model, path: cet.Quantized.load_state(model, path).plan)


def session_file(folder):
    def save(model, data, path, options):
        session = cet.Session(model, data, target_bits=4, **options)
        session.plan(target_bits=4)
        session.save(path)

    return seeded(folder, save, lambda model, path: cet.Session.load(model, path).plan(target_bits=4))


# What others do to a file of the bytes `state`.

def overwrite(path, state, other):
    with open(path, "r+b", buffering=0) as file:
        file.write(other)


def overwrite_and_hide(path, state, other):
    before = os.stat(path)
    overwrite(path, state, other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def overwrite_mapping(path, state, other):
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[:] = other


def cut(path, state, other):
    os.truncate(path, len(state) // 3)


def cut_and_restore(path, state, other):
    cut(path, state, other)
    overwrite(path, state, state)


def grow(path, state, other):
    with open(path, "ab") as file:
        file.write(bytes(1 << 16))


def replace(path, state, other):
    beside = path.with_name("beside")
    beside.write_bytes(other)
    os.replace(beside, path)


def touch_names(path, state, other):
    os.link(path, path.with_name("link"))
    os.chmod(path, 0o600)
    os.remove(path.with_name("link"))


def host(code, *arguments, **variables):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'bindings' / 'python'}:{ROOT / 'Tests' / 'python'}", **variables}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=120)


# A large pread of the library is cut in two, and in between the hook runs.
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
void (*cet_test_hook)(void);
ssize_t pread(int file, void *bytes, size_t size, off_t offset) {
  ssize_t (*real)(int, void *, size_t, off_t) = (ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread");
  void (*hook)(void) = cet_test_hook;
  if (size <= 1 << 20 || !hook) return real(file, bytes, size, offset);
  ssize_t found = real(file, bytes, size / 2, offset);
  hook();
  return found;
}
"""


def outcome(read, action, at=1):
    """What a reader says when the action happens in its read number `at` of more than a megabyte."""
    import ctypes

    slot = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "cet_test_hook")
    calls = []

    def called():
        calls.append(1)
        if len(calls) == at:
            action()

    hook = ctypes.CFUNCTYPE(None)(called)
    slot.value = ctypes.cast(hook, ctypes.c_void_p).value
    try:
        return read().tolist()
    except cet.CetError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        slot.value = None
        assert len(calls) >= at, "nothing was read in one piece"


def outcomes(folder):
    """Run in a process with the shim."""
    found = {}
    for target in (whole_model, external_data, array_folder):
        for change in (
            overwrite, overwrite_and_hide, overwrite_mapping, cut, cut_and_restore, grow, replace, touch_names):
            place = folder / f"{target.__name__}-{change.__name__}"
            place.mkdir()
            path, states, read = target(place)
            path.write_bytes(states[0])
            result = outcome(read, lambda: change(path, *states))
            path.write_bytes(states[1])
            found[f"{target.__name__} {change.__name__}"] = result, read().tolist()
    # Between two tensors of one file, by a writer whose mapping was dirty before: nothing shows in the times.
    place = folder / "parts"
    place.mkdir()
    (place / "m.onnx").write_bytes(two_tensors())
    data = np.ones((2, N, N), np.float32)
    (place / "w.bin").write_bytes(data.tobytes())
    with open(place / "w.bin", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[:] = mapping[:]
        before = os.stat(place / "w.bin")

        def change():
            mapping[:1 << 20] = bytes(1 << 20)

        found["parts hidden"] = outcome(lambda: product(cet.Model(place / "m.onnx")), change, at=2)
        assert os.stat(place / "w.bin").st_mtime_ns == before.st_mtime_ns
    return found


def two_tensors():
    proto = onnx.load_from_string(constant_model(0, "w.bin")[0])
    second = proto.graph.initializer.add()
    second.CopyFrom(proto.graph.initializer[0])
    second.name, second.external_data[1].value = "v", str(4 * N * N)
    proto.graph.node[0].output[0] = "h"
    proto.graph.node.append(helper.make_node("MatMul", ["h", "v"], ["y"]))
    return proto.SerializeToString()


def test_file_changedInTheMiddleOfReading_isOfOneStateOrRefused(tmp_path):
    (tmp_path / "shim.c").write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "shim.c", "-o", "shim.so", "-ldl"], cwd=tmp_path, check=True)
    code = "import json, pathlib, sys, test_changing_files as t; print(json.dumps(t.outcomes(pathlib.Path(sys.argv[1]))))"
    done = host(code, tmp_path, LD_PRELOAD=str(tmp_path / "shim.so"))
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    found = json.loads(done.stdout)
    assert re.match(r"IOFailure: .*w\.bin' was written to while it was read", found.pop("parts hidden"))
    for name, (during, after) in found.items():
        assert after == [2.0], name
        if name.endswith(("replace", "touch_names")):
            assert during == [1.0], name
        else:
            assert re.match("IOFailure: .* (was .* while it was read|has more than .* bytes)", during), (name, during)
    assert len(found) == 24


@pytest.mark.parametrize("target", [whole_model, external_data, archive, array_folder, spectrum_file, quantized_state, session_file])
def test_file_changedAgainAndAgain_neverEndsTheProcess(tmp_path, target):
    path, states, read = target(tmp_path)
    path.write_bytes(states[0])
    assert read() == [1]
    stop = threading.Event()

    def work():
        while not stop.is_set():
            for change in (overwrite, cut_and_restore, overwrite_mapping, grow, cut, replace):
                change(path, *states)
                time.sleep(0.003)
                if path.stat().st_size != len(states[0]):
                    path.write_bytes(states[0])

    writer = threading.Thread(target=work)
    writer.start()
    found = set()
    end = time.monotonic() + 1.5
    try:
        while time.monotonic() < end:
            try:
                values = read()
                # Files with a checksum are never read when they are half written; others can stand still like that.
                assert target in (whole_model, external_data, array_folder) or values in ([1], [2]), values
                found.add("read")
            except cet.CetError as error:
                assert isinstance(error, (cet.IOFailure, cet.InvalidModel)), error
                found.add(type(error))
    finally:
        stop.set()
        writer.join()
    path.write_bytes(states[1])
    assert found and read() == [2]


HOST = """
import hashlib, os, sys
import numpy as np
import cet
from cet import Calibration, Model

folder, deed = sys.argv[1:]

def harm():
    for name in ("m.onnx", "w.bin", "data.npz"):
        path = os.path.join(folder, name)
        size = os.path.getsize(path)
        if deed == "cut":
            os.truncate(path, 0)
        elif deed == "overwrite":
            with open(path, "r+b") as file:
                file.write(os.urandom(size))
        elif deed == "remove":
            os.remove(path)

stage = []
def progress(phase, done, total):
    if phase not in stage:
        stage.append(phase)
        if len(stage) == 2:
            harm()

model = Model(os.path.join(folder, "m.onnx"))
data = Calibration.from_npz(os.path.join(folder, "data.npz"))
plan = cet.plan(model, data, target_bits=3, method="uniform", rounding="nearest", samples=32, progress=progress)
assert len(stage) > 1, stage
small = cet.quantize(model, data, plan)
small.save(os.path.join(folder, "o.onnx"))
print(hashlib.sha256(small.to_bytes()).hexdigest(), hashlib.sha256(open(os.path.join(folder, "o.onnx"), "rb").read()).hexdigest())
"""


def test_files_cutOverwrittenOrRemovedAfterLoading_changeNoByteOfTheResult(tmp_path):
    results = {}
    for deed in ("nothing", "cut", "overwrite", "remove"):
        folder = tmp_path / deed
        folder.mkdir()
        proto = onnx.load(DIGITS / "model.onnx")
        onnx.save(proto, folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
        (folder / "data.npz").write_bytes((DIGITS / "calibration.npz").read_bytes())
        done = host(HOST, folder, deed)
        assert done.returncode == 0, (deed, done.returncode, done.stderr[-2000:])
        results[deed] = done.stdout.split()
    # The files differ from bytes in memory in nothing.
    assert len({digest for digests in results.values() for digest in digests}) == 1, results


def test_model_thatIsNoPlainFile_isRefusedAtOnce(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/proc/self/status", "/proc/self/maps", "/dev/zero", "/proc/self/mem", tmp_path, tmp_path / "pipe"):
        for load in (cet.Model, cet.Spectrum.load):
            with pytest.raises((cet.IOFailure, cet.InvalidModel)):
                load(path)
    for path in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(cet.IOFailure):
            cet.Calibration.from_npz(path)
    (tmp_path / "arrays").mkdir()
    os.mkfifo(tmp_path / "arrays" / "x.npy")
    with pytest.raises(cet.IOFailure, match="regular file"):
        cet.Calibration.from_npz(tmp_path / "arrays")
    with pytest.raises(cet.IOFailure, match="more than the 0 bytes"):
        cet.Model("/proc/self/status")


def test_model_inAFileWithoutAName_isRead():
    descriptor = os.memfd_create("model")
    os.write(descriptor, constant_model(1)[0])
    assert product(cet.Model(f"/proc/self/fd/{descriptor}")) == [1]
    os.close(descriptor)


def test_model_ofMoreBytesThanMemory_isRefused(tmp_path):
    model, data = constant_model(1, "w.bin")
    (tmp_path / "m.onnx").write_bytes(model)
    (tmp_path / "w.bin").write_bytes(data)
    with open(tmp_path / "hole.onnx", "wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(cet.OutOfMemory, match=f"{1 << 42} bytes"):
        cet.Model(tmp_path / "hole.onnx")
    os.truncate(tmp_path / "w.bin", 1 << 42)  # of which the model names its part
    assert product(cet.Model(tmp_path / "m.onnx")) == [1]


def test_reads_ofAFileThatWasRemoved_isNotAnotherOne(tmp_path):
    (tmp_path / "m.onnx").write_bytes(constant_model(1)[0])
    model = cet.Model(tmp_path / "m.onnx")
    assert model.reads(tmp_path / "m.onnx")
    os.remove(tmp_path / "m.onnx")
    for index in range(20):  # file systems give the number of a removed file to the next
        (tmp_path / f"{index}").write_bytes(b"x")
        assert not model.reads(tmp_path / f"{index}")


def test_externalData_ofABytesModel_isTakenByLocation(tmp_path):
    model, data = constant_model(2, "some/../place")
    assert product(cet.Model(model, {"some/../place": data})) == [2]
    assert product(cet.Model(bytearray(model), external_data={"some/../place": memoryview(data), "other": b""})) == [2]
    with pytest.raises(cet.IOFailure, match="initializer 'w': external data 'some/../place'"):
        cet.Model(model, {"other": data})
    with pytest.raises(cet.InvalidModel, match="passes its end"):
        cet.Model(model, {"some/../place": data[:-1]})
    with pytest.raises(cet.InvalidModel, match="cannot reach"):
        cet.Model(model)
    with pytest.raises(cet.InvalidArgument):
        cet.Model(tmp_path / "m.onnx", {"some/../place": data})


# Saving

SAVER = """
import os, sys
import numpy as np
import cet

path = sys.argv[1]
folder = os.path.dirname(path)
model = cet.Model(os.path.join(folder, "m.onnx"))
rng = np.random.default_rng(1)
data = cet.Calibration({"x": rng.standard_normal((4, model.inputs[0].shape[1])).astype(np.float32)})
plan = cet.plan(model, data, target_bits=8, method="uniform", rounding="nearest", coding="affine")
small = cet.quantize(model, None, plan, rounding="nearest")
small.save(path, encoding="float")
"""


def hidden(folder):
    return sorted(name for name in os.listdir(folder) if name.startswith("."))


def test_save_killedInTheMiddle_leavesWhatTheNextSaveRemoves(tmp_path):
    (tmp_path / "m.onnx").write_bytes(constant_model(1)[0])
    (tmp_path / "o.onnx").write_bytes(b"former")
    # When the bytes are written and the name is not given yet.
    (tmp_path / "shim.c").write_text(
        "#include <signal.h>\n#include <unistd.h>\nint fsync(int file) { (void)file; return kill(getpid(), SIGKILL); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "shim.c", "-o", "shim.so"], cwd=tmp_path, check=True)
    done = host(SAVER, tmp_path / "o.onnx", LD_PRELOAD=str(tmp_path / "shim.so"))
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert (tmp_path / "o.onnx").read_bytes() == b"former"
    left = hidden(tmp_path)
    assert len(left) == 1 and left[0].startswith(".o.onnx.cet-") and left[0].endswith(".tmp"), left
    assert host(SAVER, tmp_path / "other.onnx").returncode == 0
    assert hidden(tmp_path) == left, "another target's"
    done = host(SAVER, tmp_path / "o.onnx")
    assert done.returncode == 0, done.stderr[-2000:]
    assert hidden(tmp_path) == []
    assert (tmp_path / "o.onnx").read_bytes() == (tmp_path / "other.onnx").read_bytes()


def test_save_besideTemporaryFilesOfOthers_removesOnlyWhatNobodyHolds(tmp_path, quantized):
    import fcntl

    names = [f".o.onnx.cet-{number}.tmp" for number in ("1-a", "2-b", "3-c", "4-d")]
    (tmp_path / "precious").write_bytes(b"1")
    for name in names[:2]:
        (tmp_path / name).write_bytes(b"1")
    os.symlink(tmp_path / "precious", tmp_path / names[2])
    os.mkfifo(tmp_path / names[3])
    (tmp_path / ".o.onnx.data.cet-5-e.tmp").write_bytes(b"1")
    with open(tmp_path / names[0], "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        quantized.save(tmp_path / "o.onnx")
        assert hidden(tmp_path) == [names[0], names[2], names[3]]
    quantized.save(tmp_path / "o.onnx")
    assert hidden(tmp_path) == names[2:] and (tmp_path / "precious").read_bytes() == b"1"


def test_saves_ofManyAtOnceToOneTarget_allSucceed(tmp_path, quantized):
    expected = quantized.to_bytes()
    failures = []

    def save():
        try:
            for _ in range(3):
                quantized.save(tmp_path / "o.onnx")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=save) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and os.listdir(tmp_path) == ["o.onnx"]
    assert (tmp_path / "o.onnx").read_bytes() == expected


def test_save_underALongName_succeeds(tmp_path, quantized):
    name = "ü" * 125 + ".onnx"
    quantized.save(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
