"""Wrong command lines: each is answered in a line or two that name the mistake, with its exit code and no file."""

import json
import re

import pytest

GOOD = ["compress", "M", "out.onnx", "--data", "D", "--target-ratio", "11"]

# Command line (M and D stand for the bundled model and its data), exit code, what the answer names.
WRONG = {
    "command mistyped": (["compres", "M", "o.onnx"], 2, ["unknown command 'compres'", "did you mean 'compress'"]),
    "command transposed": (["isnpect", "M"], 2, ["'isnpect'", "'inspect'"]),
    "command shortened": (["spec", "M"], 2, ["'spec'", "'spectrum'"]),
    "command unlike any": (["frobnicate"], 2, ["'frobnicate'", "compress", "check"]),
    "option mistyped": ([*GOOD, "--methd", "cet"], 2, ["'--methd'", "'--method'"]),
    "option in another style": ([*GOOD, "--max_memory", "1GB"], 2, ["'--max_memory'", "'--max-memory'"]),
    "option of another command": (["inspect", "M", "--report", "r.html"], 2, ["'--report'"]),
    "option unknown": ([*GOOD, "--colour"], 2, ["'--colour'"]),
    "option without its value": (["compress", "M", "out.onnx", "--data", "D", "--target-ratio"], 2, ["'--target-ratio"]),
    "method mistyped": ([*GOOD, "--method", "mkcp"], 2, ["'mkcp'", "'--method", "'mckp'?"]),
    "loss mistyped": ([*GOOD, "--loss", "crossentropy"], 2, ["'crossentropy'", "'--loss", "'cross-entropy'?"]),
    "rounding mistyped": ([*GOOD, "--rounding", "nearset"], 2, ["'nearset'", "'nearest'?"]),
    "encoding unknown": ([*GOOD, "--encoding", "zip"], 2, ["'zip'", "planes", "qdq", "float"]),
    "granularity bad": ([*GOOD, "--granularity", "block:0"], 2, ["'block:0'", "block:N"]),
    "bits out of range": ([*GOOD, "--bits", "2,9"], 2, ["'2,9'", "1 to 8"]),
    "fix bits out of range": ([*GOOD, "--fix", "fc*=0"], 2, ["'fc*=0'", "1 to 8"]),
    "ratio negative": (["compress", "M", "out.onnx", "--data", "D", "--target-ratio", "-3"], 2, ["--target-ratio", "-3", "positive"]),
    "ratio hexadecimal": (["compress", "M", "out.onnx", "--data", "D", "--target-ratio", "0x11"], 2, ["'0x11'", "expected a number"]),
    "ratios twice": (["sweep", "M", "--data", "D", "--ratios", "8,8", "-o", "out"], 2, ["'8,8'", "--ratios", "8 is there twice"]),
    "methods of a report": ([*GOOD, "--report", "r.html", "--report-methods", "cet,foo"], 2, ["'foo'", "uniform", "hawq-v2"]),
    "ratio no number": (["compress", "M", "out.onnx", "--data", "D", "--target-ratio", "many"], 2, ["'many'", "--target-ratio"]),
    "size in odd units": (["compress", "M", "out.onnx", "--data", "D", "--target-size", "12parsecs"], 2, ["'12parsecs'", "KiB"]),
    "size hexadecimal": (["compress", "M", "out.onnx", "--data", "D", "--target-size", "0x1MB"], 2, ["'0x1MB'", "--target-size"]),
    "threads none": ([*GOOD, "--threads", "0"], 2, ["'0'", "--threads", "1 to 1024"]),
    "samples negative": ([*GOOD, "--samples", "-5"], 2, ["'-5'", "--samples", "1 or more"]),
    "bits negative": ([*GOOD, "--bits", "-1"], 2, ["'-1'", "--bits", "expected widths of 1 to 8 bits"]),
    "ratios negative": (["sweep", "M", "--data", "D", "--ratios", "-1", "-o", "out"], 2, ["'-1'", "--ratios", "greater than 0"]),
    "seed negative": ([*GOOD, "--seed", "-1"], 2, ["'-1'", "--seed", "expected a whole number of 0 or more"]),
    "shifts too many": ([*GOOD, "--shifts", "99"], 2, ["'99'", "--shifts", "expected a whole number of 0 to 64"]),
    "activations odd": ([*GOOD, "--activations", "5"], 2, ["'5'", "--activations", "expected 8, 4, mixed"]),
    "pairs negative": (["spectrum", "M", "--data", "D", "-k", "-1"], 2, ["'-1'", "-k", "1 or more"]),
    "no target": (["compress", "M", "out.onnx", "--data", "D"], 2, ["--target-ratio", "--max-loss"]),
    "two targets": ([*GOOD, "--target-bits", "3"], 2, ["--target-ratio and --target-bits"]),
    "no data": (["compress", "M", "out.onnx", "--target-ratio", "11"], 2, ["--data"]),
    "no output": (["compress", "M"], 2, ["<out.onnx>"]),
    "no output option": (["plan", "M", "--data", "D", "--target-ratio", "9"], 2, ["--output"]),
    "an argument too many": ([*GOOD, "more.onnx"], 2, ["'more.onnx'"]),
    "ratios bad": (["sweep", "M", "--data", "D", "--ratios", "8,,9", "-o", "out"], 2, ["'8,,9'", "--ratios"]),
    "data and a former plan": (
        ["plan", "M", "--data", "D", "--from", "p.json", "--target-ratio", "9", "-o", "q.json"], 2, ["--data or --from"]),
    "plan and target": ([*GOOD, "--plan", "p.json"], 2, ["--target-ratio", "--plan"]),
    "tolerance alone": (["check", "M", "--tolerance", "1e-3"], 2, ["--tolerance", "--against"]),
    "comparison without data": (["check", "M", "--against", "M"], 2, ["--against", "--data"]),
    "probes alone": (["spectrum", "M", "--data", "D", "--probes", "8"], 2, ["--probes", "--trace", "--density"]),
    "both on standard output": (["compress", "M", "-", "--data", "D", "--target-ratio", "11", "--json"], 2, ["--json", "'-'"]),
    "both from standard input": (["compress", "-", "o.onnx", "--data", "-", "--target-ratio", "11"], 2, ["the model and --data"]),
    "sweep to standard output": (["sweep", "M", "--data", "D", "--ratios", "8", "-o", "-"], 2, ["--output", "'-'"]),
    "model missing": (["inspect", "nowhere.onnx"], 1, ["'nowhere.onnx'", "No such file"]),
    "model is a folder": (["inspect", "."], 1, ["'.'", "directory"]),
    "data missing": (["compress", "M", "o.onnx", "--data", "nowhere.npz", "--target-ratio", "11"], 1, ["'nowhere.npz'"]),
    "plan missing": (["compress", "M", "o.onnx", "--data", "D", "--plan", "nowhere.json"], 1, ["'nowhere.json'"]),
    "output folder missing": (["compress", "M", "no/o.onnx", "--data", "D", "--target-ratio", "11"], 1, ["'no/o.onnx'"]),
    "output is a folder": (["compress", "M", ".", "--data", "D", "--target-ratio", "11"], 1, ["'.'", "folder"]),
    "output is a device": (["plan", "M", "--data", "D", "--target-ratio", "9", "-o", "/dev/null"], 1, ["'/dev/null'", "device"]),
    "pattern matches nothing": ([*GOOD, "--keep", "nothing*"], 1, ["'nothing*'"]),
    "loss output unknown": ([*GOOD, "--loss-output", "nowhere"], 1, ["'nowhere'", "'logits'"]),
    "tensor unknown": (["spectrum", "M", "--data", "D", "--tensor", "nothing"], 1, ["'nothing'"]),
    "keep operator unknown": ([*GOOD, "--keep-op", "LSTM"], 1, ["'op:LSTM'", "'Conv'"]),
    "node pattern matches nothing": ([*GOOD, "--keep", "node:/l9/*"], 1, ["'node:/l9/*'", "'/stem/Conv'"]),
    "fewest bits out of range": ([*GOOD, "--min-bits", "9"], 2, ["'9'", "--min-bits", "1 to 8"]),
    "fewest bits no number": ([*GOOD, "--min-bits", "fc*=many"], 2, ["'fc*=many'", "--min-bits"]),
    "fewest above most bits": ([*GOOD, "--min-bits", "fc1*=5", "--max-bits", "4"], 1, ["min_bits 'fc1*'=5", "max_bits '*'=4", "'fc1.weight'"]),
    "most bits out of range": ([*GOOD, "--max-bits", "*=0"], 2, ["'*=0'", "--max-bits"]),
    "group matches nothing": ([*GOOD, "--group", "q_*"], 1, ["group pattern 'q_*'"]),
    "group of method paper": ([*GOOD, "--method", "paper", "--group", "fc*"], 1, ["group", "'paper'"]),
    "group without bits in common": (
        [*GOOD, "--group", "fc*", "--fix", "fc1*=3", "--fix", "fc2*=8"], 1, ["'fc1.weight'", "'fc2.weight'", "in common"]),
    "dry run with a report": ([*GOOD, "--dry-run", "--report", "r.html"], 2, ["--report", "--dry-run"]),
    "dry run that resumes": ([*GOOD, "--dry-run", "--resume", "s.state"], 2, ["--resume", "--dry-run"]),
    "resume without planning": (["compress", "M", "o.onnx", "--data", "D", "--plan", "p.json", "--resume", "s"], 2, ["--resume", "--plan"]),
    "resume for a loss limit": (["compress", "M", "o.onnx", "--data", "D", "--max-loss", "1", "--resume", "s"], 2, ["--resume", "--max-loss"]),
    "resume from standard input": ([*GOOD, "--resume", "-"], 2, ["--resume", "'-'"]),
    "resume to another file's place": ([*GOOD, "--resume", "out.onnx"], 2, ["--resume", "the same file"]),
    "minimum runtime unknown": ([*GOOD, "--min-runtime", "tensorrt-10"], 1, ["tensorrt-10"]),
    "runtime without data": (["check", "M", "--runtime"], 2, ["--runtime", "--data"]),
    "runtime from standard input": (["check", "-", "--data", "D", "--runtime"], 2, ["--runtime", "'-'"]),
    "why without a plan": (["why", "fc1.weight"], 2, ["<plan.json>"]),
    "why of no plan": (["why", "fc1.weight", "D"], 1, ["calibration.npz", "UTF-8"]),
    "diff of one plan": (["diff", "p.json"], 2, ["<b.json>"]),
    "diff with a plan missing": (["diff", "p.json", "q.json"], 1, ["'p.json'"]),
    "diff both from standard input": (["diff", "-", "-"], 2, ["a.json and b.json"]),
    "spectrum file is none": (["spectrum", "M", "--data", "D", "--initial", "D"], 1, ["spectrum file"]),
}


