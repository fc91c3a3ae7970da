"""The example server (examples/server): real requests over HTTP while it plans again, swaps, is killed and stopped.

`make test-server` makes its environment and runs this. CET_TEST_REQUESTS: requests under load, at least; else 3000.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict

import numpy as np
import pytest

from conftest import BUILD, DIGITS, ROOT

HERE = ROOT / "examples" / "server"
PYTHON = HERE / ".venv" / "bin" / "python"
sys.path.insert(0, str(HERE))

import load  # noqa: E402

pytestmark = pytest.mark.skipif(
    not (HERE / ".venv" / "installed").exists(), reason="the server's environment is not installed (make test-server)")
REQUESTS = int(os.environ.get("CET_TEST_REQUESTS", 3000))
MODELS = ["digits", "digits-small"]


class Server:
    """A running server with a folder of its own for whatever it might write."""

    def __init__(self, folder, port=None, **settings):
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "work").mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CET_")}
        environment.update(
            CET_LIBRARY=str(BUILD / "lib" / "libcet.so"), PYTHONPATH=f"{ROOT / 'bindings' / 'python'}:{HERE}",
            PYTHONDONTWRITEBYTECODE="1", TMPDIR=str(folder / "work"), HOME=str(folder / "work"), CET_SERVER_PORT=str(self.port),
            **{f"CET_SERVER_{name.upper()}": str(value) for name, value in settings.items()})
        self._log = open(folder / "log", "ab")
        self.process = subprocess.Popen(
            [PYTHON, "-m", "cet_server"], cwd=folder / "work", env=environment, stdout=self._log, stderr=self._log,
            start_new_session=True)
        self._wait_until_ready()

    def _wait_until_ready(self):
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if self.ask("GET", "/v2/health/ready")[0] == 200:
                    return
            time.sleep(0.1)
        self.kill()
        raise AssertionError(f"the server did not start:\n{self.log}")

    def ask(self, method, path, body=None):
        """Status and parsed body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        with contextlib.suppress(ValueError):
            return response.status, json.loads(text)
        return response.status, text

    def infer(self, model, sample):
        return self.ask("POST", f"/v2/models/{model}/infer", load.body(sample))

    def begin_swap(self):
        """Asks for a new plan and waits until it is being made."""
        def ask():
            with contextlib.suppress(OSError, RuntimeError, http.client.HTTPException):
                load.replan(self.url, MODELS[0])
        threading.Thread(target=ask, daemon=True).start()
        time.sleep(1)

    @property
    def log(self):
        return (self.folder / "log").read_text()

    @property
    def left(self):
        """Files in the folder that was the server's for working, for temporary files and its home."""
        return sorted(path.name for path in (self.folder / "work").rglob("*"))

    def stop(self):
        """The exit code after SIGTERM."""
        self.process.terminate()
        return self.process.wait(60)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._log.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("server"))
    yield started
    started.kill()


@pytest.fixture(scope="module")
def samples():
    return load.digits()


