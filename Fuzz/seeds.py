#!/usr/bin/env python3
"""Writes the inputs that the fuzzers start from, and their dictionaries: FOLDER/<fuzzer>/ and FOLDER/<fuzzer>.dict.

usage: Fuzz/seeds.py FOLDER      (with CET_LIBRARY, as every program that uses the Python package)
"""

import io
import json
import pathlib
import sys
import zipfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bindings" / "python"), str(ROOT / "Tests" / "python")]

import cet  # noqa: E402
import hostile_models  # noqa: E402
from corpus import CASES  # noqa: E402
from onnx import defs  # noqa: E402

LARGEST_MODEL = 1 << 14
LINEAR = ROOT / "Tests" / "Fixtures" / "onnx" / "linear.onnx"  # the model of Fuzz/linear.h
# The map and the options of Fuzz/spectrum.c: a state of other ones would be refused at once.
SIZE = 40
SOLVE = dict(n=SIZE, k=2, krylov_dimension=6, max_applies=12, threads=1, max_memory=1 << 20, fingerprint="fuzz")


def apply(vector):
    return np.arange(1, SIZE + 1, dtype=np.float32) * vector


def models():
    """Every operator from the corpus, files that the library writes, models that no exporter makes."""
    for case in CASES:
        yield case.name, case.model
    for encoding, options in (("planes", {}), ("qdq", {"encoding": "qdq", "coding": "affine"}), ("float", {"encoding": "float"})):
        case = next(case for case in CASES if case.quantizable and case.stock and not case.refused)
        model, data = cet.Model(case.model), cet.Calibration(case.inputs)
        yield f"written-{encoding}", cet.quantize(model, data, cet.plan(model, data, target_bits=6, **options)).to_bytes()
    for number in range(0, 2400, 8):
        yield f"hostile-{number}", hostile_models.model(number)


def node_cases():
    for path in sorted((ROOT / "build" / "onnx-cases" / "node").glob("*/model.onnx"))[::4]:
        yield path.parent.name, path.read_bytes()


def arrays():
    types = ["<f4", ">f4", "<f2", "<f8", "<i8", ">i4", "<i2", "|i1", "|u1", "<u2", "<u4", "<u8", "|b1", "<c8", "<U3"]
    for dtype in types:
        yield dtype, np.zeros((2, 3), dtype)
    yield "scalar", np.float32(1.5)
    yield "empty", np.zeros((0, 4), np.float32)
    yield "fortran", np.asfortranarray(np.ones((2, 3), np.float32))
    yield "deep", np.zeros((1,) * 9, np.float32)


def npy():
    for name, array in arrays():
        for version in ((1, 0), (2, 0), (3, 0)):
            stream = io.BytesIO()
            np.lib.format.write_array(stream, np.asanyarray(array), version=version)
            yield f"{name.replace('|', '')}-{version[0]}", stream.getvalue()


def npz():
    for name in ("mixed", "types", "types_compressed"):
        yield name, (ROOT / "Tests" / "Fixtures" / "npz" / f"{name}.npz").read_bytes()
    for write in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        write(stream, x=np.ones((2, 3), np.float32), labels=np.array([0, 1]))
        yield write.__name__, stream.getvalue()
    # Sizes and places in 64 bits everywhere, comments, extra fields, no members.
    limits = zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT
    member = zipfile.ZipInfo("x.npy")
    member.comment, member.extra = b"first", b"\x77\x77\4\0more"
    for name, members, limit in (("zip64", 2, (10, 1)), ("comments", 1, limits), ("empty", 0, limits)):
        zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = limit
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = b"about"
            for target in [member, "labels.npy"][:members]:
                data = io.BytesIO()
                np.save(data, np.ones((2, 3), np.float32))
                archive.writestr(target, data.getvalue())
        yield name, stream.getvalue()
    zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = limits


def plans():
    data = cet.Calibration({"x": np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)})
    model = cet.Model(LINEAR)
    for method in ("cet", "hawq-v2", "mckp", "uniform"):
        for coding in ("auto", "affine"):
            plan = cet.plan(model, data, target_bits=4, method=method, coding=coding, bits=[2, 4, 8], effort="low")
            yield f"{method}-{coding}", json.dumps(json.loads(plan.to_json())).encode()


