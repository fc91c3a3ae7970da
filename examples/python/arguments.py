"""Arguments of an example by its own text: "usage: python NAME.py MODEL.onnx RATIO OUT.onnx". FILE.end must be there unless
it starts with OUT; RATIO, COUNT and BATCH are numbers. A mistake is one line and exit code 2."""

import os
import sys


def arguments(text):
    usage = next(line for line in text.splitlines() if line.startswith("usage:"))
    names, values = usage.split(".py ", 1)[1].split(), sys.argv[1:]

    def fail(what):
        print(f"{os.path.basename(sys.argv[0])}: {what} ({usage})", file=sys.stderr)
        sys.exit(2)

    if names[-1] == "...":
        names[-1:] = [names[-2].strip("[]")] * (len(values) - len(names) + 1)
    if len(values) != len(names):
        fail(f"expected {len(names)} arguments, got {len(values)}")
    for name, value in zip(names, values):
        if "." in name and not name.startswith("OUT") and not os.path.isfile(value):
            fail(f"{name}: no such file '{value}'")
        if name in ("RATIO", "COUNT", "BATCH"):
            try:
                good = 0 < (float if name == "RATIO" else int)(value) < float("inf")
            except ValueError:
                good = False
            if not good:
                fail(f"{name}: expected a positive number, got '{value}'")

    def one_line(kind, error, trace):
        if kind.__module__.startswith("cet"):
            print(f"{os.path.basename(sys.argv[0])}: {error}", file=sys.stderr)
        else:
            sys.__excepthook__(kind, error, trace)

    # A file that is no model, a ratio out of reach: the library's line is enough.
    sys.excepthook = one_line
    return values
