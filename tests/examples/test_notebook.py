"""The notebook runs from top to bottom, without a network, and prints what it shows."""

from pathlib import Path

import pytest

from ..pages import difference

nbformat = pytest.importorskip("nbformat", reason="needs the extra docs")
nbclient = pytest.importorskip("nbclient", reason="needs the extra docs")

NOTEBOOK = Path(__file__).parents[2] / "examples/tutorial.ipynb"


def texts(notebook):
    """What each cell prints, and of what it shows the text."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
        for cell in cells
    ]


@pytest.mark.slow
def test_the_notebook_gives_what_it_shows(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    shown = nbformat.read(NOTEBOOK, 4)
    expected = texts(shown)
    nbclient.NotebookClient(shown, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    assert len(expected) > 5
    for text, came in zip(expected, texts(shown), strict=True):
        assert difference(text, came) is None
