"""Small models that no exporter writes, and a process that has to survive them.

`models` draws operators with too few and too many inputs and outputs, omitted ones, constants of every kind in every
slot, attributes that are missing, extreme or of another kind, in the main graph, in branches, in loop bodies and in
functions. Run as a program it puts a range of them through every call; it prints the number of each before it starts,
so that whoever started it knows which one ended it.

    python hostile_models.py FIRST COUNT [--write FILE]
"""

import pathlib
import random
import sys

import numpy as np
from onnx import AttributeProto, TensorProto, defs, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]

# These have weights, bodies or rows of their own, so that the library looks at them before it runs anything.
LAYERS = ["MatMul", "Gemm", "Conv", "ConvTranspose", "Gather", "LSTM", "GRU", "RNN", "Attention", "Constant", "Cast", "Transpose",
          "Reshape", "Concat", "Split", "Slice", "Squeeze", "Identity", "Add", "If", "Loop", "Scan", "Einsum"]
# Of these every number of operands is tried in turn, mostly with constants that could be weights.
WEIGHTED = ["MatMul", "Gemm", "Conv", "ConvTranspose", "Gather", "LSTM", "GRU", "RNN", "FusedMatMul", "Attention", "FusedConv", "FusedGemm"]
MICROSOFT = ["FusedMatMul", "FusedConv", "FusedGemm", "Attention", "SkipLayerNormalization", "EmbedLayerNormalization", "Gelu",
             "BiasGelu", "FastGelu", "MatMulNBits", "MultiHeadAttention", "LayerNormalization", "RotaryEmbedding",
             "SimplifiedLayerNormalization", "QuickGelu", "DynamicQuantizeMatMul", "QLinearAdd", "GroupQueryAttention"]
OPSETS = [6, 7, 9, 11, 13, 17, 18, 21, 23, 25, 28]
CONTEXTS = ["main", "main", "main", "if", "loop", "scan", "function", "nested function"]
INTEGERS = [0, 1, -1, 2, 3, -2, 7, 2**31 - 1, -(2**31), 2**31, 2**40, 2**62, 2**63 - 1, -(2**63)]
FLOATS = [0.0, 1.0, -1.0, 0.5, 1e-38, 3e38, -3e38, float("nan"), float("inf"), float("-inf")]
KINDS = ["scalar", "row", "matrix", "cube", "image", "empty", "int", "ints", "int scalar", "int32", "half", "bfloat16", "double", "bool",
         "uint8", "string", "external", "special", "matrix", "matrix"]
TINY = [0, 1, -1, 2, 3]


def _history():
    found = {}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            found.setdefault(schema.name, []).append(schema)
    return found


SCHEMAS = _history()
OPERATORS = sorted(SCHEMAS)


def _schema(name, opset):
    fitting = [schema for schema in SCHEMAS[name] if schema.since_version <= opset]
    return max(fitting, key=lambda schema: schema.since_version, default=SCHEMAS[name][0])


