"""Ten thousand trials in one search: it does not grow, and does not slow down."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import pytest
from slimfront.search import remote
from slimfront.search.launching import Listener, launch
from slimfront.search.standing import Progress

from tests.faults.processes import WORKER, Trivial

TRIALS, STRETCH = 10_000, 500


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_long_search_stays_as_it_was(trivial_study: Callable[..., Trivial], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "WORKER", WORKER)
    study, own = trivial_study("soak", trials=TRIALS), psutil.Process()
    ends: list[float] = []
    memory: list[int] = []
    files: list[int] = []

    def note(progress: Progress) -> None:
        ends.append(time.monotonic())
        if progress.done % STRETCH == 0:
            memory.append(own.memory_info().rss)
            files.append(own.num_fds())

    launch(study.study, study.runs / "run", listener=Listener(trial=note))
    assert len(ends) > TRIALS
    early, late = (sum(ends[b] - ends[b - 1] for b in range(a, a + STRETCH)) for a in (STRETCH, TRIALS - STRETCH))
    grown = (max(memory) - memory[0]) / 1e6
    print(f"memory grew by {grown:.1f} MB, files {files[0]} to {max(files)}, time of a trial {late / early:.2f} times")
    assert grown < 50 and max(files) - files[0] <= 2 and late <= 2 * early
