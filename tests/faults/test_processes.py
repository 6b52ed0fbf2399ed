"""Processes that are killed at any moment: no finished trial is lost or repeated, nothing is left running."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy
from slimfront.search.begun import mark_of

from tests.faults.mutations import rare
from tests.faults.processes import ALL, Trivial, wait_for, workers

TRIALS = 60 if ALL else 16


@pytest.fixture(scope="module")
def undisturbed(trivial_study: Callable[..., Trivial]) -> Trivial:
    study = trivial_study("processes", trials=TRIALS)
    assert study.launch("undisturbed") == 0
    return study


def _wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _begun(study: Trivial, run: str) -> bool:
    return (study.runs / run / "records.sqlite3").exists()


def _finished(study: Trivial, run: str) -> dict[int, object]:
    return {t.number: t.measurements for t in study.trials(run) if t.state == "complete"}


def _interrupted(study: Trivial, run: str, number: int, times: int, rng: random.Random) -> list[int]:
    """Send a signal to the searches of a run at random moments; return their exit codes."""
    codes = []
    for _ in range(times):
        before = _finished(study, run)
        process = study.start(run)
        wait_for(lambda process=process: _begun(study, run) or _ended(process))
        time.sleep(rng.uniform(0, 0.6))
        os.kill(process, number)
        codes.append(_wait(process))
        after = _finished(study, run)
        assert {n: after[n] for n in before} == before
        assert wait_for(lambda: not workers(), 10)
    return codes


@pytest.mark.parametrize(
    ("number", "code", "times"),
    [
        (signal.SIGKILL, -9, rare(200)),
        pytest.param(signal.SIGTERM, 143, rare(50), marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, rare(50), marks=pytest.mark.slow),
    ],
)
def test_a_search_that_is_ended_again_and_again(
    number: int, code: int, times: int, undisturbed: Trivial, pace: Callable[[float], None]
) -> None:
    rng = random.Random(number)
    pace(0.02)
    left, turn = times, 0
    while left:
        run, now = f"{number}-{turn}", min(left, 8)
        codes = _interrupted(undisturbed, run, number, now, rng)
        # Before the command listens, a signal ends it at once.
        assert set(codes) <= {code, -number, 0}, undisturbed.told(run)
        assert undisturbed.launch(run) == 0
        assert undisturbed.list(run) == undisturbed.list("undisturbed")
        left, turn = left - now, turn + 1


@pytest.mark.parametrize(("spared", "state"), [(True, "complete"), (False, "failed")])
def test_a_trial_is_to_blame_only_if_its_worker_went_too(
    spared: bool, state: str, trivial_study: Callable[..., Trivial], pace: Callable[[float], None]
) -> None:
    pace(0.5)
    study, times = trivial_study(f"blame-{spared}", trials=3), 3 if spared else 2
    mark, began = mark_of(study.runs / "run" / "artifacts" / "trial-00001"), 0
    for _ in range(times):
        process = study.start("run")
        assert wait_for(lambda began=began: mark.exists() and mark.stat().st_mtime_ns > began)
        began = mark.stat().st_mtime_ns
        if not spared:
            os.kill(process, signal.SIGSTOP)
            os.kill(workers()[0], signal.SIGKILL)
        os.kill(process, signal.SIGKILL)
        assert _wait(process) == -9 and wait_for(lambda: not workers(), 10)
    assert study.launch("run") == 0
    assert [trial.state for trial in study.trials("run")] == ["complete", state, "complete"]
    assert not list((study.runs / "run" / "artifacts").glob("*.begun"))


@pytest.mark.parametrize("moment", ["before", pytest.param("after", marks=pytest.mark.slow)])
def test_a_search_that_dies_at_a_write(moment: str, undisturbed: Trivial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit of the records is a point to die at, before it and after it."""
    writes = 2 * TRIALS + 20
    points = sorted(random.Random(0).sample(range(1, writes + 1), rare(writes)))
    for point in points:
        run = f"{moment}-{point}"
        with monkeypatch.context() as patch:
            _die_at(patch, point, moment)
            undisturbed.launch(run)
        assert undisturbed.launch(run) == 0, undisturbed.told(run)
        assert undisturbed.list(run) == undisturbed.list("undisturbed")
    assert wait_for(lambda: not workers(), 10)


def _die_at(patch: pytest.MonkeyPatch, point: int, moment: str) -> None:
    left = [point]

    def count() -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    whole = sqlalchemy.engine.default.DefaultDialect.do_commit

    def commit(self: object, connection: sqlite3.Connection) -> None:
        if moment == "before":
            count()
        whole(self, connection)  # type: ignore[arg-type]
        if moment == "after":
            count()

    patch.setattr(sqlalchemy.engine.default.DefaultDialect, "do_commit", commit)


def test_workers_that_are_killed_cost_a_trial_each(
    trivial_study: Callable[..., Trivial], pace: Callable[[float], None]
) -> None:
    pace(0.3)
    times, rng = rare(100), random.Random(1)
    study = trivial_study("workers", trials=times * 3 + 5, failures=0.9)
    process, killed, struck = study.start("run"), 0, set[Path]()
    while killed < times and not _ended(process):
        if _finished(study, "run") and (found := workers()):
            time.sleep(rng.uniform(0, 0.3))
            # One that starts, or is between two tasks, would cost none.
            begun = set((study.runs / "run" / "artifacts").glob("*.begun")) - struck
            if not begun:
                continue
            try:
                os.kill(found[0], signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                continue
            struck |= begun
            wait_for(lambda found=found: bool(workers()) and workers() != found, 10)
    assert _wait(process) == 0, study.told("run")
    trials = study.trials("run")
    failed = [trial for trial in trials if trial.state == "failed"]
    assert len([t for t in trials if t.cached_from is None]) == times * 3 + 5
    # One that ended its task just before costs none.
    assert 0.5 * times <= len(failed) <= killed and all("crashed: killed by SIGKILL" in str(t.error) for t in failed)
