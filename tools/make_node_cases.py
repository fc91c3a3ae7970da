#!/usr/bin/env python3
"""Writes the backend test cases of the installed `onnx` package as files, for Tests/ConformanceTests.

usage: tools/make_node_cases.py FOLDER
Then run the tests with CET_ONNX_CASES=FOLDER. A case becomes FOLDER/<kind>/<name>/model.onnx with
test_data_set_0/input_<i>.pb and output_<i>.pb beside it.
"""

import os
import warnings

import arguments


def write(path, message):
    with open(path, "wb") as file:
        file.write(message.SerializeToString())


def encoded(value, info):
    """A test value as the message that its graph input or output is written as."""
    import onnx
    from onnx import numpy_helper

    if isinstance(value, onnx.TensorProto):
        return value
    kind = info.type.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    if kind == "map_type":
        return numpy_helper.from_dict(value, info.name)
    return numpy_helper.from_array(value, info.name)


def write_light(root):
    """Whole networks with constant weights that the package carries: their input is what its own runner makes."""
    import onnx
    from onnx.backend.test.runner import Runner

    folder = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
    names = sorted(name for name in os.listdir(folder) if name.endswith(".onnx"))
    for name in names:
        stem = name[: -len(".onnx")]
        model = onnx.load(os.path.join(folder, name))
        data = os.path.join(root, "light", f"test_{stem}", "test_data_set_0")
        os.makedirs(data, exist_ok=True)
        write(os.path.join(root, "light", f"test_{stem}", "model.onnx"), model)
        held = {initializer.name for initializer in model.graph.initializer}
        inputs = [info for info in model.graph.input if info.name not in held]
        for i, info in enumerate(inputs):
            value = Runner.generate_dummy_data(info, seed=0, name=stem[len("light_"):], random=False)
            write(os.path.join(data, f"input_{i}.pb"), onnx.numpy_helper.from_array(value))
        for i in range(len(model.graph.output)):
            with open(os.path.join(folder, f"{stem}_output_{i}.pb"), "rb") as file:
                expected = onnx.TensorProto.FromString(file.read())
            write(os.path.join(data, f"output_{i}.pb"), expected)
    return len(names)


def main():
    parser = arguments.Parser(__doc__)
    parser.add_argument("folder", type=arguments.writable_folder)
    target = parser.parse_args().folder
    warnings.simplefilter("ignore")
    import onnx
    from onnx.backend.test.case.model import collect_testcases as model_cases
    from onnx.backend.test.case.node import collect_testcases as node_cases

    cases = {(case.kind, case.name): case for case in node_cases(None) + list(model_cases() or [])}
    written = 0
    for (kind, name), case in sorted(cases.items()):
        if case.model is None or case.data_sets is None:
            continue  # models that the suite downloads
        folder = os.path.join(target, kind, name)
        os.makedirs(folder, exist_ok=True)
        write(os.path.join(folder, "model.onnx"), case.model)
        for index, (inputs, outputs) in enumerate(case.data_sets):
            data = os.path.join(folder, f"test_data_set_{index}")
            os.makedirs(data, exist_ok=True)
            for i, value in enumerate(inputs):
                write(os.path.join(data, f"input_{i}.pb"), encoded(value, case.model.graph.input[i]))
            for i, value in enumerate(outputs):
                write(os.path.join(data, f"output_{i}.pb"), encoded(value, case.model.graph.output[i]))
        written += 1
    written += write_light(target)
    print(f"{written} cases of onnx {onnx.__version__} in {target}")


if __name__ == "__main__":
    main()
