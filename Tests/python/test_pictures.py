"""Tables and pictures of plans and spectra, and the tool's report from Python."""

import io
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import cet
from cet.plots import data


@pytest.fixture(scope="module")
def kept(model, calibration):
    """A plan with a kept and a fixed tensor."""
    return cet.plan(model, calibration, target_bits=4, samples=64, keep="fc2.weight", fix="fc1.weight=8")


@pytest.fixture(scope="module")
def spectrum():
    values = np.r_[5.0, -3.0, 2.0, 1.0, np.linspace(-0.1, 0.1, 36)].astype(np.float32)
    return cet.eigsh(lambda v: values * v, k=4, n=40)


@pytest.fixture(scope="module")
def density():
    values = np.linspace(-1, 3, 50, dtype=np.float32)
    return cet.spectral_density(lambda v: values * v, samples=4, steps=20, n=50)


class Page(HTMLParser):
    """Text, and whether tags are closed as they were opened."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.rows, self.tags = [], [], 0, set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.tags.add(tag)
        self.rows += tag == "tr"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append(text)


def test_dataframe_has_a_row_for_every_tensor_with_its_fields(kept):
    pytest.importorskip("pandas")
    frame = kept.to_dataframe()
    assert list(frame["name"]) == [tensor.name for tensor in kept.tensors]
    for (_, row), tensor in zip(frame.iterrows(), kept.tensors, strict=True):
        assert (row["bits"], row["stored_bytes"], row["decision"]) == (tensor.bits, tensor.stored_bytes, tensor.decision)
        for bits in range(1, 9):
            if f"sensitivity_{bits}" in frame:
                value = tensor.sensitivity.get(bits, math.nan)
                assert row[f"sensitivity_{bits}"] == value or math.isnan(value) and math.isnan(row[f"sensitivity_{bits}"])
    chosen = frame[frame["bits"] <= 8]
    assert chosen["stored_bytes"].sum() == kept.summary.stored_bytes


def test_dataframe_without_pandas_says_what_is_missing(kept, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="Plan.to_dataframe needs pandas: pip install pandas"):
        kept.to_dataframe()


def test_html_of_a_plan_has_every_tensor_and_no_colours_of_its_own(kept):
    text = kept._repr_html_()
    page = Page(text)
    for tensor in kept.tensors:
        assert tensor.name in page.texts
    assert set(re.findall(r"(?:color|background)[a-z-]*:([^;\"]*)", text)) == {"currentColor"}
    assert "script" not in page.tags and len(text) < 1500 * (len(kept.tensors) + 2)


def test_html_escapes_names(model, kept):
    document = kept.to_json().replace("fc1.weight", "<b>fc1&amp;")
    page = Page(cet.Plan.from_json(document)._repr_html_())
    assert "<b>fc1&amp;" in page.texts and "b" not in page.tags


def test_html_of_everything_else_is_well_formed(quantized, spectrum, model, calibration):
    assert f"{len(quantized):,}" in Page(quantized._repr_html_()).texts
    assert Page(spectrum._repr_html_()).rows == 2 + 1 + len(spectrum)
    assert f"{len(calibration):,}" in Page(cet.Session(model, calibration)._repr_html_()).texts


def test_html_of_a_large_plan_is_cut(kept):
    from cet import html

    class Large:
        summary, tensors = kept.summary, kept.tensors * 100

    page = Page(html.plan(Large()))
    assert page.rows == 4 + 1 + html.MOST_ROWS and any("more" in text for text in page.texts)


# ---- Pictures ----

matplotlib = pytest.importorskip("matplotlib")


def drawn(figure):
    """The picture as an array, of a figure that nobody else knows of."""
    from PIL import Image

    picture = Image.open(io.BytesIO(figure._repr_png_()))
    pixels = np.asarray(picture.convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    if "matplotlib.pyplot" in sys.modules:
        assert not sys.modules["matplotlib.pyplot"].get_fignums()
    return pixels


def test_picture_of_bits_has_a_bar_for_every_tensor(kept):
    figure = kept.plot()
    drawn(figure)
    bars = figure.axes[0].patches
    assert [bar.get_height() for bar in bars] == [tensor.bits if tensor.bits <= 8 else 8 for tensor in kept.tensors]
    # Exporters make up names of initializers: the nodes that read them tell more.
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [tensor.node for tensor in kept.tensors]
    assert data.titles(kept)["onnx::Conv_96"] == "/l1/c1/Conv"


@pytest.fixture(scope="module")
def small(model, calibration):
    return cet.quantize(model, calibration, cet.plan(model, calibration, target_bits=3, samples=64, keep="fc2.weight"))


@pytest.fixture(scope="module")
def hessian(model, calibration):
    return cet.Hessian(model, calibration, samples=16, loss="kl")


def test_shares_are_those_of_weights_and_bytes(small):
    rows = data.shares(small.plan)
    assert rows[-1]["bits"] is None and rows[-1]["tensors"] == 1
    assert sum(row["weights"] for row in rows) == sum(tensor.parameter_count for tensor in small.plan.tensors)
    assert sum(row["bytes"] for row in rows) == sum(tensor.stored_bytes for tensor in small.plan.tensors)
    figure = small.plan.plot("shares")
    drawn(figure)
    for line in (0, 1):
        strip = [bar for bar in figure.axes[0].patches if round(bar.get_y() + bar.get_height() / 2) == line]
        assert sum(bar.get_width() for bar in strip) == pytest.approx(1)


def test_losses_of_the_plan_are_predicted_held_out_and_fitted(small, model):
    rows = {row["name"].split(",")[0]: row for row in data.losses(small.plan)}
    total = small.plan.summary
    assert rows["predicted"]["loss"] == total.predicted_loss_change and rows["predicted"]["high"] == total.predicted_interval[1]
    assert rows["held out"]["loss"] == total.held_out_loss
    assert rows["fitted samples"]["loss"] == total.measured_loss_change
    chosen = [tensor for tensor in small.plan.tensors if tensor.bits <= 8]
    assert rows["sum"]["loss"] in (
        sum(tensor.measured_loss[tensor.bits] for tensor in chosen), sum(tensor.curvature_loss[tensor.bits] for tensor in chosen))
    figure = small.plan.plot("losses")
    drawn(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [row["name"] for row in data.losses(small.plan)]


def test_agreement_of_outputs(small, model, calibration_arrays):
    feeds = {name: values for name, values in calibration_arrays.items() if name != "labels"}
    original, compressed = cet.run(model, feeds), cet.run(cet.Model(small.to_bytes()), feeds)
    found = data.agreement(original, compressed)
    (name,) = original
    difference = np.abs(original[name].astype(np.float64) - compressed[name])
    assert found.differences == difference.max(axis=1).tolist()
    assert found.outputs[0]["top1"] == (original[name].argmax(-1) == compressed[name].argmax(-1)).mean()
    assert 0.9 < found.outputs[0]["cosine"] < 1
    figure = cet.plots.agreement(original, compressed)
    drawn(figure)
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == len(difference)
    drawn(cet.plots.agreement({"y": np.zeros(4)}, {"y": np.zeros(4)}))
    for other in ({"z": original[name]}, {name: original[name][:3]}, {}):
        with pytest.raises(cet.ShapeMismatch):
            cet.plots.agreement(original, other)


def test_eigenpairs_hold_what_their_directions_have_of_the_error(small, hessian):
    error = hessian.error(small)
    assert error.dtype == np.float32 and error.shape == (hessian.shape[0],)
    for parameter in hessian.parameters:
        part = error[parameter.slice]
        if parameter.name in small:
            place = next(each.slice for each in small._model.parameters if each.name == parameter.name)
            expected = small[parameter.name].dequantize().reshape(-1) - small._model.parameter_vector()[place]
            np.testing.assert_array_equal(part, expected)
        else:
            assert not part.any()
    found = cet.eigsh(hessian, k=4)
    rows = data.eigenpairs(found, hessian, small)
    total = 0.5 * float(error.astype(np.float64) @ (hessian @ error))
    for k in range(5):
        held = sum(
            0.5 * float(found.eigenvalues[i]) * float(found.eigenvector(i).astype(np.float64) @ error) ** 2 for i in range(k))
        assert rows[k]["loss"] == pytest.approx(held) and rows[k]["share"] == pytest.approx(held / total)
    drawn(cet.plots.eigenpairs(found, hessian, small))


def test_interactions_are_those_of_pairs(small, hessian):
    found = data.interactions(hessian, small, 3)
    assert len(found.names) == 3
    np.testing.assert_allclose(np.diag(found.scaled), 1)
    np.testing.assert_allclose(found.scaled, found.scaled.T, atol=1e-3)
    error, parts = hessian.error(small), []
    names = data.titles(small.plan)
    for parameter in hessian.parameters:
        if names.get(parameter.name) in found.names:
            part = np.zeros_like(error)
            part[parameter.slice] = error[parameter.slice]
            parts.append(part)
    product = float(parts[0] @ (hessian @ parts[1]))
    own = [float(part @ (hessian @ part)) for part in parts[:2]]
    assert found.scaled[0, 1] == pytest.approx(product / math.sqrt(own[0] * own[1]), abs=1e-3)
    figure = cet.plots.interactions(hessian, small)
    drawn(figure)
    with pytest.raises(cet.InvalidArgument, match="most: expected 2"):
        cet.plots.interactions(hessian, small, most=1)


def test_picture_of_theory_has_a_point_for_every_pair_of_losses(plan):
    points = sum(
        1 for tensor in plan.tensors for bits, loss in tensor.curvature_loss.items() if loss > 0 and tensor.measured_loss.get(bits, 0) > 0)
    figure = plan.plot("theory")
    drawn(figure)
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert sum(len(line.get_xdata()) for line in lines) == points > 10


def test_picture_of_theory_without_curvature_is_refused(model, calibration):
    bare = cet.plan(model, calibration, target_bits=3, method="hawq-v2", rounding="nearest", samples=16)
    if any(tensor.curvature_loss and tensor.measured_loss for tensor in bare.tensors):
        pytest.skip("this method has both tables")
    with pytest.raises(cet.InvalidArgument, match="hawq-v2"):
        bare.plot("theory")


def test_curve_falls_with_size_and_spans_the_budgets(plan, model):
    found = data.curve(plan, model, None)
    sizes, losses = [p["bytes"] for p in found.points], [p["loss"] for p in found.points]
    assert len(found.points) > 10 and sizes == sorted(sizes) and losses == sorted(losses, reverse=True)
    smallest = min(min(tensor.sensitivity) for tensor in plan.tensors)
    assert found.points[0]["mean_bits"] == pytest.approx(smallest, abs=0.2)
    again = plan.replan(model, target_bits=found.points[5]["mean_bits"] + 1e-9)
    assert again.summary.file_bytes == sizes[5]
    figure = cet.plots.curve(plan, model)
    drawn(figure)
    assert list(figure.axes[0].lines[0].get_xdata()) == sizes


def test_curve_out_of_reach_is_refused(plan, model):
    with pytest.raises(cet.InvalidArgument, match="no budget"):
        cet.plots.curve(plan, model, target_bits=[0.01])


def test_picture_of_a_spectrum_tells_signs_apart(spectrum, density):
    rows = data.eigenvalues(spectrum)
    assert [row["sign"] for row in rows] == ["positive", "negative", "positive", "positive"]
    figure = spectrum.plot(density)
    drawn(figure)
    assert len(figure.axes) == 2 and figure.axes[0].get_yscale() == "log"
    assert {text.get_text() for text in figure.axes[0].get_legend().get_texts()} == {"positive", "negative"}
    drawn(spectrum.plot())
    drawn(density.plot())


def test_pictures_are_drawn_into_axes_of_the_caller(plan, spectrum):
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots(1, 2)
    assert plan.plot(ax=axes[0]) is figure and spectrum.plot(ax=axes[1]) is figure
    assert axes[0].patches and axes[1].lines


def test_pictures_of_unknown_kinds_are_refused(plan):
    with pytest.raises(cet.InvalidArgument, match="none of bits, theory"):
        plan.plot("pie")
    with pytest.raises(cet.InvalidArgument, match="none of matplotlib, altair"):
        plan.plot(backend="crayons")
    with pytest.raises(cet.InvalidArgument, match="nothing to draw"):
        cet.plots.spectrum()


def test_altair_charts_are_valid_and_hold_the_same_rows(plan, model, spectrum, density, small, hessian):
    pytest.importorskip("altair")
    charts = {
        "bits": plan.plot(backend="altair"), "theory": plan.plot("theory", backend="altair"),
        "curve": cet.plots.curve(plan, model, backend="altair"), "spectrum": spectrum.plot(density, backend="altair"),
        "density": density.plot(backend="altair"), "shares": small.plan.plot("shares", backend="altair"),
        "losses": small.plan.plot("losses", backend="altair"), "interactions": cet.plots.interactions(hessian, small, backend="altair"),
        "agreement": cet.plots.agreement({"y": np.eye(3)}, {"y": np.eye(3) + 0.1}, backend="altair"),
        "eigenpairs": cet.plots.eigenpairs(cet.eigsh(hessian, k=2), hessian, small, backend="altair"),
    }
    for chart in charts.values():
        assert chart.to_dict()  # validates against Vega-Lite's schema
    assert charts["bits"].to_dict()["layer"][0]["data"]["values"] == data.bits(plan)
    vl_convert = pytest.importorskip("vl_convert")
    assert len(vl_convert.vegalite_to_png(charts["spectrum"].to_json())) > 5000
    with pytest.raises(cet.InvalidArgument, match="ax belongs"):
        plan.plot(backend="altair", ax=object())


@pytest.mark.parametrize("package, call", [("matplotlib", "p.plot()"), ("altair", "p.plot(backend='altair')")])
def test_pictures_without_their_package_say_what_is_missing(plan, root, tmp_path, package, call):
    plan.save(tmp_path / "p.json")
    script = f"""
import sys
sys.modules["{package}"] = None
import cet
p = cet.Plan.load(sys.argv[1])
try:
    {call}
except ImportError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "p.json"], capture_output=True, text=True, timeout=100,
        env={**os.environ, "PYTHONPATH": str(root / "bindings" / "python")})
    assert f"needs {package}: pip install {package}" in run.stdout, run.stderr


def test_package_imports_no_optional_package(root):
    script = "import sys, cet; print([n for n in ('matplotlib', 'altair', 'pandas', 'tqdm', 'torch') if n in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=100,
        env={**os.environ, "PYTHONPATH": str(root / "bindings" / "python")})
    assert run.stdout == "[]\n", run.stderr


# ---- The report ----
