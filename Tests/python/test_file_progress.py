"""cet_set_progress: calls that read and write files are heard, and end when the host wants."""

import ctypes
import json
import os
import threading
import time
import zipfile

import numpy as np
import pytest

import cet
from cet import structs as s
from cet.library import lib
from conftest import DIGITS

CANCELLED = -9
READ, WRITE = 11, 9


class Heard:
    """A host's callback; `stop` is what it answers from the call number `after` on."""

    def __init__(self, stop=0, after=0):
        self.calls, self.times = [], []
        self._answer = (stop, after)
        self.function = s.ProgressFn(self._on_progress)

    def _on_progress(self, phase, done, total, _):
        self.calls.append((phase, done, total))
        self.times.append(time.monotonic())
        return self._answer[0] if len(self.calls) > self._answer[1] else 0

    def __enter__(self):
        assert lib.cet_set_progress(self.function, None) == 0
        return self

    def __exit__(self, *_):
        assert lib.cet_set_progress(s.ProgressFn(), None) == 0


def new_session(model, calibration):
    return cet.Session(model, calibration, target_ratio=8, method="uniform", coding="affine", samples=64)


@pytest.fixture(scope="module")
def files(model, calibration, quantized, tmp_path_factory):
    """What is read, by the call that reads it."""
    folder = tmp_path_factory.mktemp("files")
    new_session(model, calibration).save(folder / "session")
    quantized.save_state(folder / "state")
    cet.eigsh(lambda v: np.arange(4000, dtype=np.float32) * v, k=4, n=4000).save(folder / "spectrum")
    return folder


def reads(model, files, plan):
    out = ctypes.c_void_p()
    by = ctypes.byref(out)
    data = (DIGITS / "model.onnx").read_bytes()
    source = s.Source(data=ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), size=len(data))
    text = json.loads(plan.to_json())
    text["notes"] = ["n" * 8] * 20000
    return out, {
        "cet_model_load_file": lambda: lib.cet_model_load_file(os.fsencode(DIGITS / "model.onnx"), by),
        "cet_model_load_memory": lambda: lib.cet_model_load_memory(data, len(data), by),
        "cet_model_load": lambda: lib.cet_model_load(ctypes.byref(source), None, by),
        "cet_calibration_load_npz": lambda: lib.cet_calibration_load_npz(os.fsencode(DIGITS / "calibration.npz"), by),
        "cet_session_load": lambda: lib.cet_session_load(model._handle, os.fsencode(files / "session"), by),
        "cet_quantized_load_state": lambda: lib.cet_quantized_load_state(model._handle, os.fsencode(files / "state"), by),
        "cet_spectrum_load_file": lambda: lib.cet_spectrum_load_file(os.fsencode(files / "spectrum"), by),
        "cet_plan_from_json": lambda: lib.cet_plan_from_json(json.dumps(text).encode(), by),
    }


@pytest.mark.parametrize("call", [
    "cet_calibration_load_npz", "cet_model_load", "cet_model_load_file", "cet_model_load_memory", "cet_plan_from_json", "cet_quantized_load_state", "cet_session_load",
    "cet_spectrum_load_file"])
def test_reading_isHeard_andEndsWhenTheHostWants(call, model, files, plan):
    out, calls = reads(model, files, plan)
    free = {"model": lib.cet_model_free, "calibration": lib.cet_calibration_free, "plan": lib.cet_plan_free,
            "quantized": lib.cet_quantized_free, "session": lib.cet_session_free, "spectrum": lib.cet_spectrum_free}[call.split("_")[1]]
    with Heard() as heard:
        assert calls[call]() == 0
    reads_bytes = call not in ("cet_model_load", "cet_model_load_memory")
    assert heard.calls and all(phase == READ and (total > 0) == reads_bytes for phase, _, total in heard.calls)
    free(out)
    with Heard(stop=1):
        assert calls[call]() == CANCELLED and not out.value
    count = len(heard.calls)
    assert calls[call]() == 0  # of what is not set any more nothing is heard
    assert len(heard.calls) == count
    free(out)


def test_lookingAtAModel_isHeard_andEndsWhenTheHostWants():
    model, json_text, digest = cet.Model(DIGITS / "model.onnx"), ctypes.c_void_p(), ctypes.c_char_p()
    with Heard(stop=1):
        assert lib.cet_model_inspect_json(model._handle, ctypes.byref(json_text)) == CANCELLED and not json_text.value
        assert lib.cet_model_get_sha256(model._handle, ctypes.byref(digest)) == CANCELLED and not digest.value
    with Heard() as heard:
        assert lib.cet_model_get_sha256(model._handle, ctypes.byref(digest)) == 0
    assert heard.calls and len(digest.value) == 64


