"""Every notebook runs from a fresh kernel, and is committed with what a reader should see."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_BYTES = 1_000_000
MOST_SECONDS = 300  # of one cell; the first of a fresh machine compiles kernels

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::ResourceWarning")  # of the notebook machinery
def test_notebook__runs_from_start_to_end(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    cells = NotebookClient(
        notebook, timeout=MOST_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    assert all(cell.execution_count for cell in cells.cells if cell.cell_type == "code")


@each_notebook
def test_notebook__is_committed_with_its_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    shown = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert not any(output.output_type == "error" for output in shown)


@each_notebook
def test_notebook__is_small(path: Path) -> None:
    assert path.stat().st_size < MOST_BYTES
