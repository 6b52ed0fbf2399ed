from __future__ import annotations

import os
import threading

import pytest
from slimfront.objectives.pinning import pinned

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity to set")


def test_all_threads_stay_on_the_chosen_core_and_are_let_go() -> None:
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one core leaves no choice")
    over, late = threading.Event(), threading.Thread(target=lambda: over.wait(60))
    early = threading.Thread(target=lambda: over.wait(60))
    early.start()
    with pinned(1) as chosen:
        late.start()
        assert len(chosen) == 1 and set(chosen) <= allowed
        assert os.sched_getaffinity(0) == os.sched_getaffinity(early.native_id or 0) == set(chosen)
    # One that began in between would have inherited the core.
    for thread in (early, late):
        assert os.sched_getaffinity(thread.native_id or 0) == allowed
    over.set()
    assert os.sched_getaffinity(0) == allowed


def test_where_there_is_no_choice_nothing_is_pinned() -> None:
    allowed = os.sched_getaffinity(0)
    for threads in (len(allowed), len(allowed) + 1):
        with pinned(threads) as chosen:
            assert chosen == [] and os.sched_getaffinity(0) == allowed
    with pytest.raises(RuntimeError), pinned(1):
        raise RuntimeError("a run failed")
    assert os.sched_getaffinity(0) == allowed