def test_saving_isHeard_andLeavesNoFileWhenItIsStopped(model, calibration, quantized, files, tmp_path):
    spectrum = cet.Spectrum.load(files / "spectrum")
    session = new_session(model, calibration)
    saves = {
        "state": (lib.cet_quantized_save_state, quantized._handle), "spectrum": (lib.cet_spectrum_save_file, spectrum._spectrum._handle),
        "session": (lib.cet_session_save, session._handle)}
    for name, (save, handle) in saves.items():
        path = os.fsencode(tmp_path / name)
        with Heard(stop=1):
            assert save(handle, path) == CANCELLED, name
        assert os.listdir(tmp_path) == []
        with Heard() as heard:
            assert save(handle, path) == 0, name
        assert WRITE in {phase for phase, _, _ in heard.calls}, name
        os.remove(path)
        for phase in {phase for phase, _, _ in heard.calls}:
            steps = [done for of, done, _ in heard.calls if of == phase]
            assert steps == sorted(steps), name
    # The last was a session without its table: what makes it is heard as well.
    assert {phase for phase, _, _ in heard.calls} > {WRITE}


def test_progressOfAThread_isNotAnothers(tmp_path):
    statuses = []

    def load():
        out = ctypes.c_void_p()
        statuses.append(lib.cet_model_load_file(os.fsencode(DIGITS / "model.onnx"), ctypes.byref(out)))
        lib.cet_model_free(out)

    with Heard(stop=1) as heard:
        other = threading.Thread(target=load)
        other.start()
        other.join()
    assert statuses == [0] and heard.calls == []


def test_longReading_isHeardAllTheTime(tmp_path):
    """A gigabyte of zeros, packed to a megabyte."""
    path = tmp_path / "zeros.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open("x.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (64, 1 << 22)})
        for _ in range(64):
            member.write(bytes(1 << 24))
    out = ctypes.c_void_p()
    with Heard(stop=1, after=3) as heard:
        begin = time.monotonic()
        assert lib.cet_calibration_load_npz(os.fsencode(path), ctypes.byref(out)) == CANCELLED
        taken = time.monotonic() - begin
    assert len(heard.calls) == 4 and taken < 5
    # Some twenty times a second; a busy machine may lose some.
    assert max(after - before for before, after in zip([begin, *heard.times], heard.times)) < 1


def test_longTexts_areHeard():
    out = ctypes.c_void_p()
    for text in (b'{"a":"' + b"x" * (300 << 20) + b'"}', b'{"a":"' + b"\\n" * (20 << 20) + b'"}'):
        with Heard(stop=1, after=2) as heard:
            assert lib.cet_plan_from_json(text, ctypes.byref(out)) == CANCELLED
        assert len(heard.calls) == 3 and heard.calls[-1][1] > 0 and heard.calls[-1][2] == len(text)


def test_callsOfACallback_areNoPartOfTheCallThatAsks(tmp_path):
    """The host loads a model while it is asked, heard by a progress of its own or by none; the outer call is heard on."""
    np.savez(tmp_path / "d.npz", input=np.zeros((1 << 16, 1, 16, 16), np.float32))
    out = ctypes.c_void_p()
    statuses = []
    for inner in (Heard(), None):
        outer = Heard()

        def load(phase, done, total, _, inner=inner, outer=outer):
            outer.calls.append((phase, done, total))
            lib.cet_set_progress(inner.function if inner else s.ProgressFn(), None)
            handle = ctypes.c_void_p()
            time.sleep(0.06)
            statuses.append(lib.cet_model_load_file(os.fsencode(DIGITS / "model.onnx"), ctypes.byref(handle)))
            lib.cet_model_free(handle)
            lib.cet_set_progress(outer.function, None)
            return 1 if len(outer.calls) == 2 else 0

        outer.function = s.ProgressFn(load)
        with outer:
            assert lib.cet_calibration_load_npz(os.fsencode(tmp_path / "d.npz"), ctypes.byref(out)) == CANCELLED
        assert len(outer.calls) == 2 and len({total for _, _, total in outer.calls}) == 1
        assert inner is None or inner.calls
    assert set(statuses) == {0}
