"""The notebook that ships, run as a reader runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

TOUR = Path(__file__).parents[2] / "studies" / "tour.ipynb"


def test_the_tour_ships_without_outputs() -> None:
    tour = nbformat.read(TOUR, as_version=4)
    nbformat.validate(tour)
    assert all(not cell.outputs and cell.execution_count is None for cell in tour.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_the_tour_runs(study_data: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(json.dumps(study_data("bert", trials=4)))
    tour = nbformat.read(TOUR, as_version=4)
    first = next(cell for cell in tour.cells if "parameters" in cell.metadata.get("tags", ()))
    first.source = "STUDY, RUN, TRIALS, OUT = 'study.yaml', 'run', 4, 'out'"
    NotebookClient(tour, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in tour.cells if cell.cell_type == "code" for output in cell.outputs]
    pages = [output.data["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert any("data:image/png;base64," in page for page in pages) and any("dataframe" in page for page in pages)
    told = "".join(output.get("text", "") for output in shown)
    assert "no point of the front passes" in told and "size <= dense / 1000: the front reaches" in told
    assert (tmp_path / "out" / "record.json").is_file()
