"""libcet and its peers on the same models with the same calibration samples.

    python3 Benchmarks/peers/run.py --cet build/bin/cet-onnx                    # the bundled digits model, all peers
    python3 Benchmarks/peers/run.py --packs FOLDER --models cifar_resnet20 --peers cet,ort

Every peer is a script here (peer_NAME.py) with settings, and runs in a private environment with what requirements-NAME.txt
pins, which is made below .build-peers the first time. Each peer, model and setting is a process of its own. Its wall and processor
time and its peak memory are those that the kernel counted, a file's bytes are those of all files written, and another environment,
with onnxruntime alone, opens and evaluates it. What cannot be installed, fails, or takes longer than --limit is a row that says so.

A model is a pack: a folder with model.onnx, calibration.npz and eval.py (stock.py says more) in Tests/Fixtures, in --packs or, once
make_efficientnet.py made it, in .build-peers/packs. Results are kept in results.json below --output, a row each: a run that is made
again replaces its row, others stay. The table is table.md beside it.
"""

# The standard library alone: the peak memory of a child counts from what its parent held when it started.
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import arguments  # noqa: E402
import table  # noqa: E402

# Two threads everywhere, whatever the machine has, and no peer asks a hub for anything.
FIXED = {"OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class Failed(Exception):
    """What a row says in place of figures."""


class Run:
    """A process that has ended: its status and output, and what the kernel counted for it and its children (wait4)."""

    def __init__(self, limit):
        self.limit, self.late = limit, False

    def failure(self):
        """Why it failed, in a line: the last one of its error output that names an error, or else the last."""
        if self.late:
            return f"stopped after {self.limit:g} s ({self.processor_seconds:.0f} s of processor time)"
        if self.status < 0:
            return f"killed by signal {-self.status}"
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        named = [line for line in lines if re.match(r"(?:[\w.]+(?:Error|Exception|Failure|Fail)\b|ERROR:|error:|Error:|cet-onnx:)", line)]
        return (named or lines or [f"exit code {self.status}"])[-1][:300].replace(str(ROOT), ".")


def measured(command, folder, limit, variables=None):
    run = Run(limit)
    with tempfile.TemporaryFile("w+", errors="replace") as out, tempfile.TemporaryFile("w+", errors="replace") as err:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=folder,
            env={**os.environ, **FIXED, **(variables or {})}, start_new_session=True)

        def stop():
            run.late = True
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit, stop)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            timer.cancel()
        run.seconds = time.perf_counter() - start
        process.returncode = run.status = os.waitstatus_to_exitcode(status)
        run.processor_seconds, run.peak_bytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
        out.seek(0), err.seek(0)
        run.out, run.err = out.read(), err.read()
    return run


def environment(name, requirements, folder):
    """The interpreter of a private environment with these packages; without requirements the one that runs this."""
    if not requirements.exists():
        return pathlib.Path(sys.executable)
    folder = folder / name
    python, stamp = folder / "bin/python", folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == requirements.read_text():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"peers: installs {name}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, stdout=subprocess.DEVNULL)
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements]
    run = measured(command, folder, 3600)
    if run.late or run.status:
        raise Failed(f"not installed: {run.failure()}")
    stamp.write_text(requirements.read_text())
    return python


