"""Reports as a browser shows them: nothing clipped, no small text, no sideways scrolling, usable by keyboard."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from browser import Browser, find_browser

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed")

# What is drawn where, of all text that can be seen.
TEXTS = """(() => {
  const seen = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, owner = node.parentElement;
    if (!node.textContent.trim() || !owner.checkVisibility() || ['SCRIPT', 'STYLE'].includes(owner.tagName)) continue;
    const svg = owner.closest('svg');
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const box = owner.getBoundingClientRect(), frame = svg && svg.getBoundingClientRect();
    seen.push({ text: node.textContent.trim().slice(0, 40), size: parseFloat(getComputedStyle(owner).fontSize) * scale,
      box: [box.left, box.top, box.right, box.bottom], section: owner.closest('section')?.id,
      out: svg ? Math.max(frame.left - box.left, box.right - frame.right, frame.top - box.top, box.bottom - frame.bottom) : 0, svg: !!svg });
  }
  return seen;
})()"""


def chain(path, count, name, node, width=16):
    """Residual products, one after the other."""
    rng = np.random.default_rng(0)
    nodes, weights, value = [], [], "input"
    for index in range(count):
        weights.append(numpy_helper.from_array((rng.standard_normal((width, width)) * 0.1).astype(np.float32), name(index)))
        nodes += [
            helper.make_node("MatMul", [value, name(index)], [f"m{index}"], name=node(index)),
            helper.make_node("Tanh", [f"m{index}"], [f"t{index}"]), helper.make_node("Add", [value, f"t{index}"], [f"a{index}"])]
        value = f"a{index}"
    graph = helper.make_graph(
        nodes, "chain", [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["n", width])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture(scope="module")
def pages(tmp_path_factory, tool, digits):
    folder = tmp_path_factory.mktemp("pages")
    samples = np.random.default_rng(1).standard_normal((48, 16)).astype(np.float32)
    np.savez(folder / "chain.npz", input=samples)
    chain(
        folder / "many.onnx", 300, lambda i: f"encoder.layers.{i // 6}.self_attention.query_key_value_projection.weight.{i}",
        lambda i: f"/encoder/layers.{i // 6}/self_attention/query_key_value_projection/MatMul_{i}")
    chain(folder / "one.onnx", 1, lambda i: "w", lambda i: "")
    inputs = {"digits": (digits / "model.onnx", digits / "calibration.npz", "--report-spectrum", 5)}
    inputs["one"] = (folder / "one.onnx", folder / "chain.npz")
    found = {"many": folder / "many.html"}
    run = tool(
        "plan", folder / "many.onnx", "--data", folder / "chain.npz", "--target-ratio", 10, "--method", "hawq-v2", "--rounding", "nearest", "-o",
        folder / "plan.json")
    assert run.returncode == 0, run.stderr
    # Losses that were measured take a minute for so many tensors: others do for looking at them.
    plan = json.loads((folder / "plan.json").read_text())
    for index, tensor in enumerate(plan["tensors"]):
        tensor["measured_loss"] = {bits: loss * (1 + 0.3 * np.sin(index + int(bits))) for bits, loss in tensor["curvature_loss"].items()}
    (folder / "plan.json").write_text(json.dumps(plan))
    run = tool("report", folder / "many.onnx", folder / "plan.json", found["many"])
    assert run.returncode == 0, run.stderr
    for name, (model, data, *more) in inputs.items():
        found[name] = folder / f"{name}.html"
        run = tool(
            "compress", model, folder / f"{name}.small.onnx", "--data", data, "--target-ratio", 10, "--effort", "low", "--rounding", "gptq",
            "--shifts", 0, "--report", found[name], *more)
        assert run.returncode == 0, run.stderr
    return found


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.mark.parametrize("width", [320, 390, 700, 1280])
@pytest.mark.parametrize("name", ["digits", "many", "one"])
def test_report_onScreen_nothingIsClippedOrSmall(pages, browser, name, width):
    browser.open(pages[name], width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    texts = browser.run(TEXTS)
    assert len(texts) > 60
    assert [text for text in texts if text["size"] < (10 if width == 320 else 12)] == []
    assert [text for text in texts if text["out"] > 1] == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["digits", "many", "one"])
def test_report_figures_labelsDoNotOverlap(pages, browser, name, width):
    browser.open(pages[name], width)
    places = {}
    for text in browser.run(TEXTS):
        if text["svg"]:
            places.setdefault(text["section"], []).append(text)
    for section, texts in places.items():
        for index, first in enumerate(texts):
            for second in texts[:index]:
                (a, b, c, d), (e, f, g, h) = first["box"], second["box"]
                # Boxes of text have air above and below the letters.
                assert min(c, g) - max(a, e) <= 1 or min(d, h) - max(b, f) <= 5, (section, first["text"], second["text"])


@pytest.mark.parametrize("dark", [False, True])
def test_report_text_hasContrast(pages, browser, dark):
    browser.open(pages["digits"], dark=dark)
    ratio = browser.run("""(() => {
      const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
      };
      const paper = light(getComputedStyle(document.body).backgroundColor);
      let least = 99;
      for (const element of document.querySelectorAll('h1, h2, p, td, th, a, dd span, dt, summary, svg text')) {
        if (!element.checkVisibility()) continue;
        const style = getComputedStyle(element), ink = light(element.closest('svg') ? style.fill : style.color);
        least = Math.min(least, (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05));
      }
      return least;
    })()""")
    assert ratio >= 4.5
    assert (browser.run("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)") == dark


def test_report_byKeyboard_pointsAreReadAndRowsSortedAndFound(pages, browser):
    browser.open(pages["many"])
    browser.run("document.querySelector('#size-loss svg.wide').focus()")
    browser.press("ArrowRight")
    assert "bytes" in browser.run("tip.hidden ? '' : tip.textContent")
    browser.press("Escape")
    assert browser.run("tip.hidden")
    column = "[...document.querySelectorAll('#table tbody tr')].map(row => Number(row.cells[2].dataset.v))"
    given = browser.run(column)
    for order, kind in ((sorted(given), "ascending"), (sorted(given, reverse=True), "descending")):
        browser.run("document.querySelectorAll('#table th button')[2].click()")
        assert browser.run(column) == order
        assert browser.run("document.querySelectorAll('#table thead th')[2].getAttribute('aria-sort')") == kind
    browser.run("search.value = 'layers.7. matmul_45'; search.dispatchEvent(new Event('input'))")
    assert browser.run("[...document.querySelectorAll('#table tbody tr')].filter(row => !row.hidden).length") == 1
    assert browser.run("found.textContent") == "1 of 300"
