"""Small files that ask for minutes of work; run in a process of its own.

Loading and inspecting have to end by themselves, running and planning when they are told to. Prints a line of JSON for each
call: what it said, its seconds of processor time, the longest silence of its progress callback, and the seconds from the wish to stop to its end.
"""

import json
import pathlib
import sys
import time

import numpy as np
from onnx import TensorProto, helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bindings" / "python"))

from size_bombs import constant, info, loop, node

LIMIT = 1 << 30
STOP = 0.5  # seconds, after which calls that can be stopped are


def model(nodes, constants, functions=(), width=4):
    graph = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, ["n", width])], [info("y", TensorProto.FLOAT, ["n", "k"])], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions)).SerializeToString()


def scaled(nodes, constants, number, **more):
    """A layer in order whose result is multiplied by the largest number of a value."""
    return model(
        [*nodes, node("Cast", [number], ["as_float"], to=TensorProto.FLOAT), node("ReduceMax", ["as_float"], ["factor"], keepdims=0),
         node("MatMul", ["x", "weight"], ["product"]), node("Mul", ["product", "factor"], ["y"])],
        [constant("weight", np.random.default_rng(0).normal(size=(4, 3)), np.float32), *constants], **more)


def expanded(name, shape, value=1e-3, dtype=np.float32):
    return node("Expand", [f"{name}.one", f"{name}.shape"], [name]), [constant(f"{name}.one", value, dtype), constant(f"{name}.shape", shape)]


def of_expanded(shape, nodes, dtype=np.float32, more=()):
    first, constants = expanded("c", shape, dtype=dtype, value=1)
    return scaled([first, *nodes], [*constants, *more], "r")


def function(name, nodes, inputs=("a",), output="b"):
    return helper.make_function("own", name, inputs, [output], nodes, [helper.make_opsetid("", 17)])


def calls(count, name=lambda k: "same", kind=lambda k: "F"):
    return [node(kind(k), ["x" if k == 0 else f"v{k - 1}"], [f"v{k}"], domain="own", name=name(k)) for k in range(count)]


