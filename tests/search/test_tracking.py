"""Trackers as the search sees them; what they show is kept in memory here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from slimfront.search import tracking
from slimfront.search.front import Front
from slimfront.search.inspect.report import history
from slimfront.search.run import Run
from slimfront.search.trackers import TRACKERS, Tracker
from slimfront.search.tracking import Tracking
from slimfront.search.trial import Trial

from tests.commands import forked
from tests.search.run_of import make_run


class Notebook(Tracker):
    """Remembers what it is told, search after search."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.shown: dict[int, float] = {}
        self.ends: list[Front | None] = []

    def begin(self) -> Collection[int]:
        return list(self.shown)

    def trial(self, trial: Trial, hypervolume: float) -> None:
        assert trial.number not in self.shown
        self.shown[trial.number] = hypervolume

    def end(self, front: Front | None) -> None:
        self.ends.append(front)


class Broken(Notebook):
    """Fails at the third trial, and would at every later one."""

    def trial(self, trial: Trial, hypervolume: float) -> None:
        super().trial(trial, hypervolume)
        if trial.number > 1:
            raise ConnectionError("no route to\nhost")


class Hanging(Notebook):
    """Waits for an answer that does not come."""

    never = threading.Event()

    def trial(self, trial: Trial, hypervolume: float) -> None:
        self.never.wait()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "run", 8)


def tracking_of(run: Run, said: list[str], **trackers: Tracker) -> Tracking:
    return Tracking(trackers, run.records().objectives(), {}, said.append)


def test_a_search_that_goes_on_shows_each_trial_once(run: Run) -> None:
    notebook, said, trials = Notebook(run), list[str](), run.records().trials()
    with pytest.raises(KeyboardInterrupt), tracking_of(run, said, notebook=notebook) as first:
        for trial in trials[:5]:
            first.trial(trial)
        raise KeyboardInterrupt
    assert list(notebook.shown) == [0, 1, 2, 3, 4] and notebook.ends == [None]
    front = run.front()
    with tracking_of(run, said, notebook=notebook) as second:
        for trial in trials:
            second.trial(trial)
        second.end(front)
    assert notebook.ends == [None, front] and not said
    # The hypervolume goes on where it was, as the report draws it.
    assert list(notebook.shown.items()) == [pytest.approx(row) for row in map(tuple, history(front, trials))]
    assert notebook.shown[7] > notebook.shown[1] > 0


def test_a_broken_tracker_is_told_of_once_and_others_go_on(run: Run) -> None:
    broken, notebook, said = Broken(run), Notebook(run), list[str]()
    with tracking_of(run, said, broken=broken, notebook=notebook) as followed:
        for trial in run.records().trials():
            followed.trial(trial)
        followed.end(run.front())
    assert len(notebook.shown) == 8 and notebook.ends
    assert list(broken.shown) == [0, 1, 2] and not broken.ends
    assert said == ["tracker broken gave up, the search goes on without it: 'ConnectionError: no route to'"]


def test_a_hanging_tracker_holds_up_no_trial_and_no_stop(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "PATIENCE", 0.2)
    with pytest.raises(KeyboardInterrupt), tracking_of(run, [], hanging=Hanging(run)) as followed:
        for trial in run.records().trials():
            followed.trial(trial)
        raise KeyboardInterrupt
    Hanging.never.set()


def test_a_search_without_trials_begins_no_tracker(run: Run) -> None:
    notebook = Notebook(run)
    with pytest.raises(KeyboardInterrupt), tracking_of(run, [], notebook=notebook):
        raise KeyboardInterrupt
    assert not notebook.ends


def test_what_is_missing_is_told_before_the_search(
    study_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TRACKERS.get("mlflow", where="x"), "package", "no_such_package")
    done = forked("launch", study_file(), "--run", tmp_path / "run", "--tracker", "mlflow")
    assert done.returncode == 3 and "pip install 'slimfront[mlflow]'" in done.stderr
    assert "search.trackers" in done.stderr and not (tmp_path / "run").exists()
    done = forked("validate", study_file(trackers=["tensorbord"]))
    assert done.returncode == 2 and "did you mean 'tensorboard'?" in done.stderr
    done = forked("validate", study_file(trackers=["mlflow", "mlflow"]))
    assert done.returncode == 2 and "named twice" in done.stderr
