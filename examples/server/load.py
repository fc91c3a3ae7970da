"""Sends requests to the server at a steady rate while it swaps versions, and tells latencies with and without a swap.

    python examples/server/load.py http://127.0.0.1:8080 --requests 10000 --rate 200

Half of the time a swap is under way, half of the time none, in turns. Latency counts from the moment at which a request was due, so
that a server that stands still is not spared the requests that were meant to come meanwhile. Needs NumPy.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import pathlib
import sys
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "digits_cnn"


@dataclass(frozen=True)
class Answer:
    """One request and what came of it. Times are seconds of time.monotonic."""

    model: str
    sample: int
    due: float
    end: float
    error: str
    """"" when the status was 200 and the body an answer."""
    version: str = ""
    values: tuple[float, ...] = ()


def digits() -> np.ndarray:
    """The bundled test images as the model takes them."""
    with np.load(DIGITS / "test.npz") as arrays:
        return arrays["x"][:, None].astype(np.float32) / 16 - np.float32(0.3)


def body(sample: np.ndarray, name: str = "input") -> bytes:
    """A request of the Open Inference Protocol v2 with one sample."""
    return json.dumps({"inputs": [{
        "name": name, "shape": [1, *sample.shape], "datatype": "FP32", "data": sample.ravel().tolist()}]}).encode()


class Load:
    """Requests from several connections, each kept open; request i is due at i / rate seconds after `start`."""

    def __init__(self, url: str, models: list[str], samples: np.ndarray, rate: float, connections: int = 4):
        self._address = urlsplit(url)
        self._models, self._rate = models, rate
        self._bodies = [body(sample) for sample in samples]
        self._numbers = itertools.count()
        self._end = threading.Event()
        self._limit: float = float("inf")
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(connections)]
        self.answers: list[Answer] = []

    def start(self, count: float = float("inf")) -> "Load":
        """Begins; ends by itself after `count` requests."""
        self._limit, self._started = count, time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def wait(self) -> list[Answer]:
        """Until all requests are answered."""
        for thread in self._threads:
            thread.join()
        return self.answers

    def stop(self) -> list[Answer]:
        """Sends no more requests and waits for the answers that are due."""
        self._end.set()
        return self.wait()

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _send(self) -> None:
        connection = http.client.HTTPConnection(self._address.hostname, self._address.port, timeout=30)
        for number in iter(lambda: next(self._numbers), None):
            due = self._started + number / self._rate
            if number >= self._limit or self._end.wait(max(due - time.monotonic(), 0)):
                break
            model, sample = self._models[number % len(self._models)], number // len(self._models) % len(self._bodies)
            try:
                connection.request(
                    "POST", f"/v2/models/{model}/infer", self._bodies[sample], {"Content-Type": "application/json"})
                response = connection.getresponse()
                text = response.read()
                if response.status != 200:
                    raise ValueError(f"status {response.status}: {text[:200]!r}")
                answer = json.loads(text)
                result = {"version": answer["model_version"], "values": tuple(answer["outputs"][0]["data"]), "error": ""}
            except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
                connection.close()
                result = {"error": f"{type(error).__name__}: {error}"}
            self.answers.append(Answer(model, sample, due, time.monotonic(), **result))
        connection.close()


def replan(url: str, model: str, timeout: float = 300) -> tuple[float, float]:
    """Has the server plan again and swap; gives when that began and ended."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout)
    began = time.monotonic()
    connection.request("POST", f"/v2/repository/models/{model}/load")
    response = connection.getresponse()
    text = response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"load: status {response.status}: {text[:200]!r}")
    return began, time.monotonic()


def split(answers: list[Answer], swaps: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Latencies in ms of the requests outside of all swaps, and of those that overlap one."""
    outside, inside = [], []
    for answer in answers:
        within = any(answer.due < end and answer.end > began for began, end in swaps)
        (inside if within else outside).append(1000 * (answer.end - answer.due))
    return outside, inside


def _table(outside: list[float], inside: list[float]) -> str:
    rows = [f"{'':14}{'requests':>9}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'max ms':>9}"]
    for name, latencies in (("no swap", outside), ("during a swap", inside)):
        figures = [f"{np.percentile(latencies, q):9.2f}" for q in (50, 90, 99, 100)] if latencies else ["        -"] * 4
        rows.append(f"{name:14}{len(latencies):9}{''.join(figures)}")
    if outside and inside:
        rows.append(f"p99 during a swap / without: {np.percentile(inside, 99) / np.percentile(outside, 99):.2f}")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description="Latencies of the server with and without a swap under way.")
    parser.add_argument("url")
    parser.add_argument("--models", default="digits,digits-small", help="names, separated by commas")
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    parser.add_argument("--connections", type=int, default=4)
    arguments = parser.parse_args()
    models = arguments.models.split(",")
    load = Load(arguments.url, models, digits(), arguments.rate, arguments.connections).start(arguments.requests)
    swaps: list[tuple[float, float]] = []
    while load.running:
        swaps.append(replan(arguments.url, models[0]))
        rest = swaps[-1][1] + (swaps[-1][1] - swaps[-1][0])
        while load.running and time.monotonic() < rest:
            time.sleep(0.05)
    answers = load.wait()
    failed = [answer.error for answer in answers if answer.error]
    versions = {answer.version for answer in answers if answer.version}
    lines = [f"{len(answers)} requests at {arguments.rate:g}/s, {len(failed)} failed, {len(swaps)} swaps, {len(versions)} versions seen"]
    lines += failed[:3] + [_table(*split(answers, swaps))]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