def bombs():
    """Name, bytes of the model."""
    first, constants = expanded("a", [12_000, 12_000])
    yield "weight that is a product", model(
        [first, node("MatMul", ["a", "a"], ["b"]), node("MatMul", ["b", "a"], ["w"]), node("MatMul", ["x", "w"], ["y"])], constants, width=12_000)
    yield "product of integers", of_expanded([3000, 3000], [node("MatMul", ["c", "c"], ["r"])], np.int64)
    yield "sines", of_expanded([7000, 7000], [node("Sin", ["c"], ["s"]), node("Sin", ["s"], ["r"])])
    yield "running sum", of_expanded([8000, 8000], [node("CumSum", ["c", "axis"], ["r"])], more=[constant("axis", 0)])
    yield "large windows", of_expanded([1, 4, 1000, 1000], [node("MaxPool", ["c"], ["r"], kernel_shape=[200, 200])])
    yield "convolution", of_expanded(
        [1, 16, 1500, 1500], [node("Expand", ["c.one", "k"], ["kernel"]), node("Conv", ["c", "kernel"], ["r"])], more=[constant("k", [64, 16, 15, 15])])
    yield "sort", scaled(
        [node("Range", ["zero", "end", "one"], ["c"]), node("TopK", ["c", "end_list"], ["values", "r"])],
        [constant("zero", 0), constant("end", 20_000_000), constant("one", 1), constant("end_list", [20_000_000])], "r")
    yield "places that are not zero", of_expanded([2**14, 2**13], [node("NonZero", ["c"], ["r"])], np.uint8)
    yield "sum of many", model([node("Sum", ["x"] * 200_000, ["v"]), node("MatMul", ["v", "w"], ["y"])], [constant("w", np.ones((4, 3)), np.float32)])
    boxes, more = expanded("boxes", [1, 20_000, 4])
    scores, most = expanded("scores", [1, 1, 20_000])
    yield "suppression of boxes", scaled(
        [boxes, scores, node("NonMaxSuppression", ["boxes", "scores", "most", "overlap"], ["r"])],
        [*more, *most, constant("most", 20_000), constant("overlap", 2, np.float32)], "r")
    yield "distinct operators", model(
        [*[node(f"Op{k}", ["x"], [f"v{k}"]) for k in range(50_000)], node("MatMul", ["x", "w"], ["y"])], [constant("w", np.ones((4, 3)), np.float32)])
    yield "weights of one chain", model(
        [*[node("Neg", [f"c{k}"], [f"c{k + 1}"]) for k in range(3000)], *[node("MatMul", ["x", f"c{k + 1}"], [f"m{k}"]) for k in range(3000)],
         node("Sum", [f"m{k}" for k in range(3000)], ["y"])], [constant("c0", np.ones((4, 3)), np.float32)])
    weight = constant("w", np.ones((4, 3)), np.float32)
    last = node("MatMul", ["v9999", "w"], ["y"])
    yield "functions", model([*calls(10_000, str, lambda k: f"F{k}"), last], [weight], [function(f"F{k}", [node("Neg", ["a"], ["b"])]) for k in range(10_000)])
    yield "calls of one name", model(
        [*calls(10_000), last], [weight], [function("F", [node("Neg", ["a"], ["t"], name="n"), node("Neg", ["t"], ["b"], name="m")])])
    yield "nodes of functions that nothing reads", model(
        [*calls(100), node("MatMul", ["v99", "w"], ["y"])], [weight],
        [function("F", [node("Neg", ["a"], ["b"]), *[node("Neg", ["a"], [f"d{k}"]) for k in range(100_000)]])])
    yield "nodes of a loop that nothing reads", scaled(
        [loop([node("Neg", ["state"], ["next"]), *[node("Neg", ["state"], [f"d{k}"]) for k in range(20_000)]], 9000, carried="start")],
        [constant("turns", 9000), constant("start", 1, np.float32)], "r")
    fan = [node("Concat", [f"c{k}"] * 20, [f"c{k + 1}"], axis=0) for k in range(14)]
    yield "weight that is joined of itself", model([*fan, node("MatMul", ["x", "c14"], ["y"])], [constant("c0", np.ones((1, 4)), np.float32)])
    yield "branches beside many values", model(
        [*[node("Neg", ["x"], [f"n{k}"]) for k in range(20_000)],
         *[node("If", ["yes"], [f"r{k + 1}"], then_branch=branch(k, "Neg"), else_branch=branch(k, "Abs")) for k in range(10_000)],
         node("Sum", ["r10000", *[f"n{k}" for k in range(20_000)]], ["v"]), node("MatMul", ["v", "w"], ["y"])],
        [weight, constant("yes", True, np.bool_)])


def branch(k, kind):
    own = f"{kind}{k}"
    return helper.make_graph(
        [node(kind, ["x" if k == 0 else f"r{k}"], [f"{own}.in"]), node("Neg", [f"{own}.in"], [own])], own, [], [info(own, TensorProto.FLOAT, None)])


class Stop(Exception):
    pass


class Host:
    def __init__(self):
        self.begun = self.last = time.monotonic()
        self.silence, self.asked = 0.0, None

    def __call__(self, phase, done, total):
        now = time.monotonic()
        self.silence, self.last = max(self.silence, now - self.last), now
        if now - self.begun > STOP:
            self.asked = self.asked or time.process_time()
            raise Stop


def main():
    import cet

    wanted = sys.argv[1:]
    for name, data in bombs():
        if wanted and name not in wanted:
            continue
        made = {}

        def feeds():
            return {"x": np.ones((4, made["model"].inputs[0].shape[1]), np.float32)}

        def samples():
            return cet.Calibration(feeds())

        bodies = {
            "load": lambda host: made.update(model=cet.Model(data)),
            "inspect": lambda host: cet.inspect(made["model"]),
            "run": lambda host: cet.run(made["model"], feeds(), threads=1, max_memory=LIMIT, progress=host),
            "plan": lambda host: cet.plan(made["model"], samples(), target_bits=8, threads=1, max_memory=LIMIT, progress=host),
        }
        for call, body in bodies.items():
            print(json.dumps({"name": name, "call": call}), flush=True)
            host, start, said = Host(), time.process_time(), "ok"
            try:
                body(host)
            except Stop:
                said = "stopped"
            except cet.CetError as error:
                said = f"{type(error).__name__}: {error}"[:200]
            end = time.process_time()
            print(json.dumps({
                "name": name, "call": call, "said": said, "seconds": end - start, "silence": host.silence,
                "stopping": 0 if host.asked is None else end - host.asked}), flush=True)
            if "model" not in made:
                break
    print("done", flush=True)


if __name__ == "__main__":
    main()
