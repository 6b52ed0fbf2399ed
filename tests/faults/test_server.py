"""Searches that share their records on a real PostgreSQL server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from slimfront.search.run import Run
from slimfront.search.trial import Trial
from slimfront.studies.errors import StudyError

from tests.faults.postgres import Postgres
from tests.faults.processes import Trivial, wait_for, workers
from tests.faults.trivial import values_of


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    made = Postgres.make()
    yield made
    made.remove()


def trials_of(study: Trivial, run: str) -> list[Trial]:
    folder = study.runs / run
    try:
        return Run.open(folder).records().trials() if (folder / "study.json").exists() else []
    except Exception:
        return []


def require_whole(trials: list[Trial], count: int) -> None:
    """Every trial was evaluated once, to its end, and none twice."""
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert all(trial.state == "complete" for trial in trials)
    own = [trial for trial in trials if trial.cached_from is None]
    assert len(own) == count and len({trial.configuration for trial in own}) == count
    for trial in trials:
        assert {name: trial.value(name) for name in trial.measurements} == values_of(trial.configuration)


def codes(*processes: int) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def test_two_searches_share_one_study_while_the_server_goes_down(
    server: Postgres, trivial_study: Callable[..., Trivial], pace: Callable[[float], None]
) -> None:
    pace(0.1)
    study = trivial_study("shared", trials=60, storage=server.url)
    processes = [study.start(run) for run in ("one", "two")]
    assert wait_for(lambda: len(trials_of(study, "one")) > 15, 300), study.told("one")
    server.stop()
    time.sleep(1)
    server.start()
    assert codes(*processes) == [0, 0], study.told("one") + study.told("two")
    trials = trials_of(study, "one")
    require_whole(trials, 60)
    owners = {trial.owner["process"] for trial in trials if trial.owner}
    assert owners == set(processes), "both searches took part"
    fronts = [[point.values for point in Run.open(study.runs / run).front().points] for run in ("one", "two")]
    assert fronts[0] == fronts[1] and len(fronts[0]) > 1


def test_what_a_dead_search_leaves_is_taken_over(
    server: Postgres, trivial_study: Callable[..., Trivial], pace: Callable[[float], None]
) -> None:
    pace(0.3)
    study = trivial_study("orphans", trials=24, storage=server.url, name="orphans")
    first, second = study.start("one"), study.start("two")
    assert wait_for(
        lambda: sum(bool(t.owner and t.owner["process"] == first) for t in trials_of(study, "one")) > 2, 300
    )
    os.kill(first, signal.SIGKILL)
    assert codes(first, second) == [-9, 0], study.told("two")
    trials = trials_of(study, "two")
    require_whole(trials, 24)
    assert wait_for(lambda: not workers(), 10)
    assert {trial.attempts for trial in trials if trial.cached_from is None} <= {1, 2}


def test_another_study_of_the_same_name_is_refused(server: Postgres, trivial_study: Callable[..., Trivial]) -> None:
    study = trivial_study("first", trials=4, storage=server.url, name="same")
    assert study.launch("run") == 0, study.told("run")
    other = trivial_study("second", trials=4, storage=server.url, name="same", seed=1)
    assert other.launch("run") == 2
    assert "search.seed: 0 → 1" in other.told("run")


def test_a_url_that_is_none_or_holds_a_password(trivial_study: Callable[..., Trivial]) -> None:
    from slimfront.search.storage import server_url

    for url, said in (("nonsense", "no URL"), ("sqlite:///x", "no URL"), ("postgresql://a:b@c/d", "password")):
        with pytest.raises(StudyError, match=said):
            server_url(url)
