"""What distillation brought: configurations with and without steps of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from slimfront.search.trial import Trial
from slimfront.spaces.axes.distillation import PREFIX, STEPS, TEMPERATURE
from slimfront.spaces.configuration import Configuration

Json = dict[str, Any]
Pair = tuple[Trial, Trial]
Mean = tuple[float, float | None, float | None]
# With fewer pairs than this, trials are compared through what was predicted for them.
LEAST = 3
# Predicted losses below this are all alike: nothing is lost.
FLOOR = 1e-4


def distilled(trials: Sequence[Trial], objectives: Mapping[str, Json]) -> Json | None:
    """Return how configurations changed with steps of distillation, or None where none was ever distilled.

    Two trials are a pair where they differ in nothing but distillation and one has no steps. Of a trial that was
    stopped early counts what was forecast: it was stopped for having lost, so that without it all would have gained.

    Returns:
        ``stopped`` and ``qualities``; ``rows`` by number of steps and ``temperatures``: mean changes with 95 %
        intervals; ``lines``: the first quality over the steps of each pair; ``unmatched``: measured divergence in
        shares of the predicted one by number of steps, where there are too few pairs.
    """
    tried = [trial for trial in trials if int(trial.configuration.get(STEPS, 0)) and trial.cached_from is None]
    if not tried:
        return None
    ended = [trial for trial in trials if trial.measurements and trial.cached_from is None and trial.kind != "dense"]
    pairs = _pairs(ended)
    qualities = [name for name, entry in objectives.items() if entry["direction"] == "maximize"]
    fewest = min((_steps(after) for _, after in pairs), default=0)
    first = [pair for pair in pairs if _steps(pair[1]) == fewest]
    return {
        "stopped": sum(trial.state == "stopped" for trial in tried),
        "pairs": len(pairs),
        "fewest": fewest,
        "qualities": qualities,
        "rows": _rows(pairs, _steps, qualities),
        "temperatures": _rows(first, lambda trial: float(trial.configuration.get(TEMPERATURE, 0)), qualities),
        "lines": _lines(pairs, qualities[0]) if qualities else [],
        "unmatched": _unmatched(ended) if len(pairs) < LEAST else [],
    }


def mean(values: Sequence[float]) -> Mean:
    """Return a mean with the ends of its 95 % interval by Student's t; no ends where there is one value."""
    from scipy.stats import t

    middle = float(np.mean(values))
    if len(values) < 2:
        return middle, None, None
    reach = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return middle, middle - reach, middle + reach


def _steps(trial: Trial) -> int:
    return int(trial.configuration.get(STEPS, 0))


def _stem(configuration: Configuration) -> tuple[object, ...]:
    return tuple(value for name, value in configuration.items() if not name.startswith(PREFIX))


def _pairs(trials: Sequence[Trial]) -> list[Pair]:
    plain = {_stem(trial.configuration): trial for trial in trials if not _steps(trial)}
    found = [(plain.get(_stem(trial.configuration)), trial) for trial in trials if _steps(trial)]
    return [(before, after) for before, after in found if before is not None]


def _rows(pairs: Sequence[Pair], key: Callable[[Trial], float], qualities: Sequence[str]) -> list[Json]:
    rows = []
    for value in sorted({key(after) for _, after in pairs}):
        here = [pair for pair in pairs if key(pair[1]) == value]
        row: Json = {"value": value, "pairs": len(here)}
        row["changes"] = {name: mean([b.value(name) - a.value(name) for a, b in here]) for name in qualities}
        row["divergence"] = _ratio([(_divergence(a), _divergence(b)) for a, b in here])
        rows.append(row)
    return rows


def _divergence(trial: Trial) -> float:
    return float(trial.details.get("divergence", 0.0))


def _ratio(pairs: Sequence[tuple[float, float]]) -> Mean | None:
    """Return the geometric mean of what the second is of the first, or None where nothing was lost."""
    logs = [float(np.log(after / before)) for before, after in pairs if before > FLOOR and after > 0]
    if not logs:
        return None
    middle, low, high = (None if end is None else float(np.exp(end)) for end in mean(logs))
    assert middle is not None
    return middle, low, high


def _lines(pairs: Sequence[Pair], quality: str) -> list[Json]:
    """Return a line for each way in which a configuration was distilled, from no steps to the most."""
    chains: dict[tuple[object, ...], list[Trial]] = {}
    for before, after in pairs:
        settings = tuple((name, value) for name, value in after.configuration.items() if name != STEPS)
        chains.setdefault(settings, [before]).append(after)
    return [
        {
            "trials": [trial.number for trial in chain],
            "steps": [_steps(trial) for trial in chain],
            "values": [trial.value(quality) for trial in chain],
        }
        for chain in (sorted(chain, key=_steps) for chain in chains.values())
    ]


def _unmatched(trials: Sequence[Trial]) -> list[Json]:
    """Return by number of steps what was measured of the divergence that the tables alone had predicted."""
    told = [trial for trial in trials if "loss" in trial.details.get("predicted", {})]
    rows = []
    for steps in sorted({_steps(trial) for trial in told}):
        here = [(t.details["predicted"]["loss"], _divergence(t)) for t in told if _steps(t) == steps]
        ratio = _ratio(here)
        if ratio is not None:
            rows.append({"value": steps, "trials": len(here), "ratio": ratio})
    return rows
