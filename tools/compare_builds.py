"""Whether two builds write the same bytes: plans, files and spectra of real and of small models.

usage: compare_builds.py OLD NEW [--packs FOLDER] [--every N] [--only TEXT]

OLD and NEW are prefixes with bin/cet-onnx, as `make lib` lays one out in build/. What OLD gives is kept beside it, in
OLD/compared, and is not made again. --packs: a folder of folders with model.onnx and calibration.npz; the bundled
digits_cnn is always there. --every: each N-th of the small models in Tests/python/corpus. Exits with 1 when something
differs.
"""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

import arguments as a

ROOT = pathlib.Path(__file__).resolve().parent.parent


def variants(name):
    """Command lines by what they show, for a model of a pack."""
    compress = "compress {model} {out}.onnx --data {data} --json"
    every = {
        "default 11x": f"{compress} --target-ratio 11 --samples 48",
        "spectrum": "spectrum {model} --data {data} -k 2 --samples 8 --max-applies 30 --save {out}.spectrum --json",
    }
    if name != "digits_cnn":
        qdq = "--target-ratio 8 --granularity block:16 --encoding qdq --rounding gptq --samples 32"
        return every | {"blocks qdq": f"{compress} {qdq}"}
    every |= {
        "labels": "spectrum {model} --data {data} -k 3 --samples 48 --loss cross-entropy --trace --density --json",
        "gauss-newton": "spectrum {model} --data {data} -k 2 --samples 32 --loss kl --curvature gauss-newton --json",
        "blocks qdq": f"{compress} --target-ratio 8 --granularity block:16 --encoding qdq --samples 96",
        "one scale": f"{compress} --target-bits 4 --granularity per-tensor --samples 16",
        "size": f"{compress} --target-size {{third}} --bits 2,3,4,5,6,7,8 --rounding gptq --samples 64",
        "nearest float": f"{compress} --target-ratio 6 --rounding nearest --encoding float --samples 40",
        "max loss": f"{compress} --max-loss 0.01 --samples 128",
    }
    for method in ("paper", "mckp", "uniform", "clado", "hawq-v2"):
        every[method] = f"plan {{model}} --data {{data}} -o {{out}}.json --target-ratio 10.67 --method {method} --rounding gptq --samples 32 --json"
    return every


def prefix(text):
    """A folder with a built tool, as a path."""
    a.existing(os.path.join(text, "bin", "cet-onnx"))
    return pathlib.Path(text).resolve()


def digest(text):
    return hashlib.sha256(text).hexdigest()[:16]


def without_times(text):
    """Messages and documents without the times in them."""
    return re.sub(rb'"[a-z_]*seconds": *[0-9.e+-]+', b'""', text)


def found(build, command, model, data, folder):
    """Status, text and files of one run."""
    out = pathlib.Path(folder) / "out"
    line = command.format(model=model, data=data, out=out, third=os.path.getsize(model) // 3)
    done = subprocess.run([build / "bin" / "cet-onnx", *line.split()], capture_output=True)
    text = without_times(done.stdout + done.stderr)
    for path in (folder, model, data):
        text = text.replace(str(path).encode(), b"")
    parts = {"status": done.returncode, "text": digest(text)}
    for path in sorted(pathlib.Path(folder).glob("out*")):
        parts[path.name] = digest(path.read_bytes())
        path.unlink()
    return parts


def pack_cases(folders):
    for folder in folders:
        for what, command in variants(folder.name).items():
            yield f"{folder.name}: {what}", command, folder / "model.onnx", folder / "calibration.npz"


def small_cases(every, folder):
    sys.path[:0] = [str(ROOT / "Tests" / "python"), str(ROOT / "bindings" / "python")]
    import corpus

    options = ("--target-ratio 8", "--target-bits 3 --encoding qdq", "--target-ratio 10 --rounding gptq --granularity block:4")
    for number, case in enumerate(corpus.CASES[::every]):
        model, data = folder / "model.onnx", folder / "data.npz"
        model.write_bytes(case.model)
        np.savez(data, **case.inputs)
        yield str(case), f"compress {{model}} {{out}}.onnx --data {{data}} --json {options[number % 3]}", model, data
        yield f"{case} spectrum", "spectrum {model} --data {data} -k 2 --max-applies 20 --json", model, data


def main():
    parser = a.Parser(__doc__)
    parser.add_argument("old", type=prefix)
    parser.add_argument("new", type=prefix)
    parser.add_argument("--packs", type=a.folder)
    parser.add_argument("--every", type=a.count, default=5)
    parser.add_argument("--only", default="", help="cases whose name has this text")
    arguments = parser.parse_args()
    folders = [ROOT / "Tests" / "Fixtures" / "digits_cnn"]
    if arguments.packs:
        folders += [f for f in sorted(pathlib.Path(arguments.packs).iterdir()) if f.name != "digits_cnn" and (f / "model.onnx").exists()]
    kept = arguments.old / "compared"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    compared = differing = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for cases in (pack_cases(folders), small_cases(arguments.every, folder)):
            for name, command, model, data in cases:
                if arguments.only not in name:
                    continue
                if known.get(name, {}).get("command") != command:
                    known[name] = {"command": command, "found": found(arguments.old, command, model, data, folder)}
                    kept.write_text(json.dumps(known, indent=1))
                old, new = known[name]["found"], found(arguments.new, command, model, data, folder)
                compared += 1
                if old != new:
                    differing += 1
                    parts = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
                    print(f"{name}: {', '.join(parts)} differ", flush=True)
    print(f"{compared} compared, {differing} differ")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
