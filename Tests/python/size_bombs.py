"""Files of a few hundred bytes that ask for terabytes or for work without end; run in a process of its own.

Prints a line of JSON for each: its name, what each call said, the seconds of processor time, and how much the process grew.
"""

import json
import pathlib
import resource
import sys
import time

import numpy as np
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bindings" / "python"))

LIMIT = 256 << 20
info = helper.make_tensor_value_info
node = helper.make_node


def constant(name, value, dtype=np.int64):
    return numpy_helper.from_array(np.array(value, dtype), name)


def model(nodes, constants, result, opset=17, functions=(), imports=()):
    """`result` moves the loss of a layer that is in order."""
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), "weight")
    nodes = [*nodes, node("Cast", [result], ["as_float"], to=TensorProto.FLOAT), node("ReduceMax", ["as_float"], ["number"], keepdims=0),
             node("MatMul", ["x", "weight"], ["product"]), node("Mul", ["product", "number"], ["y"])]
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, ["n", 4]), info("image", TensorProto.FLOAT, ["n", 4, 4, 4])],
        [info("y", TensorProto.FLOAT, ["n", 3])], [weight, *constants])
    opsets = [helper.make_opsetid("", opset), *imports]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions)).SerializeToString()


def chain(depth, calls):
    """Functions of which each calls the next one `calls` times."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = []
    for level in range(depth):
        names = [f"v{k}" for k in range(calls + 1)]
        inner = [node(f"F{level + 1}", [a], [b], domain="own", name=f"call{level}") for a, b in zip(names, names[1:])]
        functions.append(helper.make_function("own", f"F{level}", ["v0"], [names[-1]], inner, imports))
    functions.append(helper.make_function("own", f"F{depth}", ["v0"], ["v1"], [node("Neg", ["v0"], ["v1"])], imports))
    return functions


def loop(inner, turns, carried="image", more=()):
    body = helper.make_graph(
        [*inner, node("Identity", ["go_in"], ["go_out"])], "body",
        [info("i", TensorProto.INT64, []), info("go_in", TensorProto.BOOL, []), info("state", TensorProto.FLOAT, None)],
        [info("go_out", TensorProto.BOOL, []), info("next", TensorProto.FLOAT, None)], list(more))
    return node("Loop", ["turns", "", carried], ["r"], body=body, name="bomb")


def bombs():
    """Name, bytes of the model."""
    yield "conv pads", model([node("Conv", ["image", "w"], ["r"], pads=[2**20] * 4, name="bomb")], [constant("w", np.ones((2, 4, 1, 1)), np.float32)], "r")
    yield "conv of a known image", model(
        [node("Conv", ["known", "w"], ["r"], pads=[2**20] * 4, name="bomb")],
        [constant("known", np.ones((1, 4, 2, 2)), np.float32), constant("w", np.ones((2, 4, 1, 1)), np.float32)], "r")
    yield "transposed conv", model(
        [node("ConvTranspose", ["image", "w"], ["r"], strides=[2**20, 2**20], name="bomb")], [constant("w", np.ones((4, 2, 1, 1)), np.float32)], "r")
    for pool in ("AveragePool", "MaxPool", "LpPool"):
        yield pool, model([node(pool, ["image"], ["r"], kernel_shape=[1, 1], pads=[2**20] * 4, name="bomb")], [], "r")
    for calls, depth in ((2, 40), (3, 60), (2**9, 7)):
        yield f"functions {calls} calls {depth} deep", model(
            [node("F0", ["x"], ["r"], domain="own", name="bomb")], [], "r", functions=chain(depth, calls), imports=[helper.make_opsetid("own", 1)])
    for shape in ([2**40], [2**20, 2**20], [2**13] * 3):
        yield f"Expand {shape}", model([node("Expand", ["one", "shape"], ["r"], name="bomb")], [constant("one", 1, np.float32), constant("shape", shape)], "r")
        yield f"ConstantOfShape {shape}", model([node("ConstantOfShape", ["shape"], ["r"], name="bomb")], [constant("shape", shape)], "r")
    yield "Expand of data", model(
        [node("Expand", ["image", "shape"], ["r"], name="bomb")], [constant("shape", [2**14, 2**14, 1, 1, 1, 1])], "r")
    yield "Tile", model([node("Tile", ["image", "repeats"], ["r"], name="bomb")], [constant("repeats", [1, 2**20, 2**10, 2**8])], "r")
    yield "Tile of a constant", model(
        [node("Tile", ["c", "repeats"], ["r"], name="bomb")], [constant("c", np.ones((2, 2)), np.float32), constant("repeats", [2**20, 2**20])], "r")
    for mode in ("constant", "edge", "reflect"):
        yield f"Pad {mode}", model(
            [node("Pad", ["image", "pads"], ["r"], mode=mode, name="bomb")], [constant("pads", [0, 0, 2**22, 2**22] * 2)], "r")
    for mode in ("nearest", "linear", "cubic"):
        yield f"Resize {mode}", model(
            [node("Resize", ["image", "", "scales"], ["r"], mode=mode, name="bomb")], [constant("scales", [1, 1, 2**21, 2**21], np.float32)], "r")
        yield f"Resize sizes {mode}", model(
            [node("Resize", ["known", "", "", "sizes"], ["r"], mode=mode, name="bomb")],
            [constant("known", np.ones((1, 1, 2, 2)), np.float32), constant("sizes", [1, 1, 2**22, 2**22])], "r")
    yield "Upsample", model([node("Upsample", ["image", "scales"], ["r"], name="bomb")], [constant("scales", [1, 1, 2**21, 2**21], np.float32)], "r", opset=9)
    yield "loop doubling", model(
        [loop([node("Concat", ["state", "state"], ["next"], axis=0, name="double")], 60)], [constant("turns", 60)], "r")
    yield "loop outer products", model(
        [loop([node("MatMul", ["column", "row"], ["outer"], name="outer"), node("ReduceMax", ["outer"], ["next"], keepdims=0)], 60)],
        [constant("turns", 3), constant("column", np.ones((2**16, 1)), np.float32), constant("row", np.ones((1, 2**16)), np.float32)], "r")
    inner = helper.make_graph(
        [node("Neg", ["inner_state"], ["inner_next"]), node("Identity", ["inner_go"], ["inner_out"])], "inner",
        [info("j", TensorProto.INT64, []), info("inner_go", TensorProto.BOOL, []), info("inner_state", TensorProto.FLOAT, None)],
        [info("inner_out", TensorProto.BOOL, []), info("inner_next", TensorProto.FLOAT, None)])
    yield "nested loops", model(
        [loop([node("Loop", ["turns", "", "state"], ["next"], body=inner, name="within")], 9000)], [constant("turns", 9000)], "r")
    yield "endless loop", model([loop([node("Neg", ["state"], ["next"])], 0)], [constant("turns", 2**62)], "r")
    yield "Range", model([node("Range", ["zero", "end", "one"], ["r"], name="bomb")], [constant("zero", 0), constant("end", 2**27), constant("one", 1)], "r")
    yield "OneHot", model(
        [node("OneHot", ["ids", "depth", "values"], ["r"], name="bomb")],
        [constant("ids", np.zeros((2**10,))), constant("depth", 2**23), constant("values", [0, 1], np.float32)], "r")
    yield "Gather", model(
        [node("Expand", ["zero", "shape"], ["ids"]), node("Gather", ["image", "ids"], ["r"], axis=0, name="bomb")],
        [constant("zero", 0), constant("shape", [2**22])], "r")
    yield "Gather twice", model(
        [node("Gather", ["image", "ids"], ["g"], axis=0, name="first"), node("Gather", ["g", "ids"], ["r"], axis=2, name="bomb")],
        [constant("ids", np.zeros(2**14))], "r")
    yield "Einsum", model(
        [node("Einsum", ["a", "a", "a"], ["r"], equation="i,j,k->ijk", name="bomb")], [constant("a", np.ones(2**13), np.float32)], "r")
    yield "Einsum with data", model(
        [node("Flatten", ["image"], ["f"]), node("Einsum", ["f", "a", "a"], ["r"], equation="ni,j,k->nijk", name="bomb")],
        [constant("a", np.ones(2**13), np.float32)], "r")
    yield "outer product", model(
        [node("MatMul", ["a", "b"], ["r"], name="bomb")], [constant("a", np.ones((2**17, 1)), np.float32), constant("b", np.ones((1, 2**17)), np.float32)], "r")
    yield "broadcast sum", model(
        [node("Add", ["a", "b"], ["r"], name="bomb")], [constant("a", np.ones((2**17, 1)), np.float32), constant("b", np.ones((1, 2**17)), np.float32)], "r")
    yield "broadcast choice", model(
        [node("Where", ["c", "a", "b"], ["r"], name="bomb")],
        [constant("c", True, np.bool_), constant("a", np.ones((2**17, 1)), np.float32), constant("b", np.ones((1, 2**17)), np.float32)], "r")
    yield "ScatterND", model(
        [node("ConstantOfShape", ["shape"], ["c"], name="bomb"), node("ScatterND", ["c", "at", "with"], ["r"])],
        [constant("shape", [2**30]), constant("at", [[1]]), constant("with", [1], np.float32)], "r")
    yield "CenterCropPad", model([node("CenterCropPad", ["image", "shape"], ["r"], axes=[2, 3], name="bomb")], [constant("shape", [2**24, 2**24])], "r", opset=18)
    yield "MaxUnpool", model(
        [node("MaxUnpool", ["image", "at"], ["r"], kernel_shape=[1, 1], strides=[2**20, 2**20], name="bomb")], [constant("at", np.zeros((2, 4, 4, 4)))], "r")
    yield "EyeLike", model(
        [node("ConstantOfShape", ["shape"], ["c"], name="bomb"), node("EyeLike", ["c"], ["r"])], [constant("shape", [2**14, 2**14])], "r")
    yield "STFT", model(
        [node("Reshape", ["signal", "s"], ["t"]), node("STFT", ["t", "step", "", "length"], ["r"], name="bomb")],
        [constant("signal", np.ones(2**20), np.float32), constant("s", [1, -1, 1]), constant("step", 1), constant("length", 2**12)], "r")
    yield "MelWeightMatrix", model(
        [node("MelWeightMatrix", ["bins", "length", "rate", "low", "high"], ["r"], name="bomb")],
        [constant("bins", 8190), constant("length", 16_380), constant("rate", 16_000), constant("low", 0, np.float32), constant("high", 8000, np.float32)], "r")
    for kind in ("HannWindow", "HammingWindow", "BlackmanWindow"):
        yield f"{kind} within its limit", model([node(kind, ["size"], ["r"], name="bomb")], [constant("size", 2**24 - 1)], "r")
    yield "NonZero", model(
        [node("Expand", ["one", "shape"], ["e"]), node("NonZero", ["e"], ["r"], name="bomb")], [constant("one", 1, np.uint8), constant("shape", [2**14, 2**13])], "r")
    yield "Reshape to many axes", model([node("Reshape", ["x", "shape"], ["r"], name="bomb")], [constant("shape", [-1] + [1] * 100_000)], "r")
    yield "HannWindow", model([node("HannWindow", ["size"], ["r"], name="bomb")], [constant("size", 2**28)], "r")
    yield "AffineGrid", model(
        [node("AffineGrid", ["theta", "size"], ["r"], name="bomb")],
        [constant("theta", np.ones((1, 2, 3)), np.float32), constant("size", [1, 1, 2**13, 2**14])], "r", opset=20)
    yield "LSTM of many steps", model(
        [node("Expand", ["one", "shape"], ["seq"], name="bomb"), node("LSTM", ["seq", "w", "r0"], ["r"], hidden_size=1)],
        [constant("one", 1, np.float32), constant("shape", [2**22, 1, 1]), constant("w", np.ones((1, 4, 1)), np.float32), constant("r0", np.ones((1, 4, 1)), np.float32)], "r")
    yield "CumProd empty", model(
        [node("ConstantOfShape", ["shape"], ["c"], name="bomb"), node("Scan", ["c"], ["r"], num_scan_inputs=1, body=helper.make_graph(
            [node("Neg", ["row"], ["out"])], "body", [info("row", TensorProto.FLOAT, None)], [info("out", TensorProto.FLOAT, None)]))],
        [constant("shape", [2**40, 0])], "r")


def resident():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main():
    import cet

    generator = np.random.default_rng(0)
    feeds = {"x": generator.normal(size=(2, 4)).astype(np.float32), "image": generator.normal(size=(2, 4, 4, 4)).astype(np.float32)}
    wanted = sys.argv[1:]
    for name, data in bombs():
        if wanted and name not in wanted:
            continue
        print(json.dumps({"name": name}), flush=True)
        loaded, calibration = cet.Model(data), cet.Calibration(feeds)
        calls = {
            "plan": lambda: cet.plan(loaded, calibration, target_bits=8, max_memory=LIMIT),
            "curvature": lambda: cet.Hessian(loaded, calibration, max_memory=LIMIT),
            "run": lambda: cet.run(loaded, feeds, max_memory=LIMIT),
            "inspect": lambda: cet.inspect(loaded),
        }
        for call, body in calls.items():
            before, start, said = resident(), time.process_time(), "ok"
            try:
                body()
            except cet.CetError as error:
                said = f"{type(error).__name__}: {error}"
            print(json.dumps({"name": name, "call": call, "said": said, "seconds": time.process_time() - start, "grown": resident() - before}), flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main()