def answer(tool, digits, tmp_path, case, more=()):
    arguments, code, words = WRONG[case]
    places = {"M": digits / "model.onnx", "D": digits / "calibration.npz"}
    run = tool(*[places.get(argument, argument) for argument in arguments], *more, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    return run, code, words


@pytest.mark.parametrize("case", WRONG)
def test_wrong_command_line_is_answered_in_two_lines(tool, digits, tmp_path, case):
    run, code, words = answer(tool, digits, tmp_path, case)
    assert run.returncode == code, run.stderr
    assert ("--json" in WRONG[case][0]) == bool(run.stdout)
    lines = run.stderr.splitlines()
    assert lines and lines[0].startswith("cet-onnx: ") and len(lines) == (1 if code == 1 else 2), run.stderr
    for word in words:
        assert word in run.stderr


@pytest.mark.parametrize("case", [case for case in WRONG if "option" not in case and "plan missing" not in case])
def test_wrong_command_line_with_json_prints_one_document(tool, digits, tmp_path, case):
    run, code, words = answer(tool, digits, tmp_path, case, ["--json"])
    document = json.loads(run.stdout)
    assert run.returncode == document["exit_code"] == code
    assert run.stderr.splitlines()[0] == f"cet-onnx: {document['error']}"


def test_json_failure_says_the_librarys_status(tool, digits, tmp_path):
    run = tool(
        "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--target-ratio", 99,
        "--json")
    document = json.loads(run.stdout)
    assert document["command"] == "compress" and document["status"] == "infeasible budget"
    assert "99" in document["error"] and run.returncode == document["exit_code"] == 1


def test_help_names_the_memory_that_a_run_takes_unless_it_is_told(tool, root):
    """The header's words for the same defaults: of planning, and of curvature."""
    header = " ".join((root / "include" / "cet" / "cet.h").read_text().split())
    planning, curvature = (
        re.search(r"uint64_t max_memory; /\* (.*?) \*/", header[header.index(f"typedef struct {name}"):]).group(1)
        for name in ("cet_plan_options", "cet_curvature_options"))
    assert "beyond model and calibration" in planning and "0: what is available" in planning
    assert "0: 60 % of what is available" in curvature
    for command in ("compress", "plan", "sweep", "spectrum"):
        text = " ".join(tool(command, "--help").stdout.split())
        assert "beyond model and data, with spectrum all of them" in text
        assert "(default: what is available, with spectrum 60 % of that)" in text