def sessions():
    path = pathlib.Path(sys.argv[1]) / "one.session"
    samples = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    for name, labels, options in (
            ("plain", None, {}), ("labels", np.arange(24) % 4, {"loss": "cross-entropy"}), ("few-methods", None, {"method": "hawq-v2", "bits": [2, 4, 8]})):
        cet.Session(cet.Model(LINEAR), cet.Calibration({"x": samples}, labels), target_bits=4, effort="low", **options).save(path)
        yield name, path.read_bytes()
        path.unlink()

    def judging(phase, *_):
        heard.append(phase)
        if "allocate" in heard and phase != "allocate":
            raise KeyboardInterrupt

    heard = []
    session = cet.Session(cet.Model(LINEAR), cet.Calibration({"x": samples}), target_bits=4, effort="low")
    session.keep(path)
    try:
        session.plan(target_bits=4, progress=judging)
    except KeyboardInterrupt:
        pass
    yield "not-judged", path.read_bytes()
    path.unlink()


def spectra():
    folder = pathlib.Path(sys.argv[1])
    for basis in ("float32", "bfloat16"):
        path = folder / "one.spectrum"
        cet.eigsh(apply, basis_type=basis, **SOLVE).save(path)
        yield f"spectrum-{basis}", path.read_bytes()
        path.unlink()

    def stop(_, done, total):
        if done >= 10:
            raise KeyboardInterrupt

    state = folder / "one.state"
    try:
        cet.eigsh(apply, state_path=state, progress=stop, **SOLVE)
    except KeyboardInterrupt:
        pass
    if state.exists():
        yield "state", state.read_bytes()
        state.unlink()


def dictionary(words):
    quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in sorted(set(words)))
    return "".join(f'"{word}"\n' for word in quoted if word)


def onnx_words():
    for schema in defs.get_all_schemas():
        yield schema.name
        yield from schema.attributes
    yield from ("com.microsoft", "ai.onnx", "SAME_UPPER", "VALID", "ij,jk->ik", "external", "location", "offset", "length")


def keys(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f'"{key}"'
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)
    elif isinstance(value, str) and len(value) < 30:
        yield f'"{value}"'


def write(target, cases, most=1 << 20):
    folder = pathlib.Path(sys.argv[1]) / target
    folder.mkdir(parents=True, exist_ok=True)
    kept = 0
    for name, data in cases:
        if len(data) <= most:
            (folder / "".join(c if c.isalnum() or c in "-_." else "_" for c in name)).write_bytes(data)
            kept += 1
    print(f"{target}: {kept} inputs")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    found = list(models()) + list(node_cases())
    write("model", found, LARGEST_MODEL)
    write("whole", found, LARGEST_MODEL)
    write("npy", npy())
    write("npz", npz(), 1 << 14)
    documents = list(plans())
    write("plan", documents)
    files = list(sessions())
    write("session", files)
    write("spectrum", spectra())
    words = dictionary(onnx_words())
    (folder / "model.dict").write_text(words)
    (folder / "whole.dict").write_text(words)
    (folder / "plan.dict").write_text(dictionary(key for _, text in documents for key in keys(json.loads(text))))
    headers = (data[16:16 + int.from_bytes(data[8:16], "little")] for _, data in files)
    (folder / "session.dict").write_text(dictionary(key for text in headers for key in keys(json.loads(text))))
    (folder / "npy.dict").write_text(dictionary(["'descr'", "'fortran_order'", "'shape'", "True", "False", "(2, 3)", "()", "<f4", ">i8"]))
    (folder / "spectrum.dict").write_text(dictionary([
        '"which"', '"dimension"', '"count"', '"vector_type"', '"float32"', '"bfloat16"', '"applies"', '"restarts"',
        '"krylov_dimension"', '"tolerance"', '"library_version"', '"fingerprint"', '"solve"']))


if __name__ == "__main__":
    main()
