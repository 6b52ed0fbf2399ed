"""Small searches of studies that differ: models that nobody prepared, other objectives, rungs, a smaller vocabulary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slimfront.search.engines import ENGINES
from slimfront.search.records import Records
from slimfront.search.run import Run
from slimfront.spaces.axes.vocabulary import REMOVED

from tests.commands import forked
from tests.contracts.test_search import StudyFile


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES.names())
@pytest.mark.parametrize("kind", ["modernbert", "mpnet"])
def test_unprepared_models_go_through(engine: str, kind: str, study_file: StudyFile, tmp_path: Path) -> None:
    path = study_file(kind, engine=engine)
    if kind == "modernbert":
        data = json.loads(path.read_text())
        data["objectives"] = ["download", "latency", "accuracy"]
        data["constraints"] = {"download": "<= dense"}
        data["space"]["unstructured"] = {"granularity": "role", "levels": ["1:4", 0.5]}
        path.write_text(json.dumps(data))
    if kind == "mpnet":
        data = json.loads(path.read_text())
        data["objectives"], data["constraints"] = ["size", "divergence", "mcc"], {"divergence": "<= 2 nat"}
        data["search"] |= {"sampler": "evolution", "trials": 7}
        path.write_text(json.dumps(data))
    checked = forked("plan", path)
    assert checked.returncode == 0, checked.stderr
    done = forked("launch", path, "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    trials = Records(tmp_path / "run").trials()
    assert trials[0].state == "complete" and {trial.state for trial in trials} <= {"complete", "stopped"}
    assert len({trial.configuration for trial in trials}) == (7 if kind == "mpnet" else 5)
    if kind == "mpnet":
        front = Run.open(tmp_path / "run").front()
        assert front.dense.values["divergence"] == 0 and 0 < front.hypervolume() < 1
        assert front.pick("most-accurate").values["mcc"] == max(point.values["mcc"] for point in front.points)
        assert all(set(point.held_out) == {"divergence", "mcc"} and not point.changes for point in front.points)
    if kind == "modernbert":
        point = Run.open(tmp_path / "run").front().pick("smallest")
        assert point.values["download"] == min(t.value("download") for t in trials if t.state == "complete")
        assert "zeros" in forked("inspect", tmp_path / "run").stdout
        assert forked("verify", point.export(tmp_path / "out")).returncode == 0


@pytest.mark.slow
def test_small_space_is_exhausted_without_repeats(study_data: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    data = study_data(trials=50)
    data["space"] = {"bits": {"granularity": "all", "levels": [2, 4, 8, 32]}}
    (tmp_path / "study.yaml").write_text(json.dumps(data))
    done = forked("launch", tmp_path / "study.yaml", "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    fresh = [t for t in Records(tmp_path / "run").trials() if t.cached_from is None]
    assert sorted(t.configuration["bits/all"] for t in fresh) == [2, 4, 8, 32]


@pytest.mark.slow
def test_a_smaller_vocabulary_is_what_is_measured_and_exported(
    study_data: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    data = study_data("bert", trials=6, sampler="evolution", delta=0)
    data["space"] |= {"vocabulary": {"levels": [0.5, 0.8]}, "bits": {"granularity": "all", "levels": [8, 32]}}
    data["space"]["sparsity"]["levels"] = [0.0]
    data["recovery"], data["train"]["epochs"] = {"steps": 2}, 6
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(data))
    done = forked("launch", path, "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    trials = [trial for trial in Records(tmp_path / "run").trials() if trial.state == "complete"]
    trial = next(trial for trial in trials if trial.configuration[REMOVED] == 0.8)
    whole = next(t for t in trials if dict(t.configuration) == {**trial.configuration, REMOVED: 0.0})
    # 24 of 120 rows of 96 codes are left, each with a scale and a zero point for all 96.
    assert whole.value("size") - trial.value("size") == pytest.approx(96 * (96 + 3), rel=0.02)
    assert trial.value("accuracy") != whole.value("accuracy")
    for out in ("first", "again"):
        point = Run.open(tmp_path / "run").front()
        point = next(point for point in point.everything if point.trial == trial.number)
        folder = point.export(tmp_path / out, to="openvino")
        assert len(AutoTokenizer.from_pretrained(str(folder))) == 24
        assert forked("verify", folder).returncode == 0
        shutil.rmtree(Run.open(tmp_path / "run").artifact(trial.number), ignore_errors=True)
