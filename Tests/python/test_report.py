"""Reports: one page that needs nothing else, whose figures and tables have the plan's numbers."""

import hashlib
import html.parser
import json
import re

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import cet

VOID = {"meta", "input", "link", "br", "hr", "img"}


class Element:
    def __init__(self, name, attributes, parent):
        self.name, self.attributes, self.parent, self.children, self.texts = name, attributes, parent, [], []

    @property
    def text(self):
        return "".join(part if isinstance(part, str) else part.text for part in self.texts)

    def all(self, name):
        for child in self.children:
            if child.name == name:
                yield child
            yield from child.all(name)

    def by_id(self, name):
        found = [element for element in self.everything() if element.attributes.get("id") == name]
        assert len(found) == 1, f"{len(found)} elements have the id {name}"
        return found[0]

    def everything(self):
        for child in self.children:
            yield child
            yield from child.everything()


class Page(html.parser.HTMLParser):
    """A tree of the page; every element must be closed where it was opened."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.root = self.open = Element("", {}, None)
        self.feed(self.source)
        self.close()
        assert self.open is self.root, f"<{self.open.name}> is never closed"

    def handle_starttag(self, tag, attributes):
        assert len({name for name, _ in attributes}) == len(attributes), f"<{tag}> has an attribute twice"
        element = Element(tag, dict(attributes), self.open)
        self.open.children.append(element)
        self.open.texts.append(element)
        if tag not in VOID:
            self.open = element

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open = self.open.parent

    def handle_endtag(self, tag):
        assert self.open.name == tag, f"</{tag}> closes <{self.open.name}>"
        self.open = self.open.parent

    def handle_data(self, data):
        self.open.texts.append(data)

    @property
    def sections(self):
        return [section.attributes["id"] for section in self.root.all("section")]

    def rows(self, section):
        """Cells of the table of numbers beneath a figure."""
        table = next(self.root.by_id(section).all("tbody"))
        return [[(cell.text, cell.attributes.get("data-v")) for cell in row.children] for row in table.all("tr")]


@pytest.fixture(scope="module")
def compressed(tmp_path_factory, tool, digits):
    """A report with everything: the page, and the document of the same run."""
    folder = tmp_path_factory.mktemp("report")
    run = tool(
        "compress", digits / "model.onnx", folder / "small.onnx", "--data", digits / "calibration.npz", "--target-ratio", 11,
        "--report", folder / "r.html", "--report-spectrum", 6, "--report-methods", "mckp,uniform", "--json")
    assert run.returncode == 0, run.stderr
    return Page(folder / "r.html"), json.loads(run.stdout), folder


def test_report_isOnePage_withoutReferences(compressed):
    page, _, _ = compressed
    assert page.source.startswith("<!DOCTYPE html>")
    for outside in ("http://", "https://", "src=", "<link", "@import", "url("):
        assert outside not in page.source
    ids = [element.attributes["id"] for element in page.root.everything() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for link in page.root.all("a"):
        assert link.attributes["href"].startswith("#") and link.attributes["href"][1:] in ids


def test_report_withSpectrum_hasEveryFigure(compressed):
    page, _, _ = compressed
    assert page.sections == [
        "size-loss", "prediction", "agreement", "share", "depth", "theory", "gap", "spectrum", "density", "surface", "eigenpairs",
        "interactions", "tensors", "sensitivity", "about"]
    for figure in page.root.all("figure"):
        drawings = list(figure.all("svg"))
        assert [drawing.attributes["class"] for drawing in drawings] == ["wide", "narrow"]
        for drawing in drawings:
            assert drawing.attributes["role"] == "img" and drawing.attributes["aria-label"] and drawing.attributes["tabindex"] == "0"
            for element in drawing.everything():
                assert not any(re.search(r"\b(nan|inf)\b", value) for value in element.attributes.values() if value), element.attributes


def test_report_coordinates_lieWithinTheirDrawing(compressed):
    page, _, _ = compressed
    for drawing in page.root.all("svg"):
        _, _, width, height = map(float, drawing.attributes["viewbox"].split())
        for element in drawing.everything():
            for name, limit in (("x", width), ("cx", width), ("x1", width), ("x2", width), ("y", height), ("y1", height), ("y2", height)):
                if name in element.attributes:
                    assert -1 <= float(element.attributes[name]) <= limit + 1, (element.name, element.attributes)


def test_report_tensorTable_equalsPlan(compressed):
    page, document, _ = compressed
    rows = list(next(page.root.by_id("table").all("tbody")).all("tr"))
    assert len(rows) == len(document["plan"]["tensors"])
    for row, tensor in zip(rows, document["plan"]["tensors"]):
        cells = row.children
        assert tensor["name"] in cells[1].text and tensor["node"] in cells[1].text and tensor["operator"] in cells[1].text
        assert cells[2].text == str(tensor["bits"]) and cells[3].text == tensor["coding"]
        assert cells[4].text == "×".join(map(str, tensor["shape"])) and float(cells[5].attributes["data-v"]) == np.prod(tensor["shape"])
        assert float(cells[6].attributes["data-v"]) == tensor["stored_bytes"]
        assert float(cells[7].attributes["data-v"]) == tensor["predicted_loss_change"]


def test_report_why_tellsNeighbouringWidthsOfTheTable(compressed):
    page, document, _ = compressed
    tensors = document["plan"]["tensors"]
    total = sum(tensor["sensitivity"][str(tensor["bits"])] for tensor in tensors)
    for row, tensor in zip(next(page.root.by_id("table").all("tbody")).all("tr"), tensors):
        widths = sorted(map(int, tensor["sensitivity"]))
        at = widths.index(tensor["bits"])
        here = tensor["sensitivity"][str(tensor["bits"])]
        for cell, neighbour in ((row.children[8], widths[at - 1] if at else None), (row.children[9], (widths + [None])[at + 1])):
            if neighbour is None:
                assert cell.attributes["data-v"] == ""
                continue
            expected = (tensor["sensitivity"][str(neighbour)] - here) / total
            assert float(cell.attributes["data-v"]) == pytest.approx(expected, rel=1e-9)
            assert f"{neighbour} bit" in row.children[10].text


def test_report_front_isWhatPlanningFromTheTableGives(compressed, model):
    page, document, _ = compressed
    plan = cet.Plan.from_json(json.dumps(document["plan"]))
    front = [row for row in page.rows("size-loss") if row[0][0] == "front"]
    losses = [float(row[3][1]) for row in front]
    assert len(front) > 20 and losses == sorted(losses, reverse=True)
    for row in front[:: max(1, len(front) // 5)]:
        again = plan.replan(model, target_bits=float(row[2][1]))
        assert again.summary.file_bytes == float(row[1][1])
        assert again.predicted_loss_change == pytest.approx(float(row[3][1]), rel=1e-9)
    names = {row[0][0] for row in page.rows("size-loss")}
    assert {"this plan", "mckp", "uniform", "2 bits everywhere", "4 bits everywhere"} <= names
    chosen = next(row for row in page.rows("size-loss") if row[0][0] == "this plan")
    assert float(chosen[1][1]) == document["bytes"]["file"] and float(chosen[3][1]) == document["predicted_loss_change"]
    # No plan of the same table lies below the front.
    for row in page.rows("size-loss"):
        if "everywhere" in row[0][0]:
            better = [float(other[3][1]) for other in front if float(other[1][1]) <= float(row[1][1])]
            assert not better or min(better) <= float(row[3][1]) * (1 + 1e-9)


def test_report_wholePlanLosses_areThoseOfTheRun(compressed):
    page, document, _ = compressed
    rows = {row[0][0].strip(): row for row in page.rows("prediction")}
    assert float(rows["predicted"][2][1]) == document["predicted_loss_change"]
    assert [float(rows["predicted"][place][1]) for place in (3, 4)] == document["predicted_loss_interval"]
    assert float(rows["held out"][2][1]) == document["held_out_loss"]
    assert float(rows["fitted"][2][1]) == document["measured_loss"]
    for name, member in (("sum, measured", "measured_loss"), ("sum, curvature", "curvature_loss")):
        expected = sum(tensor[member][str(tensor["bits"])] for tensor in document["plan"]["tensors"])
        assert float(rows[name][2][1]) == pytest.approx(expected)


def test_report_theory_hasEveryTensorAndWidth(compressed):
    page, document, _ = compressed
    expected = {
        (tensor["name"], bits, tensor["curvature_loss"][bits], tensor["measured_loss"][bits])
        for tensor in document["plan"]["tensors"] for bits in tensor["curvature_loss"]
        if tensor["curvature_loss"][bits] > 0 and tensor["measured_loss"].get(bits, 0) > 0}
    found = {(row[0][0], row[1][0], float(row[2][1]), float(row[3][1])) for row in page.rows("theory")}
    assert found == expected and found


def test_report_agreement_isThatOfOnnxruntime(compressed, digits):
    page, document, folder = compressed
    import onnxruntime

    samples = np.load(digits / "calibration.npz")
    name = onnx.load(digits / "model.onnx").graph.input[0].name
    count = min(256, len(samples[name]))
    before, after = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {name: samples[name][:count]})[0].astype(float)
        for path in (digits / "model.onnx", folder / "small.onnx"))
    (row,) = page.rows("agreement")
    assert float(row[1][1]) == pytest.approx((before.argmax(1) == after.argmax(1)).mean(), abs=1.01 / count)
    assert float(row[2][1]) == pytest.approx(abs(before - after).max(), rel=1e-3)
    assert float(row[4][1]) == pytest.approx((before * after).sum() / np.sqrt((before**2).sum() * (after**2).sum()), rel=1e-5)


def test_report_spectrum_isThatOfTheHessian(compressed, model, calibration):
    page, document, folder = compressed
    hessian = cet.Hessian(model, calibration, loss="kl", samples=64)
    expected = cet.eigsh(hessian, k=6, tolerance=1e-4).eigenvalues
    found = [float(row[1][1]) for row in page.rows("spectrum")]
    assert sorted(found, key=abs) == pytest.approx(sorted(expected, key=abs), rel=2e-2)
    # ½ δᵀHδ of the written weights, and what the pairs hold of it.
    plan = cet.Plan.from_json(json.dumps(document["plan"]))
    small = cet.quantize(model, calibration, plan)
    delta = np.concatenate([small[p.name].dequantize().ravel() for p in model.parameters]) - model.parameter_vector()
    whole = 0.5 * delta @ (hessian @ delta)
    rows = {row[0][0].strip(): row for row in page.rows("prediction")}
    assert float(rows["½ δᵀHδ"][2][1]) == pytest.approx(whole, rel=1e-3)
    sums = [float(row[1][1]) for row in page.rows("eigenpairs")]
    shares = [float(row[3][1]) for row in page.rows("spectrum")]
    assert sums == pytest.approx(np.cumsum([0, *shares])) and 0 < sums[-1] <= whole * 1.01


def test_report_about_hasCommandLineDigestsAndSeed(compressed, digits):
    page, document, folder = compressed
    about = page.root.by_id("about").text
    for text in ("cet-onnx compress", "--report-spectrum 6", document["plan"]["model"]["sha256"], document["plan"]["library_version"],
                 hashlib.sha256((folder / "small.onnx").read_bytes()).hexdigest()):
        assert text in about


def test_report_ofPlan_hasNoMeasurements(tool, digits, tmp_path):
    run = tool(
        "plan", digits / "model.onnx", "--data", digits / "calibration.npz", "--target-ratio", 11, "--samples", 48, "--shifts", 0, "--effort", "low",
        "-o", tmp_path / "p.json", "--report", tmp_path / "r.html")
    assert run.returncode == 0, run.stderr
    sections = Page(tmp_path / "r.html").sections
    assert {"size-loss", "prediction", "depth", "theory", "tensors"} <= set(sections) and "agreement" not in sections


def test_report_ofSweep_comparesRatios(tool, digits, tmp_path):
    run = tool(
        "sweep", digits / "model.onnx", "--data", digits / "calibration.npz", "--ratios", "8,11", "--samples", 48, "--shifts", 0, "--effort", "low",
        "-o", tmp_path / "out", "--report", tmp_path / "r.html", "--json")
    assert run.returncode == 0, run.stderr
    page = Page(tmp_path / "r.html")
    assert page.sections[0] == "results" and {"size-loss", "prediction", "agreement", "depth", "tensors"} <= set(page.sections)
    for row, result in zip(page.rows("results"), json.loads(run.stdout)["results"]):
        assert float(row[2][1]) == result["bytes"]["file"] and float(row[5][1]) == result["held_out_loss"]
    assert [row[0][0] for row in page.rows("size-loss")[:2]] == ["8×", "11×"]


def test_report_ofCheck_tellsAgreementAndBits(tool, digits, tmp_path, compressed):
    _, document, folder = compressed
    arguments = ("check", folder / "small.onnx", "--against", digits / "model.onnx", "--data", digits / "calibration.npz")
    run = tool(*arguments, "--report", tmp_path / "r.html", "--json")
    assert run.returncode == 0, run.stderr
    page = Page(tmp_path / "r.html")
    output = json.loads(run.stdout)["outputs"][0]
    (row,) = page.rows("agreement")
    assert float(row[1][1]) == output["top1_agreement"] and float(row[4][1]) == output["cosine"]
    assert [(row[0][0], row[1][0]) for row in page.rows("weights")] == [
        (f"{tensor['node']} · {tensor['operator']}{tensor['name']}", str(tensor["bits"])) for tensor in document["plan"]["tensors"]]
    (tmp_path / "foreign.html").write_text("<p>mine")
    assert tool(*arguments, "--report", tmp_path / "foreign.html").returncode == 1


def test_report_fromPython_isThatOfTheTool(digits, tmp_path, model, calibration, quantized, calibration_arrays):
    quantized.save(tmp_path / "small.onnx")
    cet.report(tmp_path / "r.html", digits / "model.onnx", quantized.plan, written=tmp_path / "small.onnx", data=calibration_arrays)
    page = Page(tmp_path / "r.html")
    assert {"size-loss", "prediction", "agreement", "depth", "theory", "tensors"} <= set(page.sections)
    chosen = next(row for row in page.rows("size-loss") if row[0][0] == "this plan")
    assert float(chosen[1][1]) == (tmp_path / "small.onnx").stat().st_size
    rows = {row[0][0].strip(): float(row[2][1]) for row in page.rows("prediction")}
    assert rows["held out"] == quantized.plan.summary.held_out_loss
    with pytest.raises(cet.CetError, match="no plan|expected|JSON|made for"):
        cet.report(tmp_path / "r.html", tmp_path / "small.onnx", quantized.plan)


def test_report_optionsWithoutReport_areRefused(tool, digits, tmp_path):
    for option in (["--report-spectrum", "4"], ["--report-methods", "mckp"]):
        run = tool(
            "compress", digits / "model.onnx", tmp_path / "x.onnx", "--data", digits / "calibration.npz", "--target-ratio", 11, *option)
        assert run.returncode == 2 and "--report" in run.stderr


def test_planTensor_namesNodeAndOperator(plan, digits):
    graph = onnx.load(digits / "model.onnx").graph
    for tensor in plan.tensors:
        node = next(node for node in graph.node if tensor.name in node.input)
        assert (tensor.node, tensor.operator) == (node.name or node.output[0], node.op_type)
    document = json.loads(plan.to_json())
    for tensor in document["tensors"]:
        del tensor["node"], tensor["operator"]
    assert {tensor.node for tensor in cet.Plan.from_json(json.dumps(document)).tensors} == {""}


def test_parameterVector_hasTheModelsWeights(model, digits):
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(digits / "model.onnx").graph.initializer}
    vector = model.parameter_vector()
    for parameter in model.parameters:
        assert np.array_equal(vector[parameter.slice], held[parameter.name].ravel())
