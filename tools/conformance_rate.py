#!/usr/bin/env python3
"""Says how many of the official cases pass whose operators docs/operators.md lists.

usage: tools/conformance_rate.py FOLDER [OPERATOR...]
FOLDER: as tools/make_node_cases.py filled it. OPERATOR: count these instead of all that are listed.
"""

import collections
import pathlib
import re
import arguments

ROOT = pathlib.Path(__file__).resolve().parent.parent


def operators(graph):
    for node in graph.node:
        yield (node.domain + "." if node.domain not in ("", "ai.onnx") else "") + node.op_type
        for attribute in node.attribute:
            for inner in [attribute.g] + list(attribute.graphs):
                yield from operators(inner)


def main():
    parser = arguments.Parser(__doc__)
    parser.add_argument("folder", type=arguments.folder)
    parser.add_argument("operators", nargs="*")
    options = parser.parse_args()
    import onnx

    wanted = set(options.operators) or set(re.findall(r"^\| `?([\w.]+)`? \|", (ROOT / "docs/operators.md").read_text(), re.M))
    reasons = collections.Counter()
    total = passed = 0
    for line in (ROOT / "Tests/Fixtures/conformance/onnx-node.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, outcome = line.split(" ", 1)
        model = onnx.load(f"{options.folder}/node/{name}/model.onnx")
        local = {function.name for function in model.functions}
        if not set(operators(model.graph)) - local <= wanted:
            continue
        total += 1
        if outcome.startswith("unsupported"):
            reasons[outcome] += 1
        else:
            passed += 1
    print(f"{passed} of {total} node cases of onnx {onnx.__version__} pass ({100 * passed / total:.1f} %)")
    for reason, count in reasons.most_common():
        print(f"{count:5} {reason}")


if __name__ == "__main__":
    main()
