#!/usr/bin/env python3
"""Prints the tool's manual page, made of what the tool says of itself: tools/manual.py build/bin/cet-onnx >docs/cet-onnx.1"""

import json
import re
import subprocess
import sys


def roff(text):
    """Text with what troff would take for its own marked; double spaces and line ends are no matter."""
    text = " ".join(text.replace("\\", "\\e").replace("-", "\\-").split())
    return "\\&" + text if text[:1] in (".", "'") else text


def words(argument):
    """How an argument is written."""
    value = f"\\fI{roff(argument.get('valueName') or argument.get('preferredName', {}).get('name', ''))}\\fR"
    if argument["kind"] == "positional":
        return value
    names = [("-" if name["kind"] == "short" else "--") + name["name"] for name in argument["names"]]
    names = ", ".join(f"\\fB{roff(name)}\\fR" for name in names)
    return names if argument["kind"] == "flag" else f"{names} {value}"


def described(argument):
    text = roff(argument.get("abstract", ""))
    values = argument.get("allValues") or argument.get("allValueStrings")
    if values:
        text += f" Values: {roff(', '.join(values))}."
    return f".TP\n{words(argument)}\n{text}"


def shown(command):
    return [argument for argument in command.get("arguments", []) if argument.get("shouldDisplay", True)]


def own(command):
    """What is not told once for all commands."""
    return [argument for argument in shown(command) if {name["name"] for name in argument.get("names", [])} & {"help", "version"} == set()]


def page(tool):
    commands = [command for command in tool["subcommands"] if command["commandName"] != "help"]
    lines = ['.TH CET\\-ONNX 1 "" "libcet" "User commands"', ".SH NAME"]
    lines += ["cet\\-onnx \\- compress the weights of an ONNX model to 1 to 8 bits a weight", ".SH SYNOPSIS"]
    for index, command in enumerate(commands):
        required = [words(argument) for argument in own(command) if argument["kind"] == "positional" or not argument["isOptional"]]
        lines += ([".br"] if index else []) + [f"\\fBcet\\-onnx {command['commandName']}\\fR [\\fIoptions\\fR] " + " ".join(required)]
    lines += [
        ".SH DESCRIPTION",
        "Chooses bits for every weight tensor of a model so that a size target is met with the least loss, and writes a small ONNX",
        "file that a stock runtime opens.", ".PP", roff(tool["discussion"])]
    for command in commands:
        lines += [f".SH {roff(command['commandName']).upper()}", roff(command["abstract"])]
        lines += [described(argument) for argument in own(command)]
    lines += [
        ".SH PATTERNS",
        "A pattern stands for weight tensors: * for any run of characters, ? for one. It looks at the names of initializers and of",
        "the nodes that read them; with \\fBname:\\fR in front at initializers alone, with \\fBnode:\\fR at nodes alone, with \\fBop:\\fR at",
        "the operators of these nodes, as in \\fBop:MatMul\\fR. One that matches nothing is an error.",
        ".SH EXIT STATUS",
        "0 success, 2 bad usage, 130 and 143 after Ctrl\\-C and SIGTERM, 1 any other failure, with a line on standard error. A failed or",
        "interrupted run leaves no output.",
        ".SH EXAMPLES", ".nf",
        "cet\\-onnx compress model.onnx small.onnx \\-\\-data calibration.npz \\-\\-target\\-ratio 11",
        "cet\\-onnx compress model.onnx small.onnx \\-\\-data calibration.npz \\-\\-target\\-size 12MB \\-\\-keep\\-op Gather \\-\\-group auto \\-\\-dry\\-run",
        "cet\\-onnx sweep model.onnx \\-\\-data calibration.npz \\-\\-ratios 8,11,16 \\-o results",
        "cet\\-onnx why fc1.weight plan.json", ".fi"]
    return "\n".join(re.sub(r" +$", "", line) for line in lines) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    told = subprocess.run([sys.argv[1], "--experimental-dump-help"], capture_output=True, text=True, check=True).stdout
    sys.stdout.write(page(json.loads(told)["command"]))
