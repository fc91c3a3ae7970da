"""A headless Chromium for tests that look at pages, spoken to through its debugging pipe: nothing beside the browser is needed.

Run as a script it takes pictures: browser.py page.html picture.png [--width 390] [--dark] [--height 2000] [--top 0].
"""

import argparse
import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile


def find_browser():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)


class Browser:
    """One page in a browser of its own."""

    def __init__(self):
        self._folder = tempfile.mkdtemp(prefix="cet-browser-")
        self._ids = 0
        ours, theirs = [], []
        for mine in (1, 0):
            ends = os.pipe()
            ours.append(ends[mine])
            theirs.append(ends[1 - mine])

        def arrange():
            high = [os.dup(end) for end in theirs]
            # The browser reads from 3 and writes to 4.
            for place, end in zip((3, 4), [os.dup2(end, 60 + index) for index, end in enumerate(high)]):
                os.dup2(end, place)

        self._process = subprocess.Popen(
            [find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
             "--disable-background-networking", f"--user-data-dir={self._folder}", "--remote-debugging-pipe", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=arrange)
        for end in theirs:
            os.close(end)
        self._write = os.fdopen(ours[0], "wb", buffering=0)
        self._read = os.fdopen(ours[1], "rb")
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._write.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._read.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _message(self):
        data = bytearray()
        while (byte := self._read.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser went away")
            data += byte
        return json.loads(data)

    def call(self, method, **parameters):
        self._ids += 1
        message = {"id": self._ids, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._ids:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, path, width=1280, height=900, dark=False):
        """Loads a file as a screen of this width in CSS pixels shows it."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=pathlib.Path(path).resolve().as_uri())
        while self._message().get("method") != "Page.loadEventFired":
            pass

    def run(self, expression):
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"].get("exception", {}).get("description", result["exceptionDetails"]["text"]))
        return result["result"].get("value")

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def picture(self, path, top=0, height=None):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": size["width"], "height": min(height or size["height"], size["height"] - top), "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("page")
    parser.add_argument("picture")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--top", type=int, default=0)
    parser.add_argument("--height", type=int)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--run")
    options = parser.parse_args()
    with Browser() as browser:
        browser.open(options.page, options.width, dark=options.dark)
        if options.run:
            print(browser.run(options.run))
        browser.picture(options.picture, options.top, options.height)