class _Maker:
    """One model."""

    def __init__(self, number):
        self.random = random.Random(number)
        self.numbers = np.random.default_rng(number)
        self.constants = []
        self.nodes = []
        self.functions = []
        self.share = 0.45
        self.kinds = KINDS

    def pick(self, values):
        return self.random.choice(values)

    # Constants

    def tensor(self, name):
        integers = TINY if self.random.random() < 0.7 else INTEGERS
        kind = self.pick(self.kinds)
        size = self.pick([1, 2, 3, 4])
        if kind == "string":
            return helper.make_tensor(name, TensorProto.STRING, [2], [b"a", b"b"])
        if kind == "external":
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
            tensor.external_data.add(key="location", value="nowhere.bin")
            return tensor
        if kind == "bfloat16":
            return helper.make_tensor(name, TensorProto.BFLOAT16, [4, 4], [1.0] * 16)
        shapes = {"scalar": [], "row": [size], "matrix": [4, 4], "cube": [self.pick([1, 2]), 4, 4], "image": [4, 4, 1, 1],
                  "empty": self.pick([[0], [0, 4], [4, 0], [4, 4, 0, 1]]), "half": [4, 4], "double": [4, 4], "special": [4]}
        if kind in ("int", "ints", "int scalar"):
            count = {"int": 1, "ints": size, "int scalar": 0}[kind]
            values = np.array([self.pick(integers) for _ in range(max(1, count))], np.int64)
            return numpy_helper.from_array(values if count else values.reshape([]), name)
        if kind == "int32":
            return numpy_helper.from_array(np.array(TINY[:size], np.int32), name)
        if kind == "bool":
            return numpy_helper.from_array(np.array(self.pick([True, False])), name)
        if kind == "uint8":
            return numpy_helper.from_array(np.arange(16, dtype=np.uint8).reshape(4, 4), name)
        if kind == "special":
            return numpy_helper.from_array(np.array([self.pick(FLOATS) for _ in range(4)], np.float32), name)
        types = {"half": np.float16, "double": np.float64}
        return numpy_helper.from_array(self.numbers.normal(size=shapes[kind]).astype(types.get(kind, np.float32)), name)

    def operand(self, index, fed):
        choice = self.random.random()
        if choice < 0.08:
            return ""
        if choice < self.share:
            return self.pick(fed)
        name = f"c{index}"
        if choice < 0.9:
            self.constants.append(self.tensor(name))
        else:
            self.nodes.append(helper.make_node("Constant", [], [name], value=self.tensor("")))
        return name

    # Attributes

    def value(self, kind):
        """A value of an attribute, sometimes of another kind."""
        integers = TINY if self.random.random() < 0.6 else INTEGERS
        kinds = AttributeProto.AttributeType
        if self.random.random() < 0.05:
            kind = self.pick([kinds.INT, kinds.INTS, kinds.FLOAT, kinds.STRING, kinds.FLOATS, kinds.TENSOR])
        if kind == kinds.INT:
            return self.pick(integers)
        if kind == kinds.INTS:
            return [self.pick(integers) for _ in range(self.pick([0, 1, 1, 2, 2, 3, 4]))]
        if kind == kinds.FLOAT:
            return self.pick(FLOATS)
        if kind == kinds.FLOATS:
            return [self.pick(FLOATS) for _ in range(self.pick([0, 1, 2, 3]))]
        if kind == kinds.STRING:
            return self.pick(["", "constant", "SAME_UPPER", "VALID", "linear", "nearest", "bidirectional", "reverse", "ij,jk->ik",
                              "i->iiii", "...", "->", "ij->ji", "none", "add", "mean", "NOTSET"])
        if kind == kinds.STRINGS:
            return [self.pick(["Tanh", "Relu", "", "Affine"]) for _ in range(self.pick([0, 1, 3]))]
        if kind == kinds.TENSOR:
            return self.tensor("")
        if kind == kinds.GRAPH:
            return self.body()
        return None

    def body(self):
        """A graph that may or may not suit the node that holds it."""
        inputs = [helper.make_tensor_value_info(f"b{i}", TensorProto.FLOAT, None) for i in range(self.pick([0, 0, 1, 2, 3]))]
        names = [info.name for info in inputs] + ["x"]
        nodes = [helper.make_node("Constant", [], ["b_true"], value=numpy_helper.from_array(np.array(True), ""))]
        nodes.append(helper.make_node(self.pick(["Identity", "Relu", "MatMul", "Add"]), [self.pick(names) for _ in range(self.pick([1, 2]))],
                                      ["b_out"]))
        outputs = self.pick([[], ["b_out"], ["b_true", "b_out"], ["b_true"], ["b_true", "b_out", "b_out"], ["x"]])
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        return helper.make_graph(nodes, "body", inputs, infos)

    def attributes(self, schema):
        result = {}
        for name, attribute in schema.attributes.items():
            if self.random.random() < (0.93 if attribute.required else 0.35):
                value = self.value(attribute.type)
                if value is not None:
                    result[name] = value
        return result

    # The node and what stands around it

    def node(self, number, fed):
        opset = self.pick(OPSETS)
        turn = number // 2
        if number % 2 == 0:
            name = WEIGHTED[turn % len(WEIGHTED)]
            domain = "com.microsoft" if turn % len(WEIGHTED) >= 8 else ""
            counts, attributes = [turn // len(WEIGHTED) % 5], {}
            self.share = self.pick([0.1, 0.3])
            self.kinds = self.pick([KINDS, ["matrix", "matrix", "cube", "image", "half", "row"]])
            if self.random.random() < 0.5 and domain == "":
                attributes = self.attributes(_schema(name, opset))
        elif self.random.random() < 0.08:
            name, domain = self.pick(MICROSOFT), "com.microsoft"
            counts, attributes = range(0, 8), {}
            for key in ["transB", "transA", "num_heads", "group", "axis", "K", "N", "bits", "block_size", "epsilon", "qkv_hidden_sizes"]:
                if self.random.random() < 0.3:
                    attributes[key] = self.value(self.pick([AttributeProto.INT, AttributeProto.INTS]))
        else:
            # Every operator in turn; every third model one that the library looks at before it runs.
            name = LAYERS[turn % len(LAYERS)] if turn % 3 == 0 else OPERATORS[turn % len(OPERATORS)]
            schema, domain = _schema(name, opset), ""
            counts, attributes = range(0, min(schema.max_input, 8) + 2), self.attributes(schema)
        inputs = [self.operand(index, fed) for index in range(self.pick(counts))]
        outputs = [self.pick([f"o{i}"] * 5 + [""]) for i in range(self.pick([0, 1, 1, 1, 1, 2, 3, 7]))]
        node = helper.make_node(name, inputs, outputs, domain=domain, name=self.pick(["", "node"]))
        for key, value in attributes.items():
            node.attribute.append(_attribute(key, value))
        return node, opset, next((output for output in outputs if output), None)

    def model(self, number):
        context = self.pick(CONTEXTS)
        node, opset, made = self.node(number, ["x", "image", "ids"])
        nodes = [*self.nodes, node]
        result = made or "x"
        if context in ("if", "loop", "scan"):
            nodes, initializers = self.wrapped(context, nodes, result), []
            result = "r"
        elif "function" in context:
            nodes, initializers = self.called(context, nodes, result, opset), []
            result = "r"
        else:
            initializers = self.constants
        weight = numpy_helper.from_array(self.numbers.normal(size=(4, 3)).astype(np.float32), "weight")
        # Whatever comes out moves the loss, and a layer that is in order stands beside it.
        nodes += [helper.make_node("Cast", [result], ["as_float"], to=TensorProto.FLOAT),
                  helper.make_node("ReduceMax", ["as_float"], ["number"], keepdims=0),
                  helper.make_node("MatMul", ["x", "weight"], ["product"]), helper.make_node("Mul", ["product", "number"], ["y"])]
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes, "g",
            [info("x", TensorProto.FLOAT, ["n", 4]), info("image", TensorProto.FLOAT, ["n", 4, 4, 4]), info("ids", TensorProto.INT64, ["n", 2])],
            [info("y", TensorProto.FLOAT, ["n", 3])], [weight, *initializers])
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("own", 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=self.functions).SerializeToString()

    def wrapped(self, context, nodes, result):
        info = helper.make_tensor_value_info
        held = self.constants
        if context == "if":
            outputs = [info(result, TensorProto.FLOAT, None)] if result != "x" else []
            branch = helper.make_graph(nodes, "branch", [], outputs, held)
            other = helper.make_graph([helper.make_node("Identity", ["x"], ["e"])], "other", [], [info("e", TensorProto.FLOAT, None)])
            condition = helper.make_node("Constant", [], ["condition"], value=numpy_helper.from_array(np.array(True), ""))
            return [condition, helper.make_node("If", ["condition"], ["r"], then_branch=branch, else_branch=other)]
        if context == "loop":
            start = [helper.make_node("Constant", [], ["turns"], value=numpy_helper.from_array(np.array(2), "")),
                     helper.make_node("Constant", [], ["go"], value=numpy_helper.from_array(np.array(True), ""))]
            inner = [*nodes, helper.make_node("Identity", ["condition_in"], ["condition_out"])]
            body = helper.make_graph(
                inner, "body", [info("i", TensorProto.INT64, []), info("condition_in", TensorProto.BOOL, [])],
                [info("condition_out", TensorProto.BOOL, []), info(result, TensorProto.FLOAT, None)], held)
            return [*start, helper.make_node("Loop", ["turns", "go"], ["r"], body=body)]
        inner = [*nodes, helper.make_node("Identity", [result], ["scanned"])]
        body = helper.make_graph(inner, "body", [info("row", TensorProto.FLOAT, None)], [info("scanned", TensorProto.FLOAT, None)], held)
        return [helper.make_node("Scan", ["x"], ["r"], body=body, num_scan_inputs=1)]

    def called(self, context, nodes, result, opset):
        held = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in self.constants]
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("own", 1)]
        names = ["x", "image", "ids"][: self.pick([3, 3, 3, 2, 1])]
        outputs = [result] if result != "x" else self.pick([["x"], []])
        self.functions.append(helper.make_function("own", "Inner", ["x", "image", "ids"], outputs, [*held, *nodes], imports))
        called = "Inner"
        if context == "nested function":
            called = "Outer"
            inner = helper.make_node("Inner", ["x", "image", "ids"], ["inner"], domain="own")
            self.functions.append(helper.make_function("own", "Outer", ["x", "image", "ids"], ["inner"], [inner], imports))
        return [helper.make_node(called, names, ["r", "more"][: self.pick([1, 1, 1, 2])], domain="own")]


