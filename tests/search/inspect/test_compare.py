from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from slimfront.search.inspect.compare import compare, find
from slimfront.search.inspect.comparison import comparison_tables
from slimfront.search.rivals import packed
from slimfront.search.run import Run
from slimfront.spaces.configuration import Configuration
from slimfront.studies.errors import NoFeasiblePoint, StudyError

from tests.commands import checked, forked
from tests.search.run_of import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("compare") / "run", 8)


def test_points_by_their_names(run: Run, tmp_path: Path) -> None:
    assert find("6", run).point.trial == 6 and find("dense", run).point.trial == 0
    assert find("smallest", run).point.trial == 7 and find("smallest", run, ["accuracy >= 0.85"]).point.trial == 4
    other = make_run(tmp_path / "other", 3)
    assert find(f"{other.folder}:2", run).run.folder == other.folder
    for name in ("3", "99", "smalest", "-1", "", f"{other.folder}:", "²"):
        with pytest.raises(StudyError) as caught:
            find(name, run)
        assert caught.value.where == "--compare", name
    with pytest.raises(StudyError, match="not a run folder"):
        find("nowhere:1", run)
    with pytest.raises(NoFeasiblePoint):
        find("knee", run, ["size <= 1 B"])


def test_a_comparison_as_a_document_and_as_tables(run: Run) -> None:
    found = checked("compare", forked("inspect", run.folder, "--compare", 0, 7, "--json").stdout)
    size, latency, accuracy = found["quantities"]
    assert size["values"] == [1e8, 1.25e7] and size["change"] == -8.75e7 and size["ratio"] == 0.125
    assert latency["values"] == [10.0, 2.125] and latency["intervals"][1] == [2.125 * 0.98, 2.125 * 1.03]
    assert accuracy["paired"] is None and [side["trial"] for side in found["compared"]] == [0, 7]
    # Trial 7 has the second of three widths and the second of two shares everywhere.
    assert len(found["differences"]) == 30 and not found["alike"]
    assert {tuple(entry["values"]) for entry in found["differences"]} == {(32, 8), (0.0, 0.5)}
    done = forked("inspect", run.folder, "--compare", "dense", 7)
    assert done.returncode == 0 and "8.00× less" in done.stdout and "intervals overlap" in done.stdout
    # Six blocks with the same change are one row.
    assert "block.0 … 5" in done.stdout and "block.1" not in done.stdout and "0 of 30 parameters" in done.stdout
    alone = forked("inspect", run.folder, "--compare", 1, 7)
    assert "30 of 30 parameters are alike" in alone.stdout and "block" not in alone.stdout
    assert forked("inspect", run.folder, "--compare", 1, 7, "--csv").returncode == 2
    filtered = forked("inspect", run.folder, "--compare", 1, "dense", "--where", "size <= 1 MB")
    assert filtered.returncode == 2 and "--where: filters narrow what is picked" in filtered.stderr


def test_layers_of_removed_blocks_and_paired_changes(run: Run) -> None:
    one, other = find("1", run), find("2", run)
    values = {"bits/block.1.qkv": 8, "bits/block.10.qkv": 8, "depth/block.1": "kept", "distillation/steps": 0}
    right = np.arange(100) % 5 != 0
    fewer = right & (np.arange(100) % 10 != 1)
    kept = replace(one.point, configuration=Configuration(values), held_out={"accuracy": 0.8}, right=packed(right))
    changed = Configuration({**values, "depth/block.1": "removed", "bits/block.1.qkv": 32, "distillation/steps": 100})
    gone = replace(other.point, configuration=changed, held_out={"accuracy": 0.7}, right=packed(fewer))
    found = compare(replace(one, point=kept), replace(other, point=gone))
    assert {d.parameter: d.values for d in found.differences} == {
        "bits/block.1.qkv": (8, None),
        "depth/block.1": ("kept", "removed"),
        "distillation/steps": (0, 100),
    }
    assert found.alike == ["bits/block.10.qkv"]
    held_out = next(q for q in found.quantities if q.measured == "held_out")
    assert held_out.paired is not None and held_out.paired.value == pytest.approx(-0.1) and held_out.paired.p < 0.01
    from rich.console import Console

    out = io.StringIO()
    Console(width=120, file=out).print(*comparison_tables(found))
    assert "8 → –" in out.getvalue() and "block.10" not in out.getvalue() and "-0.1000 ± " in out.getvalue()
