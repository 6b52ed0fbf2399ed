from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
from slimfront.search.records import Records
from slimfront.search.storage import FILE
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Domain
from slimfront.studies.errors import RecordsError

DOMAINS = {"bits/all": Domain((32, 8, 4))}
OBJECTIVES = {
    "size": {"unit": "byte", "direction": "minimize"},
    "accuracy": {"unit": "fraction", "direction": "maximize"},
}


def outcome(size: float, accuracy: float) -> dict[str, Any]:
    entries = {"size": (size, "byte"), "accuracy": (accuracy, "fraction")}
    measurements = {n: {"value": v, "unit": u, "interval": None, "steer": v} for n, (v, u) in entries.items()}
    return {"measurements": measurements, "files": {"model.bin": "00"}}


def fill(folder: Path) -> Records:
    records = Records(folder, create=True)
    records.begin("study", OBJECTIVES)
    for number, bits in enumerate((32, 8, 4)):
        trial = records.start(number, Configuration({"bits/all": bits}), DOMAINS, "uniform", 100 + number)
        if number == 0:
            assert records.complete(trial, outcome(100, 0.8), {"accuracy": -0.1}) == Records(folder).trials()[0]
        elif number == 1:
            assert records.fail(trial, "MemoryError: too large") == Records(folder).trials()[1]
    return records


def test_everything_written_is_read_back_by_another_process(tmp_path: Path) -> None:
    fill(tmp_path)
    dense, failed, running = Records(tmp_path).trials()
    assert (dense.state, dense.value("size"), dense.violations, dense.seed) == (
        "complete",
        100,
        {"accuracy": -0.1},
        100,
    )
    assert failed.state == "failed" and failed.error == "MemoryError: too large"
    assert (running.state, running.attempts, running.configuration["bits/all"]) == ("running", 1, 4)
    again = Records(tmp_path).again(running)
    assert again == Records(tmp_path).trials()[2]
    assert (again.number, again.attempts, again.seed) == (2, 2, 102)


def test_records_are_a_plain_optuna_study(tmp_path: Path) -> None:
    fill(tmp_path)
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{tmp_path / FILE}")
    assert study.metric_names == ["size", "accuracy"]
    assert [trial.number for trial in study.best_trials] == [0]
    assert study.trials[0].params == {"bits/all": 32} and study.trials[0].values == [100, 0.8]


def test_a_trial_that_was_stopped_early_is_pruned_and_keeps_its_bound(tmp_path: Path) -> None:
    records = fill(tmp_path)
    trial = records.start(3, Configuration({"bits/all": 4}), DOMAINS, "sampled", 7)
    told = {**outcome(60, 0.7), "stopped": {"by": 0, "bound": 0.75}, "sentences": 64}
    assert records.complete(trial, told, {"accuracy": 0.05}) == Records(tmp_path).trials()[3]
    found = Records(tmp_path).trials()[3]
    assert (found.state, found.details["stopped"]["bound"], found.value("size")) == ("stopped", 0.75, 60)
    assert records.study.trials[3].state.name == "PRUNED" and [t.number for t in records.study.best_trials] == [0]


def test_a_second_writer_is_noticed(tmp_path: Path) -> None:
    records = fill(tmp_path)
    with pytest.raises(RecordsError, match="another process writes"):
        records.start(2, Configuration({"bits/all": 4}), DOMAINS, "sampled", 7)


def test_held_out_is_kept_per_trial(tmp_path: Path) -> None:
    records = fill(tmp_path)
    records.hold_out(0, {"accuracy": {"value": 0.79}})
    records.hold_out(2, {"accuracy": {"value": 0.70}})
    assert Records(tmp_path).held_out() == {0: {"accuracy": {"value": 0.79}}, 2: {"accuracy": {"value": 0.70}}}


def damage_header(path: Path) -> None:
    path.write_bytes(b"this is no database" + path.read_bytes()[19:])


def damage_outcome(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("update trial_user_attributes set value_json='\"{\"' where key='slimfront:outcome'")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("damage", [damage_header, damage_outcome, truncate, Path.unlink])
def test_damage_is_named(damage: Any, tmp_path: Path) -> None:
    fill(tmp_path)
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    damage(tmp_path / FILE)
    with pytest.raises(RecordsError) as caught:
        Records(tmp_path).trials()
    assert caught.value.where == str(tmp_path / FILE) and caught.value.hint


def test_records_may_be_read_while_they_are_made(tmp_path: Path) -> None:
    """A reader sees no file, or a whole one: it must never make tables that the writer is about to make."""
    seen: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                Records(tmp_path).trials()
            except RecordsError as error:
                seen.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        fill(tmp_path)
    finally:
        stop.set()
        reader.join()
    assert all("no records" in text or "no study" in text for text in seen), seen
    assert sorted(path.name for path in tmp_path.iterdir() if "new" in path.name) == []


def test_a_trial_that_ends_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row is read before its attributes: between the two another process may have written."""
    fill(tmp_path)
    records, whole = Records(tmp_path), optuna.Study.get_trials
    expected, readings = records.trials(), []

    def torn(study: optuna.Study, **options: Any) -> list[optuna.trial.FrozenTrial]:
        frozen = whole(study, deepcopy=True)
        readings.append(len(frozen))
        if len(readings) in torn_at:
            frozen[0].state = optuna.trial.TrialState.RUNNING
        return frozen

    monkeypatch.setattr(optuna.Study, "get_trials", torn)
    torn_at: tuple[int, ...] = (1,)
    assert records.trials() == expected and len(readings) == 2
    torn_at = (3, 4)
    with pytest.raises(RecordsError, match="damaged"):
        records.trials()
