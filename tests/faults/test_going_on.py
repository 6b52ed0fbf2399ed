"""A search that goes on after something was damaged ends as an undisturbed one, or says why it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slimfront.search.launching import launch
from slimfront.search.records import Records
from slimfront.search.run import Run
from slimfront.search.sums import sealed
from slimfront.studies.schema import Study

from tests.faults.searching import code_of, found


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


def test_other_weights_are_refused(run: Run, study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    records = Records(run.folder)
    lock = {**records.lock(), "dense weights": "0" * 64}
    records.study.set_user_attr("slimfront:lock", sealed("lock", lock))
    before = found(run.folder)
    assert code_of(study, run.folder) == 4 and "dense weights" in capsys.readouterr().err
    assert found(run.folder) == before
