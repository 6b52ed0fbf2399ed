"""Which processes a local search uses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from slimfront.search import remote
from slimfront.search.engines import optuna
from slimfront.search.launching import Listener, launch
from slimfront.search.standing import Progress

from tests.faults.processes import WORKER, Trivial, workers


@pytest.mark.parametrize("trials", [4, 12])
def test_a_process_that_loaded_many_models_does_not_take_the_last_measurements(
    trials: int, trivial_study: Callable[..., Trivial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "WORKER", WORKER)
    monkeypatch.setattr(optuna, "WORN", 10)
    searching: set[int] = set()
    ending: set[int] = set()
    stages: list[str] = []

    def trial(_progress: Progress) -> None:
        searching.update(workers())

    def stage(text: str, _share: float) -> None:
        stages.append(text)
        if "once more" in text:
            ending.update(workers())

    study = trivial_study(f"engine-{trials}", trials=trials)
    front = launch(study.study, study.runs / "run", listener=Listener(trial=trial, stage=stage))
    assert ending and front.points
    assert ending.isdisjoint(searching) == (trials > 10)
    timed = [number for number, text in enumerate(stages) if "once more" in text]
    read = [number for number, text in enumerate(stages) if "held-out" in text]
    assert max(timed) < min(read)
