"""Results of peers as JSON and as a Markdown table.

    python3 Benchmarks/peers/table.py results.json     # the table of results that are there
"""

import json
import pathlib
import sys

HEAD = "| {}{} | file, bytes | {} | processor s | wall s | peak MB | opens in stock onnxruntime |\n|---|---|---|---|---|---|---|"


class Results:
    """Rows by model, peer and setting, kept in a file after each."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.rows = json.loads(self.path.read_text()) if self.path.exists() else []

    def has(self, model, peer, setting):
        return any((row["model"], row["peer"], row["setting"]) == (model, peer, setting) for row in self.rows)

    def put(self, model, peer, setting, text, result):
        entry = {"model": model, "peer": peer, "setting": setting, "text": text, **result}
        for index, row in enumerate(self.rows):
            if (row["model"], row["peer"], row["setting"]) == (model, peer, setting):
                self.rows[index] = entry
                break
        else:
            self.rows.append(entry)
        self.path.write_text(json.dumps(self.rows, indent=1) + "\n")


def values(row):
    return ", ".join(f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}" for value in row["values"].values())


def summary(row):
    """A result in a line."""
    if "bytes" not in row:
        return row["error"]
    parts = [f"{row['bytes']:,} bytes"]
    parts += [values(row)] if "values" in row else [row.get("error", "")]
    return ", ".join(parts)


def opens(row, original):
    if not row.get("opens"):
        return "no: " + cell(row.get("error", ""))
    if "values" not in row:
        return "yes, and fails in a run: " + cell(row.get("error", ""))
    return "yes" if row["bytes"] < 0.98 * original else "yes, but the file is no smaller"


def cell(text):
    return text.replace("|", "\\|")[:120]


def line(row, original):
    name = f"{row['peer']}: {row['text']}"
    if "bytes" not in row:
        return f"| {name} | – | {cell(row['error'])} | | | | no file |"
    cost = [f"{row['processor_seconds']:.1f}", f"{row['seconds']:.1f}", f"{row['peak_bytes'] / 1e6:.0f}"] if "seconds" in row else ["", "", ""]
    value = values(row) if "values" in row else "–"
    return f"| {name} | {row['bytes']:,} | {value} | {' | '.join(cost)} | {opens(row, original)} |"


def markdown(results):
    """A table a model, smallest files first; rows without a file last."""
    parts = []
    for model in dict.fromkeys(row["model"] for row in results.rows):
        rows = [row for row in results.rows if row["model"] == model]
        first = next(row for row in rows if row["peer"] == "float32")
        names = next((", ".join(row["values"]) for row in rows if "values" in row), "value")
        ordered = sorted(rows, key=lambda row: (row is not first, "bytes" not in row, row.get("bytes", 0)))
        counts = sorted({row["samples"] for row in rows if "samples" in row})
        samples = f" ({' or '.join(map(str, counts))} samples)" if counts else ""
        parts.append("\n".join([HEAD.format(model, samples, names), *(line(row, first["bytes"]) for row in ordered)]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(markdown(Results(sys.argv[1])), end="")
