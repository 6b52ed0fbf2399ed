from __future__ import annotations

import time

from slimfront.search.clock import Clock


def burn(seconds: float) -> None:
    stop = time.process_time() + seconds
    while time.process_time() < stop:
        pass


def test_stages_count_for_themselves_alone() -> None:
    clock = Clock()
    with clock.stage("outer"):
        burn(0.02)
        with clock.stage("inner"):
            burn(0.04)
        burn(0.02)
    burn(0.03)
    with clock.stage("inner"):
        burn(0.01)
    found = clock.seconds()
    assert 0.04 <= found["outer"] < 0.05 and 0.05 <= found["inner"] < 0.06 and 0.03 <= found["other"] < 0.04
    assert abs(found["total"] - found["outer"] - found["inner"] - found["other"]) < 1e-3
