"""Arguments of scripts: whatever is wrong with them is said in one line, with exit code 2."""

import argparse
import math
import os


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that shows the script's own text as help and one line for a mistake."""

    def __init__(self, text):
        super().__init__(description=text, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)

    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def existing(text):
    """A file that is there."""
    if not os.path.isfile(text):
        raise argparse.ArgumentTypeError(f"no such file '{text}'")
    return text


def writable(text):
    """A path in a folder that is there."""
    folder = os.path.dirname(text) or "."
    if not os.path.isdir(folder) or os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"cannot write '{text}'")
    return text


def folder(text):
    """A folder that is there."""
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"no such folder '{text}'")
    return text


def writable_folder(text):
    """A folder that is there or can be made."""
    try:
        os.makedirs(text, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot make folder '{text}': {error.strerror}") from None
    return text


def arrays(text):
    """The path of an .npz file that can be read."""
    import numpy as np

    existing(text)
    try:
        with np.load(text) as file:
            file.files
    except Exception:
        raise argparse.ArgumentTypeError(f"'{text}' is no .npz file") from None
    return text


def count(text):
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, got '{text}'")
    return int(text)


def positive(text):
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got '{text}'")
    return number


def positives(text):
    """Numbers above 0 with commas between them."""
    return [positive(part) for part in text.split(",")]


def words(*allowed):
    """Some of these words, with commas between them."""
    def parse(text):
        for word in text.split(","):
            if word not in allowed:
                raise argparse.ArgumentTypeError(f"'{word}' is none of {', '.join(allowed)}")
        return text.split(",")
    return parse


def inputs(parser, path, names):
    """The arrays of an .npz file for these inputs of a model, and its labels if there are any."""
    import numpy as np

    with np.load(path) as file:
        for name in names:
            if name not in file.files:
                parser.error(f"'{path}' has no array '{name}' (it has {', '.join(file.files)})")
        return {name: file[name] for name in file.files if name in names or name == "labels"}


def load_model(parser, path):
    """The model, or one line about why it cannot be loaded."""
    import cet

    try:
        return cet.Model(path)
    except cet.CetError as error:
        parser.error(str(error))
