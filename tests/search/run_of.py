"""A run of made-up trials, for tests of what is shown of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimfront.objectives.objective import OBJECTIVES
from slimfront.search.records import Records
from slimfront.search.run import Run
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Domain
from slimfront.studies.reader import parse_study

NAME = "a-study"
BITS = [f"bits/block.{block}.{role}" for block in range(6) for role in ("qkv", "ffn_in", "ffn_out")]
SHARES = [f"sparsity/block.{block}.{kind}" for block in range(6) for kind in ("attention", "ffn")]
DOMAINS = {name: Domain((32, 8, 4)) for name in BITS} | {name: Domain((0.0, 0.5)) for name in SHARES}

STUDY: dict[str, Any] = {
    "name": NAME,
    "model": {"hub": "some/model", "max_tokens": 48},
    "data": {
        "path": "reviews.csv",
        "text": "text",
        "label": "label",
        "splits": {"train": 10, "search": 10, "held_out": 10},
    },
    "train": {"method": "none"},
    "space": {"bits": {}},
}


def make_run(folder: Path, trials: int) -> Run:
    """Return a run whose records hold made-up trials; one of them failed."""
    run = Run.begin(folder, parse_study(STUDY))
    records = Records(folder, create=True)
    objectives = {name: OBJECTIVES.get(name, where="x").entry() for name in ("size", "latency", "accuracy")}
    records.begin(NAME, objectives)
    for number in range(trials):
        values: dict[str, Any] = {name: DOMAINS[name].values[number % len(DOMAINS[name].values)] for name in DOMAINS}
        trial = records.start(number, Configuration(values), DOMAINS, "dense" if not number else "sampled", number)
        if number == 3:
            records.fail(trial, "failed: </script><script>alert(1)</script>")
            continue
        size, latency, accuracy = 1e8 / (1 + number), 10 - 9 * number / trials, 0.9 - 0.1 * number / trials
        measured = {
            "size": {"value": size, "unit": "byte", "interval": None, "steer": size},
            "latency": {"value": latency, "unit": "ms", "interval": [latency * 0.98, latency * 1.03], "steer": 1.0},
            "accuracy": {"value": accuracy, "unit": "fraction", "interval": [0.7, 0.95], "steer": accuracy},
        }
        outcome = {"measurements": measured, "files": {"model": "0"}, "predicted": {"size": size, "latency": 0.9}}
        records.complete(trial, outcome, {})
    return run
