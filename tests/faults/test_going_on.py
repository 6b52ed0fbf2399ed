"""A search that goes on after something was damaged ends as an undisturbed one, or says why it does not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slimfront.search.coordinator import Coordinator
from slimfront.search.launching import launch
from slimfront.search.records import Records
from slimfront.search.run import Run
from slimfront.search.sums import sealed
from slimfront.studies.cache import cache_root
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import Study
from slimfront.studies.threads import blas_threads
from threadpoolctl import threadpool_info

from tests.faults.searching import IN_PROCESS, InProcess, code_of, found


@pytest.fixture
def run(study: Study, tmp_path: Path) -> Run:
    """A search that was stopped after five trials."""
    few = study.model_copy(update={"search": study.search.model_copy(update={"trials": 5})})
    launch(few, tmp_path / "run")
    return Run.open(tmp_path / "run")


def test_damaged_files_of_the_front_are_made_again(run: Run, study: Study, undisturbed: list[tuple[Any, ...]]) -> None:
    front = run.front()
    files = [run.artifact(point.trial) / "openvino_model.bin" for point in (front.dense, *front.points)]
    whole = {path: path.read_bytes() for path in files}
    for path in files:
        path.write_bytes(path.read_bytes()[:-7])
    assert code_of(study, run.folder) == 0
    assert found(run.folder) == undisturbed
    assert {path: path.read_bytes() for path in files if path.exists()}.items() <= whole.items()
    assert files[0].exists()


def test_trials_that_the_records_lost_are_evaluated_again(
    run: Run, study: Study, undisturbed: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    records = Records(run.folder)
    last = len(records.trials()) - 1
    with records._storage.engine.begin() as connection:
        for table in ("trial_params", "trial_values", "trial_user_attributes", "trial_system_attributes", "trials"):
            own = f"select trial_id from trials where number = {last}"
            connection.exec_driver_sql(f"delete from {table} where trial_id in ({own})")
    with pytest.raises(Exception, match="have lost what was written"):
        Records(run.folder).trials()
    assert code_of(study, run.folder) == 0, capsys.readouterr().err
    assert found(run.folder) == undisturbed


def test_a_search_in_rungs_goes_on_where_it_stopped(
    study_data: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Students at rest are taken from the disk in one run, and trained anew in the other: the trials are the same."""
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path / "cache"))
    data = study_data("bert", trials=18, sampler="evolution", reduction_factor=2, engine=IN_PROCESS)
    # A model that has learnt something, and loses some of it: what has lost nothing does not go on. Some divergence is
    # always left.
    data["train"] |= {"epochs": 6}
    data["objectives"] = ["size", "accuracy", "divergence"]
    data["space"]["bits"]["levels"] = [2, 8, 32]
    data["space"]["distillation"]["steps"] = [0, 2, 4]
    launch(parse_study(data), tmp_path / "whole")
    launch(parse_study({**data, "search": {**data["search"], "trials": 13}}), tmp_path / "parts")
    shutil.rmtree(cache_root() / "students")
    launch(parse_study(data), tmp_path / "parts")
    assert found(tmp_path / "whole") == found(tmp_path / "parts")
    trials = Records(tmp_path / "whole").trials()
    steps = "distillation/steps"
    promoted = [trial for trial in trials if trial.kind == "promoted"]
    assert promoted and all(trial.configuration[steps] == 0 for trial in trials if trial.kind != "promoted")
    assert {trial.configuration[steps] for trial in promoted} == {2, 4}


def test_what_samplers_compute_takes_one_thread(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, whole = [], InProcess.search

    def search(engine: InProcess, coordinator: Coordinator) -> None:
        seen.extend(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
        whole(engine, coordinator)

    monkeypatch.setattr(InProcess, "search", search)
    with blas_threads(2):
        assert code_of(study, tmp_path / "run") == 0
    assert seen and set(seen) == {1}


def test_other_weights_are_refused(run: Run, study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    records = Records(run.folder)
    lock = {**records.lock(), "dense weights": "0" * 64}
    records.study.set_user_attr("slimfront:lock", sealed("lock", lock))
    before = found(run.folder)
    assert code_of(study, run.folder) == 4 and "dense weights" in capsys.readouterr().err
    assert found(run.folder) == before