def _attribute(key, value):
    if isinstance(value, list) and not value:
        attribute = AttributeProto(name=key, type=AttributeProto.INTS)
        return attribute
    return helper.make_attribute(key, value)


def model(number):
    """The bytes of model `number`."""
    return _Maker(number).model(number)


def feeds():
    numbers = np.random.default_rng(0)
    return {"x": numbers.normal(size=(2, 4)).astype(np.float32), "image": numbers.normal(size=(2, 4, 4, 4)).astype(np.float32),
            "ids": np.array([[0, 1], [2, 3]], np.int64)}


def exercise(cet, data, inputs=None):
    """Every call of a model; what each says ("ok" or the error's class and text)."""
    inputs = inputs or feeds()
    said = {}

    def attempt(name, body):
        try:
            result = body()
            said[name] = "ok"
            return result
        except (cet.CetError, MemoryError) as error:
            said[name] = f"{type(error).__name__}: {error}"
            return None

    loaded = attempt("load", lambda: cet.Model(data))
    if loaded is None:
        return said
    limit = 256 << 20
    attempt("inspect", lambda: cet.inspect(loaded))
    attempt("run", lambda: cet.run(loaded, inputs))
    calibration = attempt("data", lambda: cet.Calibration(inputs))
    if calibration is None:
        return said
    plan = attempt("plan", lambda: cet.plan(loaded, calibration, target_bits=8, bits=[4, 8], max_memory=limit, threads=1))
    if plan is not None:
        quantized = attempt("quantize", lambda: cet.quantize(loaded, calibration, plan, max_memory=limit, threads=1))
        if quantized is not None:
            attempt("write", quantized.to_bytes)
    hessian = attempt("curvature", lambda: cet.Hessian(loaded, calibration, max_memory=limit, threads=1))
    if hessian is not None:
        attempt("gradient", hessian.gradient)
        attempt("product", lambda: hessian @ np.ones(hessian.shape[0], np.float32))
    return said


def main():
    first, count = int(sys.argv[1]), int(sys.argv[2])
    if "--write" in sys.argv:
        pathlib.Path(sys.argv[sys.argv.index("--write") + 1]).write_bytes(model(first))
        return
    sys.path.insert(0, str(ROOT / "bindings" / "python"))
    import cet

    for number in range(first, first + count):
        print(number, flush=True)
        exercise(cet, model(number))
    print("done", flush=True)


if __name__ == "__main__":
    main()