def settings(script):
    done = subprocess.run([sys.executable, script, "list"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def written_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def judge(a, pack, path):
    """What the stock runtime makes of a file, as far as it got."""
    run = measured([a.stock, HERE / "stock.py", "judge", pack, path], path.parent, a.limit)
    result = {"opens": False}
    for line in run.out.splitlines():
        result.update(json.loads(line))
    if run.late or run.status:
        result["error"] = run.failure()
    return result


def row(a, python, script, name, pack, samples):
    """One peer, model and setting."""
    kept = a.output / "files" / f"{pack.name}.{script.stem[5:]}.{name}"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        # A copy: some peers write into the file that they are given.
        model = pathlib.Path(shutil.copyfile(pack / "model.onnx", pathlib.Path(scratch) / "original.onnx"))
        command = [python, script, "run", name, model, samples, kept / "model.onnx"]
        run = measured(command, scratch, a.limit, {"CET_ONNX": a.cet or ""})
    (a.output / "logs").mkdir(exist_ok=True)
    (a.output / "logs" / f"{kept.name}.txt").write_text(run.out + run.err)
    if run.late or run.status:
        raise Failed(run.failure())
    if not (kept / "model.onnx").exists():
        raise Failed("no file was written")
    result = {"seconds": run.seconds, "processor_seconds": run.processor_seconds, "peak_bytes": run.peak_bytes}
    return {**result, "bytes": written_bytes(kept), **judge(a, pack, kept / "model.onnx")}


def find_pack(a, name):
    for folder in [*a.packs, a.environments / "packs", ROOT / "Tests/Fixtures"]:
        if (folder / name / "model.onnx").exists():
            return (folder / name).resolve()
    sys.exit(f"peers: no model '{name}' in {', '.join(str(f) for f in a.packs) or 'the repository'} (--packs FOLDER)")


def parse():
    parser = arguments.Parser(__doc__)
    listed = lambda text: [part for part in re.split("[, ]+", text) if part]  # noqa: E731
    parser.add_argument("--models", type=listed, default=["digits_cnn"], help="names of packs, with commas between them")
    parser.add_argument("--peers", type=listed, help="names of peers (default: all)")
    parser.add_argument("--settings", help="only settings that this regular expression finds")
    parser.add_argument("--packs", type=lambda t: pathlib.Path(arguments.folder(t)), action="append", default=[], help="a folder of packs")
    parser.add_argument("--samples", type=arguments.count, default=512, help="calibration samples at most (default: 512)")
    parser.add_argument("--limit", type=arguments.positive, default=900, help="seconds that one run may take (default: 900)")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / ".build-peers/results", help="a folder")
    parser.add_argument("--environments", type=pathlib.Path, default=ROOT / ".build-peers", help="a folder")
    parser.add_argument("--scripts", type=pathlib.Path, default=HERE, help="where the peers' scripts are")
    parser.add_argument("--stock", type=pathlib.Path, help="an interpreter with a stock onnxruntime (default: an environment of its own)")
    parser.add_argument("--cet", default=shutil.which("cet-onnx"), help="the tool (default: build/bin/cet-onnx, or the one on the path)")
    a = parser.parse_args()
    built = ROOT / "build/bin/cet-onnx"
    a.cet = str(built) if a.cet is None and built.exists() else a.cet and str(pathlib.Path(a.cet).resolve())
    a.environments, a.output = a.environments.resolve(), a.output.resolve()
    available = sorted(path.stem[5:] for path in a.scripts.glob("peer_*.py"))
    for name in a.peers or []:
        if name not in available:
            parser.error(f"'{name}' is none of {', '.join(available)}")
    a.peers = a.peers or available
    return a


def main():
    a = parse()
    packs = [find_pack(a, name) for name in a.models]
    a.output.mkdir(parents=True, exist_ok=True)
    a.environments.mkdir(parents=True, exist_ok=True)
    try:
        a.stock = a.stock or environment("stock", HERE / "requirements-stock.txt", a.environments)
    except Failed as failure:
        sys.exit(f"peers: the stock runtime is {failure}")
    results = table.Results(a.output / "results.json")
    for pack in packs:
        samples = a.output / f"{pack.name}.npz"
        command = [a.stock, HERE / "stock.py", "samples", pack, str(a.samples), samples]
        count = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        if not results.has(pack.name, "float32", "original"):
            original = {"bytes": (pack / "model.onnx").stat().st_size, **judge(a, pack, pack / "model.onnx")}
            results.put(pack.name, "float32", "original", "as it is", original)
        for peer in a.peers:
            script = a.scripts.resolve() / f"peer_{peer}.py"
            description = settings(script)
            python, refused = None, None
            try:
                python = environment(peer, a.scripts / f"requirements-{peer}.txt", a.environments)
            except Failed as failure:
                refused = str(failure)
            for name, text in description["settings"].items():
                if a.settings and not re.search(a.settings, name):
                    continue
                try:
                    if refused:
                        raise Failed(refused)
                    result = row(a, python, script, name, pack, samples)
                except Failed as failure:
                    result = {"error": str(failure)}
                results.put(pack.name, description["title"], name, text, {"samples": count, **result})
                print(f"peers: {pack.name}: {description['title']}, {name}: {table.summary(result)}", file=sys.stderr)
    text = table.markdown(results)
    (a.output / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