@pytest.fixture(scope="module")
def float32(samples):
    """Logits of the original model by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(DIGITS / "model.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {"input": samples})[0]


def kl(reference, logits):
    """Mean KL divergence from the reference, by rows."""
    def log_softmax(x):
        x = x.astype(np.float64) - x.max(1, keepdims=True)
        return x - np.log(np.exp(x).sum(1, keepdims=True))
    p, q = log_softmax(reference), log_softmax(logits)
    return float((np.exp(p) * (p - q)).sum(1).mean())


def check_close(float32, sample_numbers, values, model):
    """What 11 and 16 times fewer bits cost here is some 1e-4 and 5e-4; without a hold on it, 0.1 and more."""
    reference, logits = float32[sample_numbers], np.array(values)
    agreement = (reference.argmax(1) == logits.argmax(1)).mean()
    assert agreement > 0.98, (model, agreement)
    assert kl(reference, logits) < {"digits": 2e-3, "digits-small": 1e-2}[model]


def test_server_speaks_the_open_inference_protocol(server, samples, float32):
    assert server.ask("GET", "/v2")[1]["name"] == "kserve"
    assert server.ask("GET", "/v2/models")[1]["models"] == MODELS
    for model in MODELS:
        assert server.ask("GET", f"/v2/models/{model}/ready") == (200, {"name": model, "ready": True})
        metadata = server.ask("GET", f"/v2/models/{model}")[1]
        assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
        batch = {"id": "seven", "inputs": [{
            "name": "input", "datatype": "FP32", "shape": [7, 1, 8, 8], "data": samples[:7].ravel().tolist()}]}
        status, answer = server.ask("POST", f"/v2/models/{model}/infer", json.dumps(batch))
        assert (status, answer["id"], answer["outputs"][0]["shape"]) == (200, "seven", [7, 10])
        check_close(float32, range(7), np.reshape(answer["outputs"][0]["data"], (7, 10)), model)


def request(**changes):
    value = {"name": "input", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.0] * 64}
    return json.dumps({"inputs": [{**value, **changes}]})


@pytest.mark.parametrize("body, words", [
    (request(shape=[1, 1, 8, 7]), "reshape"), (request(shape=[1, 8, 8]), "has shape [1, 8, 8]"),
    (request(shape=[0, 1, 8, 8], data=[]), "axis 0"), (request(datatype="FP64"), "is FP64, expected FP32"),
    (request(name="image"), "expected ['input']"), (request(data=["a"] * 64), "could not convert"), ('{"inputs": []}', "expected ['input']")])
def test_server_answers_what_does_not_fit_with_400_and_the_reason(server, body, words):
    status, answer = server.ask("POST", "/v2/models/digits/infer", body)
    assert status == 400 and words in answer["error"]


def test_server_drops_no_request_in_swaps_and_stays_close_to_float32(server, samples, float32):
    """Before, during and after two swaps or more, from four connections at once."""
    running = load.Load(server.url, MODELS, samples, rate=150, connections=4).start()
    swaps = []
    while len(swaps) < 2 or len(running.answers) < REQUESTS:
        time.sleep(2)
        swaps.append(load.replan(server.url, MODELS[0]))
    time.sleep(2)
    answers = running.stop()
    assert [answer.error for answer in answers if answer.error] == []
    assert len(answers) >= REQUESTS
    outside, inside = load.split(answers, swaps)
    assert len(outside) > 200 and len(inside) > 200

    by_model, by_version = defaultdict(list), defaultdict(set)
    for answer in answers:
        by_model[answer.model].append(answer)
        by_version[answer.model, answer.version, answer.sample].add(answer.values)
    # An answer is one version's, whatever happens meanwhile.
    assert {len(values) for values in by_version.values()} == {1}
    for model, its in by_model.items():
        check_close(float32, [answer.sample for answer in its], [answer.values for answer in its], model)
        for swap, (_, end) in enumerate(swaps):
            later = {int(answer.version) for answer in its if answer.due > end}
            assert not later or min(later) >= swap + 2, "an old version answered after the swap"
        assert len({answer.version for answer in its}) >= 3
    gathered = [line for line in server.log.splitlines() if "planned from" in line][-1]
    assert "planned from 256 samples, 256 of them from requests" in gathered
    assert server.left == []


def test_failed_load_leaves_the_models_serving(server, samples):
    status, answer = server.ask("POST", "/v2/repository/models/nobody/load")
    assert status == 503 and "no model 'nobody'" in answer["error"]
    assert server.infer("digits", samples[0])[0] == 200


def test_unloaded_model_comes_back_with_load(server, samples):
    assert server.ask("POST", "/v2/repository/models/digits-small/unload")[0] == 200
    assert server.infer("digits-small", samples[0])[0] == 404
    assert server.infer("digits", samples[0])[0] == 200
    assert server.ask("POST", "/v2/repository/models/digits-small/load")[0] == 200
    assert server.infer("digits-small", samples[0])[0] == 200


def test_killed_in_mid_swap_leaves_nothing_and_starts_again(tmp_path, samples, float32):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in DIGITS.iterdir())
    first = Server(tmp_path)
    first.infer("digits", samples[0])
    first.begin_swap()
    assert first.process.poll() is None
    os.killpg(first.process.pid, signal.SIGKILL)
    assert first.process.wait(10) == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.killpg(first.process.pid, 0)
    assert first.log.count("planned from") == 1, "killed too late"
    assert first.left == [] and sorted((path.name, path.stat().st_mtime_ns) for path in DIGITS.iterdir()) == before

    # On the same port; stopped in mid-swap it ends by itself.
    again = Server(tmp_path, first.port)
    try:
        status, answer = again.infer("digits", samples[0])
        assert status == 200 and answer["model_version"] == "1"
        check_close(float32, [0], [answer["outputs"][0]["data"]], "digits")
        again.begin_swap()
        assert again.stop() == 0
        assert again.left == []
    finally:
        again.kill()


def test_terminated_under_load_answers_what_it_accepted(tmp_path, samples):
    """And plans by itself where the settings say so."""
    server = Server(tmp_path, replan_after=64, gather=32)
    try:
        running = load.Load(server.url, MODELS, samples, rate=50).start()
        end = time.monotonic() + 60
        while time.monotonic() < end and "version 2" not in server.log:
            time.sleep(0.2)
        assert "planned from 32 samples, 32 of them from requests" in server.log
        assert server.stop() == 0
        answers = running.stop()
        # Whoever comes after the end is refused the connection; of the four that were open each is found closed once at most.
        kinds = Counter(answer.error.split(":")[0] for answer in answers)
        del kinds[""], kinds["ConnectionRefusedError"]
        assert set(kinds) <= {"RemoteDisconnected", "BrokenPipeError", "ConnectionResetError"} and kinds.total() <= 4, kinds
        assert server.left == []
    finally:
        server.kill()


def test_wrong_settings_end_the_start_in_one_line(tmp_path):
    def run(**settings):
        return subprocess.run(
            [PYTHON, "-m", "cet_server"], capture_output=True, text=True, timeout=120, cwd=tmp_path, env=dict(
                os.environ, CET_LIBRARY=str(BUILD / "lib" / "libcet.so"), PYTHONPATH=f"{ROOT / 'bindings' / 'python'}:{HERE}",
                **settings))
    wrong = run(CET_SERVER_RATIO="many")
    assert (wrong.returncode, wrong.stderr) == (2, "cet_server: CET_SERVER_RATIO is 'many', expected float\n")
    missing = run(CET_SERVER_MODEL="nowhere.onnx")
    assert missing.returncode == 1 and "nowhere.onnx" in missing.stderr and len(missing.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def c_program(tmp_path_factory):
    program = tmp_path_factory.mktemp("serve") / "serve"
    built = subprocess.run([HERE / "build.sh", BUILD, program], capture_output=True, text=True)
    if built.returncode and "headers:" in built.stderr:
        pytest.skip(f"onnxruntime_c_api.h is not to be had: {built.stderr.splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    return program


def test_c_program_swaps_between_requests_and_stays_close_to_float32(c_program, tmp_path, samples, float32):
    serve = subprocess.Popen(
        [c_program, DIGITS / "model.onnx", DIGITS / "calibration.npz", "11", "16"], cwd=tmp_path, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"HOME": str(tmp_path), "TMPDIR": str(tmp_path)})

    def ask(line):
        serve.stdin.write(line + "\n")
        serve.stdin.flush()
        return serve.stdout.readline()

    def send(budget, number):
        words = ask(f"{budget} " + " ".join(f"{value:.9g}" for value in samples[number].ravel())).split()
        return int(words[0]), [float(word) for word in words[1:]]

    for version in (1, 2):
        for budget, model in enumerate(MODELS):
            answers = [send(budget, number) for number in range(300)]
            assert {number for number, _ in answers} == {version}
            check_close(float32, range(300), [values for _, values in answers], model)
        assert ask("replan") == "planning\n"
        end = time.monotonic() + 120
        while version == 1 and send(0, 0)[0] == 1 and time.monotonic() < end:
            time.sleep(0.01)
    for wrong in ("", "0", "2 " + "0 " * 64, "0 " + "nan " * 64, "0 " + "0 " * 63, "0 " + "0 " * 65, "again"):
        assert ask(wrong) == "error: expected 0 or 1 and 64 finite numbers\n"
    # The end of the input ends the plan that is under way, too.
    assert serve.communicate(timeout=30)[1].splitlines() in ([], ["libcet: cancelled by the progress callback"])
    assert serve.returncode == 0 and list(tmp_path.iterdir()) == []
