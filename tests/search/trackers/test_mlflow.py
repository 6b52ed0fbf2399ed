"""Runs in a database of MLflow's own, where MLflow is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slimfront.search.inspect.data import as_csv
from slimfront.search.run import Run
from slimfront.search.tracking import Tracking, trackers_of

from tests.search.run_of import NAME, make_run

pytest.importorskip("mlflow")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    return MlflowClient()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = make_run(tmp_path / "run", 6)
    search = made.study.search.model_copy(update={"trackers": ("mlflow",)})
    run = Run.begin(made.folder, made.study.model_copy(update={"search": search}))
    (run.folder / "report.html").write_text("<p>report</p>")
    for point in run.front().points:
        run.artifact(point.trial).mkdir(parents=True)
        (run.artifact(point.trial) / "model.bin").write_bytes(bytes([point.trial]))
    return run


def follow(run: Run, count: int, said: list[str]) -> None:
    with Tracking(trackers_of(run), run.records().objectives(), {}, said.append) as tracking:
        for trial in run.records().trials()[:count]:
            tracking.trial(trial)
        tracking.end(run.front())


def runs(client: Any) -> tuple[Any, dict[str, Any]]:
    """Return the one parent and its children by name."""
    experiment = client.get_experiment_by_name(NAME).experiment_id
    found = client.search_runs([experiment])
    nested = {run.info.run_name: run for run in found if "mlflow.parentRunId" in run.data.tags}
    (parent,) = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    assert {run.data.tags["mlflow.parentRunId"] for run in nested.values()} == {parent.info.run_id}
    assert len(nested) == len(found) - 1
    return parent, nested


def test_a_parent_for_the_search_and_a_child_for_each_trial(client: Any, run: Run) -> None:
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), Tracking(trackers_of(run), run.records().objectives(), {}) as tracking:
        for trial in run.records().trials()[:2]:
            tracking.trial(trial)
        raise KeyboardInterrupt
    parent, nested = runs(client)
    assert parent.info.status == "KILLED" and set(nested) == {"0", "1"}
    # A process that was killed leaves a run in the middle: it is shown anew.
    client.update_run(nested["1"].info.run_id, status="RUNNING")
    for _ in range(2):
        follow(run, 6, said)
    parent, nested = runs(client)
    front, trials = run.front(), run.records().trials()
    assert not said and parent.info.status == "FINISHED" and parent.data.params["model.hub"] == "some/model"
    assert set(nested) == {str(trial.number) for trial in trials}
    for trial in trials:
        child = nested[str(trial.number)]
        assert child.data.metrics == {name: trial.value(name) for name in trial.measurements}
        assert child.data.params == {name: str(value) for name, value in trial.configuration.items()}
        assert child.info.status == ("FAILED" if trial.state == "failed" else "FINISHED")
    grown = client.get_metric_history(parent.info.run_id, "hypervolume")
    assert {metric.step for metric in grown} == set(range(6))
    assert max(metric.value for metric in grown) == pytest.approx(front.hypervolume())
    artifacts = Path(client.download_artifacts(parent.info.run_id, ""))
    assert (artifacts / "front.csv").read_text() == as_csv(front, front.points)
    assert (artifacts / "report.html").read_text() == "<p>report</p>"
    chosen = {str(point.trial) for point in front.points}
    assert {name for name, child in nested.items() if child.data.tags.get("slimfront.front") == "true"} == chosen
    for name in chosen:
        files = Path(client.download_artifacts(nested[name].info.run_id, "model"))
        assert (files / "model.bin").read_bytes() == bytes([int(name)])


def test_another_server_has_a_parent_of_its_own(
    client: Any, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    said: list[str] = []
    follow(run, 6, said)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    follow(run, 6, said)
    parents = {runs(found)[0].info.run_id for found in (client, MlflowClient())}
    assert len(parents) == 2 and not said
