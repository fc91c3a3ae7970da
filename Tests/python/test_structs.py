"""The package's ctypes structs, functions and words against include/cet/cet.h, as the C compiler reads it."""

import ctypes
import re
import subprocess

import pytest

import cet.errors
import cet.library
import cet.structs
import cet.words


@pytest.fixture(scope="module")
def header(root):
    return (root / "include" / "cet" / "cet.h").read_text()


@pytest.fixture(scope="module")
def layout(header, root, tmp_path_factory):
    """{struct: {"": size, field: (offset, size)}} of every struct that the header defines."""
    structs = {}
    for name, body in re.findall(r"typedef struct (cet_\w+) \{(.*?)\n\} \1;", header, re.S):
        body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
        structs[name] = re.findall(r"(\w+)(?:\[\d+\])?;", body)
    lines = []
    for name, fields in structs.items():
        lines.append(f'printf("{name} . 0 %zu\\n", sizeof({name}));')
        for field in fields:
            lines.append(
                f'printf("{name} {field} %zu %zu\\n", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));')
    folder = tmp_path_factory.mktemp("layout")
    source = folder / "layout.c"
    source.write_text("#include <cet/cet.h>\n#include <stdio.h>\nint main(void) {\n" + "\n".join(lines) + "\nreturn 0; }\n")
    subprocess.run(["cc", "-std=c99", f"-I{root}/include", str(source), "-o", str(folder / "layout")], check=True)
    output = subprocess.run([str(folder / "layout")], check=True, capture_output=True, text=True).stdout
    found = {name: {} for name in structs}
    for line in output.splitlines():
        name, field, offset, size = line.split()
        found[name][field] = (int(offset), int(size))
    return found


def test_structs_all_of_the_header_are_mirrored(layout):
    assert {struct._c_name_ for struct in cet.structs.ALL} == set(layout)


@pytest.mark.parametrize("struct", cet.structs.ALL, ids=lambda struct: struct._c_name_)
def test_struct_fields_have_the_compilers_offsets_and_sizes(struct, layout):
    expected = layout[struct._c_name_]
    found = {name: (getattr(struct, name).offset, getattr(struct, name).size) for name, *_ in struct._fields_}
    found["."] = (0, ctypes.sizeof(struct))
    assert found == expected


@pytest.mark.parametrize("struct", cet.structs.ALL, ids=lambda struct: struct._c_name_)
def test_struct_fields_have_the_headers_order(struct, layout):
    assert [name for name, *_ in struct._fields_] == [name for name in layout[struct._c_name_] if name != "."]


def test_functions_all_of_the_header_are_declared(header):
    declared = re.findall(r"^CET_API [^(;]*?(cet_\w+)\(", header, re.M)
    assert len(declared) > 50
    assert set(declared) == set(cet.library._PROTOTYPES)


def test_function_arguments_have_the_headers_number(header):
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    for name, arguments in re.findall(r"^CET_API [^(;]*?(cet_\w+)\(([^;]*)\);", text, re.M):
        expected = 0 if arguments.strip() == "void" else arguments.count(",") + 1
        assert len(cet.library._PROTOTYPES[name][1]) == expected, name


def constants(header, prefix):
    return {name: int(value) for name, value in re.findall(rf"\b{prefix}(\w+) = (-?\d+)", header)}


@pytest.mark.parametrize(
    "prefix, words",
    [
        ("CET_METHOD_", cet.words.METHODS), ("CET_LOSS_", cet.words.LOSSES), ("CET_CURVATURE_", cet.words.CURVATURES),
        ("CET_ROUNDING_", cet.words.ROUNDINGS), ("CET_ENCODING_", cet.words.ENCODINGS), ("CET_WHICH_", cet.words.ENDS),
        ("CET_DECISION_", cet.words.DECISIONS), ("CET_BASIS_", cet.words.BASIS_TYPES),
        ("CET_TRACE_", cet.words.TRACE_METHODS), ("CET_GRANULARITY_", cet.words._GRANULARITIES),
    ])
def test_words_have_the_headers_numbers(header, prefix, words):
    expected = {name.lower().replace("_", "-"): value for name, value in constants(header, prefix).items() if value}
    assert expected
    assert {word.replace("+", "plus"): value for word, value in words.items() if not word.isupper()} == expected


def test_errors_every_status_has_a_class(header):
    block = header[header.index("CET_OK = 0"):header.index("cet_status_string")]
    statuses = {int(value) for value in re.findall(r"CET_\w+ = (-\d+)", block)}
    assert statuses == set(cet.errors._BY_STATUS)


def test_element_types_have_the_headers_numbers(header):
    from cet.native import TYPE_NAMES

    block = header[header.index("CET_FLOAT32 = 1"):header.index("How bits are chosen")]
    expected = {value: name.lower() for name, value in constants(block, "CET_").items()}
    assert TYPE_NAMES == expected


def test_version_is_the_headers(header):
    numbers = [re.search(rf"#define CET_VERSION_{part} (\d+)", header).group(1) for part in ("MAJOR", "MINOR", "PATCH")]
    assert cet.__version__ == ".".join(numbers) == cet.library_version()
