"""What a search shows while it runs."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from slimfront.search.ledger import Ledger
from slimfront.search.progress import Display
from slimfront.search.standing import Progress
from slimfront.search.trial import Trial
from slimfront.spaces.configuration import Configuration
from slimfront.studies.limits import parse_limit

OBJECTIVES = {
    "size": {"unit": "byte", "direction": "minimize"},
    "latency": {"unit": "ms", "direction": "minimize"},
    "accuracy": {"unit": "fraction", "direction": "maximize"},
}
# Size in MB, latency in ms, accuracy: the last but one hardly differs from the second, the last breaks the constraint.
VALUES = [
    (90.0, 10.0, 0.81),
    (9.0, 9.0, 0.80),
    (20.0, 2.0, 0.79),
    (30.0, 5.0, 0.82),
    (8.99, 9.01, 0.80),
    (1.0, 1.0, 0.5),
]


def trial(number: int, megabytes: float, latency: float, accuracy: float) -> Trial:
    values = {"size": megabytes * 1e6, "latency": latency, "accuracy": accuracy}
    measured = {name: {"value": value, "steer": value} for name, value in values.items()}
    broken = {"accuracy": 0.78 - accuracy}
    kind = "sampled" if number else "dense"
    return Trial(number, "complete", Configuration({"x": number}), kind, 0, measured, {}, broken, None, None, 1)


def told(trials: int) -> Progress:
    limits = {"accuracy": parse_limit("accuracy", ">= dense - 0.03", "fraction", "x")}
    ledger = Ledger(OBJECTIVES, [trial(number, *row) for number, row in enumerate(VALUES[:trials])], limits)
    words = tuple(f"{name} {limit.text}" for name, limit in limits.items())
    leaders = tuple(ledger.leaders(3))
    share, best = trials / 12, "front of 4"
    return Progress(trials, 12, 1, 0, 2, share, "trials", 100.0, best, leaders, ledger.dense, OBJECTIVES, words)


def shown(progress: Progress) -> str:
    out = io.StringIO()
    with Display(Console(file=out, force_terminal=True, width=80, color_system=None)) as listener:
        listener.trial(progress)
    return out.getvalue()


def test_a_terminal_shows_the_points_that_the_front_would_miss_most() -> None:
    assert [one.number for one in told(6).leaders] == [1, 2, 3]
    text = shown(told(4))
    assert "trial 4 of 12" in text and "2 min left" in text and "within accuracy >= dense - 0.03" in text
    rows = [line.split("│") for line in text.splitlines() if "points)" in line]
    assert [cell.strip() for cell in rows[0][1:-1]] == [
        "1",
        "9.00 MB (10.0× less)",
        "9.000 ms (1.1× less)",
        "0.8000 (-1.0 points)",
    ]
    assert max(len(line) for line in text.splitlines() if "│" in line) <= 80


def test_a_terminal_says_what_limits_the_search() -> None:
    assert "33 % of the" not in shown(told(4))
    assert "90 % of the time" in " ".join(shown(replace(told(4), share=0.9, limit="time")).split())


def test_a_terminal_says_when_nothing_keeps_the_constraints() -> None:
    assert "nothing but the dense model so far, within accuracy" in " ".join(shown(told(1)).split())
    assert "so far" not in shown(replace(told(1), dense=None))


def test_elsewhere_there_are_sober_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as listener:
        listener.stage("scoring heads", 0.5)
        listener.trial(told(4))
        listener.trial(replace(told(4), share=1.0, limit="time", remaining=None))
        listener.trial(replace(told(4), trials=3, cached=0, share=1.0, remaining=None))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "scoring heads (50%)",
        "trial 4 of 12, 1 answered from the records, 2 stopped early, 2 min left: front of 4 (33%)",
        "trial 4 of 12, 1 answered from the records, 2 stopped early: front of 4 (100% of the time)",
        "trial 4 of 4, 2 stopped early: front of 4 (100%)",
    ]
