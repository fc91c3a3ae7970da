"""Notebooks run from the first cell to the last, and the reference of the Python package is built without a warning."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest


@pytest.mark.long
@pytest.mark.parametrize("name", ["pytorch_hvp"])
def test_notebook_runs_and_its_assertions_hold(root, tmp_path, monkeypatch, name):
    nbformat, nbclient, *_ = map(pytest.importorskip, ("nbformat", "nbclient", "ipykernel", "matplotlib", "torch"))
    notebook = nbformat.read(root / "examples" / "notebooks" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    monkeypatch.setenv("PYTHONPATH", str(root / "bindings" / "python"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) >= 5 and any("assert" in cell.source for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert set(os.listdir(tmp_path)) <= {"ipython"}  # it exports nothing


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mkdocs", "mkdocstrings", "material")), reason="no mkdocstrings")
def test_reference_is_built_and_has_every_public_name(root, tmp_path):
    import cet

    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-f", root / "mkdocs.yml", "-d", tmp_path],
        capture_output=True, text=True, timeout=200, env=dict(os.environ, NO_MKDOCS_2_WARNING="1"))
    assert run.returncode == 0, run.stdout + run.stderr
    anchors = set()
    for page in tmp_path.rglob("index.html"):
        anchors |= set(re.findall(r'id="cet\.([\w.]+)"', page.read_text()))
    described = {anchor.rpartition(".")[2] for anchor in anchors} | {anchor.partition(".")[0] for anchor in anchors}
    assert set(cet.__all__) - {"__version__"} <= described
