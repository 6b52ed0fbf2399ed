"""Records on a failing disk: a number that is read is the one that was written, or none is."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from slimfront.search.records import Records
from slimfront.search.run import STUDY, Run
from slimfront.search.storage import FILE
from slimfront.search.witness import FILE as COUNTS
from slimfront.search.witness import Witness

from tests.faults.mutations import mutants, scaled, try_all
from tests.faults.searching import made_up_run

WAL = f"{FILE}-wal"
VERSION = "v3.2.0.a"
StudyData = Callable[..., dict[str, Any]]


def shown(folder: Path) -> str:
    """Return all that is read of a run's records, whatever the command."""
    # What a database leaves beside itself belongs to the file as it was.
    (folder / f"{FILE}-shm").unlink(missing_ok=True)
    records = Records(folder)
    trials = [trial.__dict__ | {"configuration": dict(trial.configuration)} for trial in records.trials()]
    found = [records.objectives(), trials, records.held_out(), records.final(), records.lock()]
    return json.dumps(found, sort_keys=True)


@pytest.fixture(autouse=True)
def _known_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library reads its own migration scripts whenever it opens a file: half of the time, and always the same."""
    manager = "optuna.storages._rdb.storage._VersionManager.get_head_version"
    monkeypatch.setattr(manager, lambda _self: VERSION)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, study_data: StudyData) -> Path:
    """A run as a killed search leaves it: the last trials are in the write-ahead log alone."""
    root = tmp_path_factory.mktemp("records")
    made_up_run(root / "live", study_data())
    folder = root / "run"
    shutil.copytree(root / "live", folder)
    assert (folder / WAL).stat().st_size > 100_000
    return folder


@pytest.fixture
def run(interrupted: Path, tmp_path: Path) -> Path:
    shutil.copytree(interrupted, tmp_path / "run")
    return tmp_path / "run"


def settle(run: Path) -> None:
    """Bring the write-ahead log into the database, as a search does that ends by itself."""
    with closing(sqlite3.connect(run / FILE)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    (run / WAL).unlink(missing_ok=True)


def test_a_damaged_database_never_gives_another_number(run: Path) -> None:
    settle(run)
    found = try_all(run / FILE, scaled(1000), 1, lambda: shown(run))
    # Much of the file is what nobody reads: free space, dates, other distributions.
    assert found["detected"] > 0.4 * found.total()


def test_a_damaged_log_never_gives_another_number(run: Path) -> None:
    whole = (run / FILE).read_bytes()

    def read() -> str:
        # Reading brings the log into the database: each time begins with the database as it was.
        log = (run / WAL).read_bytes() if (run / WAL).exists() else b""
        (run / FILE).write_bytes(whole)
        (run / WAL).write_bytes(log)
        return shown(run)

    found = Counter[str](try_all(run / WAL, scaled(1000), 2, read))
    assert found["detected"] > 0.4 * found.total()


def test_a_damaged_study_is_refused(run: Path) -> None:
    found = try_all(run / STUDY, scaled(1000), 3, lambda: Run.open(run).study)
    assert found["detected"] == found.total()


def test_a_damaged_count_asks_for_nothing(run: Path) -> None:
    whole = (run / COUNTS).read_bytes()
    known = Witness(run).counts()
    assert known["finished"] == 39
    for way, data in mutants(whole, scaled(1000), 4):
        (run / COUNTS).write_bytes(data)
        assert Witness(run).counts() in ({}, known), way


def test_what_the_log_lost_is_accepted_by_the_search_alone(run: Path) -> None:
    shutil.copytree(run, run.parent / "cut")
    lost = run.parent / "cut"
    before = Records(run).trials()
    (lost / WAL).write_bytes((lost / WAL).read_bytes()[:1_500_000])
    with pytest.raises(Exception, match="have lost what was written"):
        Records(lost).trials()
    records = Records(lost, create=True)
    missing = records.accept_losses()
    left = Records(lost).trials()
    finished = [sum(trial.state != "running" for trial in trials) for trials in (before, left)]
    assert missing == finished[0] - finished[1] > 0
    assert [trial for trial in left if trial.state != "running"] == before[: finished[1]]


def test_records_without_sums_stay_readable(run: Path) -> None:
    """Runs of the first version have neither sums nor counts."""
    settle(run)
    before = [(trial.number, trial.measurements) for trial in Records(run).trials()]
    with closing(sqlite3.connect(run / FILE)) as connection, connection:
        connection.execute("delete from trial_user_attributes where key like 'slimfront:sum%'")
        rows = connection.execute("select study_user_attribute_id, value_json from study_user_attributes").fetchall()
        for key, text in rows:
            plain = json.dumps(json.loads(text).partition(" ")[2])
            connection.execute(
                "update study_user_attributes set value_json=? where study_user_attribute_id=?", (plain, key)
            )
    (run / COUNTS).unlink()
    assert [(trial.number, trial.measurements) for trial in Records(run).trials()] == before
    assert set(Records(run).held_out()) == {0, 1, 2}
