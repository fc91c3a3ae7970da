"""Options of the Python package: signatures that agree, types that a checker reads, and the tool's grammar."""

import inspect
import json
import os
import subprocess
import sys
import typing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cet
from cet import grammar, words

QUICK = dict(samples=32, method="mckp", rounding="nearest")


def options(function, *others):
    """Keyword-only parameters with defaults and annotations."""
    parameters = inspect.signature(function).parameters.values()
    found = {p.name: (p.default, p.annotation) for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert {p.name for p in parameters if p.kind is not p.KEYWORD_ONLY} == set(others)
    return found


def test_signatures_of_planning_calls_agree():
    expected = options(cet.plan, "model", "calibration")
    assert len(expected) > 20 and "target_size" in expected
    assert options(cet.Plan.replan, "self", "model") == expected
    assert options(cet.Session.__init__, "self", "model", "calibration") == expected
    assert options(cet.Session.plan, "self") == expected


def test_signatures_of_quantizing_calls_agree():
    assert options(cet.Session.quantize, "self", "plan") == options(cet.quantize, "model", "calibration", "plan")


def test_docstring_of_plan_explains_every_option():
    for name in options(cet.plan, "model", "calibration"):
        assert f"\n        {name}: " in cet.plan.__doc__, name


def test_every_option_reaches_the_library(model):
    """A value of each sets a field of the struct: none is taken and dropped."""
    from cet.options import PlanCall, QuantizeCall

    given = {name: default for name, (default, _) in options(cet.plan, "model", "calibration").items()}

    def fields(call, **changed):
        made = call({**given, **changed}, needs_target=False) if call is PlanCall else call({**given, **changed})
        plain = {}
        for name, *_ in type(made.options)._fields_:
            value = getattr(made.options, name)
            plain[name] = value if isinstance(value, (int, float, bytes, type(None))) else bool(value)
        return plain

    values = dict(
        target_ratio=2.5, target_bits=3.5, target_size="2kB", max_loss=0.5, method="uniform", loss="mse", curvature="gauss-newton",
        rounding="gptq", granularity="block:32", encoding="qdq", min_runtime="ort-1.24", coding="affine", effort="high", bits="2,3",
        keep="a", fix="a=3", min_bits="a=3", max_bits={"a": 3}, group="auto", output="y", shifts=0, eigenpairs=3, max_iterations=4, seed=5, threads=2, samples=6, batch_size=7,
        max_memory="1GiB", activations="8,float", activation_range="min-max", activation_loss=0.5, activation_mean_bits=9, external_data=True)
    assert set(values) | {"progress", "log"} == set(given)
    plain, reached = fields(PlanCall), set()
    for name, value in values.items():
        found = fields(PlanCall, **{name: value})
        assert found != plain, name
        reached |= {field for field in found if found[field] != plain[field]}
    # Nor is a field without an option. Of lists the number of entries tells.
    left = {field for field, value in plain.items() if not isinstance(value, bool)} - reached
    assert left <= {"struct_size", "user_data", "executor"}, left
    plain = fields(QuantizeCall)
    for name in options(cet.quantize, "model", "calibration", "plan").keys() - {"progress", "log"}:
        assert fields(QuantizeCall, **{name: values[name]}) != plain, name


@pytest.mark.parametrize("alias, table", [
    (words.Method, words.METHODS), (words.Loss, words.LOSSES), (words.CurvatureKind, words.CURVATURES),
    (words.Rounding, words.ROUNDINGS), (words.Encoding, words.ENCODINGS), (words.Coding, words.CODINGS),
    (words.Effort, words.EFFORTS), (words.Which, words.ENDS), (words.BasisType, words.BASIS_TYPES),
    (words.TraceMethod, words.TRACE_METHODS)], ids=lambda value: getattr(value, "__name__", None) or "")
def test_words_of_types_are_those_of_the_tables(alias, table):
    assert set(typing.get_args(alias)) == set(table)


@pytest.mark.parametrize("call", [
    lambda model, data: cet.plan(model, data, target_ration=8),
    lambda model, data: cet.Session(model, data, methd="cet"),
    lambda model, data: cet.Session(model).plan(target_ratoi=8),
    lambda model, data: cet.quantize(model, data, None, round="nearest")])
def test_option_with_a_typo_is_a_type_error_that_names_it(model, calibration, call):
    with pytest.raises(TypeError, match="unexpected keyword argument '(target_ration|methd|target_ratoi|round)'"):
        call(model, calibration)


@pytest.mark.parametrize("name, value", [
    ("target_ratio", "11"), ("threads", "2"), ("samples", 3.5), ("shifts", "none"), ("keep", [3]), ("bits", [2.5]),
    ("seed", None), ("progress", 3), ("max_memory", 1.5)])
def test_option_of_a_wrong_type_is_a_type_error_that_names_it(model, calibration, name, value):
    with pytest.raises(TypeError, match=name):
        cet.plan(model, calibration, **{"target_bits": 3, **QUICK, name: value} if name != "target_ratio" else {name: value})


SIZES = {
    "40kB": 40_000, "40 KB": 40_000, "0.5MiB": 524_288, "1.5gb": 1_500_000_000, "1GiB": 2**30, "123": 123, "7b": 7, "4e4": 40_000,
    ".5MB": 500_000,
}


@pytest.mark.parametrize("text, bytes", SIZES.items())
def test_byte_sizes_with_units_are_numbers_of_bytes(text, bytes):
    assert grammar.byte_size("target_size", text) == bytes


@pytest.mark.parametrize("text", ["", "MB", "12XB", "-3kB", "0", "nan", "inf", "1_000", "12MB!", "1e40", "٣MB"])
def test_byte_sizes_of_other_forms_are_refused(text):
    with pytest.raises(cet.InvalidArgument, match="target_size"):
        grammar.byte_size("target_size", text)


def test_bits_patterns_and_rules_have_the_tools_forms():
    assert grammar.bits_mask("2,3,4") == grammar.bits_mask([2, 3, 4]) == grammar.bits_mask(np.array([2, 3, 4])) == 0b11100
    assert grammar.bits_mask(3) == grammar.bits_mask("3") == grammar.bits_mask(np.int64(3)) == 8
    assert grammar.pattern_list("keep", "*.bias") == ["*.bias"] and grammar.pattern_list("keep", None) == []
    assert grammar.fix_rules({"x": 4}) == grammar.fix_rules("x=4") == grammar.fix_rules(["x=4"]) == [("x", 4)]
    assert grammar.fix_rules("a=b=4") == [("a=b", 4)]
    assert grammar.bit_limits(3, "min_bits") == grammar.bit_limits("3", "min_bits") == [("*", 3)]
    assert grammar.bit_limits(["3", "fc*=4"], "min_bits") == [("*", 3), ("fc*", 4)]
    assert grammar.bit_limits({"a": 2}, "max_bits") == [("a", 2)] and grammar.bit_limits(None, "max_bits") == []
    with pytest.raises(cet.InvalidArgument, match="max_bits '9'"):
        grammar.bit_limits("9", "max_bits")
    for wrong in ("2,,3", "0", "9", "2 3", "two"):
        with pytest.raises(cet.InvalidArgument, match="bits"):
            grammar.bits_mask(wrong)
    for wrong in ("x", "=4", "x=9", "x=four", "x=44"):
        with pytest.raises(cet.InvalidArgument, match="fix"):
            grammar.fix_rules(wrong)


def test_strings_mean_to_the_package_what_they_mean_to_the_tool(model, digits, tool, tmp_path):
    """The judge is the tool: the same words give the same plan."""
    name = model.parameters[0].name
    run = tool(
        "plan", digits / "model.onnx", "--data", digits / "calibration.npz", "-o", tmp_path / "p.json", "--target-size", "40.5kB", "--bits",
        "2,3,4,8", "--keep", name, "--fix", "fc1*=8", "--method", "mckp", "--rounding", "nearest", "--samples", 32, "--max-memory", "1GB",
        "--quiet")
    assert run.returncode == 0, run.stderr
    data = cet.Calibration.from_npz(digits / "calibration.npz")
    made = cet.plan(
        model, data, target_size="40.5kB", bits="2,3,4,8", keep=name, fix="fc1*=8", max_memory="1GB", **QUICK)
    assert json.loads(made.to_json()) == json.loads((tmp_path / "p.json").read_text())
    assert made.bits[name] == 32 and made.bits["fc1.weight"] == 8 and made.summary.file_bytes <= 40_500


def test_package_and_a_program_without_mistakes_pass_mypy_and_typos_do_not(root, tmp_path):
    pytest.importorskip("mypy")
    good = """
import cet
from typing import List

model = cet.Model("m.onnx")
data = cet.Calibration.from_batches([{"input": [[1.0]]}], samples=3)
plan = cet.plan(model, data, target_size="12MB", bits=[2, 3], keep="*.bias", fix={"fc*": 4}, method="cet", progress=True)
again = plan.replan(model, target_ratio=8, fix=["fc*=4"])
session = cet.Session(model, data, target_ratio=11, progress=lambda phase, done, total: None)
small = session.quantize(session.plan(max_loss=0.1, encoding="qdq"), rounding="gptq")
bits: List[int] = list(plan.bits.values())
hessian = cet.Hessian(model, data, max_memory="2GB")
first = float(cet.eigsh(hessian, k=3, which="LA").eigenvalues[0])
value, error = cet.trace(lambda v: 2 * v, n=10, method="hutch++")
figure = plan.plot()
"""
    mistakes = {
        'cet.plan(model, data, target_ration=8)': "target_ration",
        'cet.plan(model, data, target_ratio=8, method="hawk")': "method",
        'session.plan(target_ratio="8")': "target_ratio",
        'plan.replan(model, target_bit=3)': "target_bit",
        'cet.quantize(model, data, plan, rounding="near")': "rounding",
        'cet.eigsh(hessian, which="largest-first")': "which",
    }
    program = tmp_path / "program.py"
    program.write_text(good)
    typos = tmp_path / "typos.py"
    typos.write_text(good + "\n".join(mistakes) + "\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-color-output", "--no-error-summary"]
    environment = dict(os.environ, MYPYPATH=str(root / "bindings" / "python"))

    def check(*paths):
        return subprocess.run(
            [*command, "--cache-dir", str(tmp_path / "cache"), *map(str, paths)], capture_output=True, text=True, env=environment, timeout=280)

    clean = check(program, root / "bindings" / "python" / "cet")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    found = check(typos)
    lines = [line for line in found.stdout.splitlines() if ": error:" in line]
    start = good.count("\n") + 1
    for number, (text, name) in enumerate(mistakes.items(), start):
        assert any(f"typos.py:{number}:" in line and name in line for line in lines), (text, found.stdout)
    assert len(lines) == len(mistakes), found.stdout


def test_progress_true_shows_a_bar_for_every_phase(model, calibration, capsys):
    pytest.importorskip("tqdm")
    cet.plan(model, calibration, target_bits=3, progress=True, **QUICK)
    shown = capsys.readouterr().err
    assert "prepare" in shown and "allocate" in shown


def test_progress_true_is_that_of_threads_each(model, calibration, capsys):
    pytest.importorskip("tqdm")
    with ThreadPoolExecutor(2) as pool:
        plans = list(pool.map(lambda _: cet.plan(model, calibration, target_bits=3, progress=True, **QUICK).to_json(), range(2)))
    assert plans[0] == plans[1]


def test_progress_true_without_tqdm_says_so_and_goes_on(model, calibration, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.warns(UserWarning, match="pip install tqdm"):
        assert cet.plan(model, calibration, target_bits=3, progress=True, **QUICK).tensors


def test_progress_true_may_be_interrupted(model, calibration, monkeypatch):
    """An exception in the bar itself cancels the call, as one in any other callback does."""
    pytest.importorskip("tqdm")
    from cet.progress import Bar

    def fail(*_):
        raise LookupError("terminal gone")

    monkeypatch.setattr(Bar, "__call__", fail)
    with pytest.raises(LookupError, match="terminal gone"):
        cet.plan(model, calibration, target_bits=3, progress=True, **QUICK)
