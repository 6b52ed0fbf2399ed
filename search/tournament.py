"""Latency of several models and the dense one in the same rounds, on several occasions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from slimfront.objectives.latency import latency
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.rest import AT_REST
from slimfront.objectives.stopwatch import LEAST_ROUNDS, Ratio, Times, across, percentiles, ratio, undisturbed
from slimfront.search.occasion import Entrant, Occasion, occasion
from slimfront.search.trial import Trial
from slimfront.studies.encoding import Requests
from slimfront.studies.reading import Reading
from slimfront.studies.schema import Study

# So many models, and the dense one, are in memory at once.
HEAT = 8
# Processes in which each of them is timed while the machine is at rest, and at most so many more.
OCCASIONS, MORE = 3, 2
# CPU seconds of a search whose front is worth more than one process, the share of them that may be spent on rest in
# all, and most seconds that one process waits for it.
LONG, SHARE, PATIENCE = 300.0, 0.05, 15.0
# Longest time of an occasion for each who takes part.
SECONDS = 0.25
# Requests that stand for the lengths of the texts.
MIX = 5
T = TypeVar("T")
# Each heat, and the occasions on which it was timed.
Heats = list[tuple[Sequence[T], list[Occasion]]]


@dataclass(frozen=True)
class Effort:
    """What a front is worth.

    Attributes:
        occasions: Processes in which it is timed while the machine is at rest.
        patience: Seconds that may be waited for that, and spent on further processes, in all.
    """

    occasions: int
    patience: float

    @classmethod
    def after(cls, trials: Sequence[Trial], occasions: int, own: Collection[int] = ()) -> Effort:
        """Return the effort after some trials.

        Args:
            trials: The search.
            occasions: Processes after a search that was not short.
            own: Numbers of trials whose timing is part of what may be spent in all: it takes as long as theirs did.
        """
        cpu = {trial.number: trial.details.get("cpu", {}) for trial in trials}
        spent = sum(float(stages.get("total", 0.0)) for stages in cpu.values())
        wanted = occasions if spent >= LONG else 1
        timing = sum(float(cpu.get(number, {}).get(stage, 0.0)) for number in own for stage in ("session", "latency"))
        return cls(wanted, max(0.0, SHARE * spent - wanted * timing))

    def rounds(self, least: int = LEAST_ROUNDS) -> int:
        """Return the rounds of one occasion, where all of them together have so many at least."""
        return -(-least // self.occasions)


def known_rest(trials: Sequence[Trial]) -> float:
    """Return the dense model's milliseconds while hardly anything else disturbed a trial; infinite where not known."""
    conditions = [trial.measurements.get("latency", {}).get("conditions", {}) for trial in trials]
    known = [float(found["dense"]) for found in conditions if "dense" in found]
    return undisturbed(np.array(known)) if known else math.inf


def tournament(
    entrants: Sequence[T],
    ask: Callable[[Sequence[T], float, float], Mapping[str, Any]],
    effort: Effort,
    progress: Callable[[float], None] = lambda _share: None,
    rest: float = math.inf,
) -> Heats[T]:
    """Time all in heats, and every heat on several occasions, until the machine was at rest on enough of them.

    Args:
        entrants: Who takes part, beside the dense model.
        ask: Times one heat, and the dense model as its first, in a process of its own, given the milliseconds of the
            dense model at rest and the seconds after which nothing is waited for; see :func:`timed`.
        effort: What the front is worth.
        progress: Is told the finished share.
        rest: Milliseconds of the dense model at rest, as far as known before.

    Returns:
        Each heat with the occasions on which it was disturbed least.
    """
    heats = [entrants[start : start + HEAT] for start in range(0, max(1, len(entrants)), HEAT)]
    found: list[list[Occasion]] = [[] for _ in heats]
    wanted, patience, cost = effort.occasions, effort.patience, 0.0
    for number in range(wanted + MORE):
        for place, heat in enumerate(heats):
            rest = min([rest, *(one.rest for own in found for one in own)])
            resting = sum(one.rest <= AT_REST * rest for one in found[place])
            # A further process is paid for: it may take longer to start than a short search is worth.
            price = cost if number >= wanted else 0.0
            if resting < wanted and (number < wanted or patience > price):
                begun = time.monotonic()
                found[place].append(Occasion.of(ask(heat, rest, min(patience - price, PATIENCE))))
                waited = float(found[place][-1].conditions["waited"])
                cost = max(cost, time.monotonic() - begun - waited)
                patience = max(0.0, patience - price - waited)
            progress(min(1.0, (number * len(heats) + place + 1) / (wanted * len(heats))))
    quietest = [sorted(own, key=lambda one: one.rest)[:wanted] for own in found]
    return list(zip(heats, quietest, strict=True))


def timed(
    dense: Entrant,
    heat: Sequence[Entrant],
    rest: float,
    patience: float,
    rounds: int,
) -> dict[str, Any]:
    """Time a heat once, in a process of its own.

    Args:
        dense: The dense model's artifact and its requests.
        heat: Those of the others.
        rest: The dense model's milliseconds at rest.
        patience: Seconds after which nothing is waited for.
        rounds: Rounds that are run in any case.
    """
    everyone = [dense, *heat]
    return occasion(everyone, rest, patience, SECONDS * len(everyone), rounds)


def alone(occasions: Sequence[Occasion]) -> Measurement:
    """Return the dense model's own latency."""
    times = [one.times[0] / len(one.tokens[0]) for one in occasions]
    (found,) = _ratios([np.stack([np.ones_like(own), own]) for own in times])
    return latency(found, 1.0, None, *_around(occasions, 0))


def latencies(occasions: Sequence[Occasion], base: float) -> list[Measurement]:
    """Return the latency of each of a heat, measured beside the dense model, which takes ``base`` milliseconds."""
    found = enumerate(_ratios([one.times for one in occasions]), start=1)
    return [latency(one, base, None, *_around(occasions, place)) for place, one in found]


def _ratios(occasions: Sequence[Times]) -> list[Ratio]:
    """Return the ratio of each run to the first: what one process tells, or what several have in common.

    Args:
        occasions: Milliseconds of each run in each round, ``(runs, rounds)``, by process.
    """
    if len(occasions) > 1:
        return across(np.array([[undisturbed(own) for own in times] for times in occasions]))
    base, *others = occasions[0]
    return [ratio(own, base) for own in others]


def _around(occasions: Sequence[Occasion], place: int) -> tuple[dict[str, object], dict[str, float]]:
    """Return the conditions of all occasions together, and the percentiles of a model."""
    told, tokens = [one.conditions for one in occasions], occasions[0].tokens[place]
    around = told[0] | {
        "load": max(one["load"] for one in told),
        "rounds": sum(one["rounds"] for one in told),
        "waited": sum(one["waited"] for one in told),
        "occasions": len(occasions),
        "dense": min(one.rest for one in occasions),
        "tokens": tokens,
    }
    around |= {"disturbed": True} if any("disturbed" in one for one in told) else {}
    # Runs through several requests tell nothing of how long one of them may take.
    tail = percentiles(np.concatenate([one.times[place] for one in occasions])) if len(tokens) == 1 else {}
    return around, tail


def requests(study: Study, dense: Reading, reader: Reading, batch: int | None = None) -> Requests:
    """Return the requests whose latency is measured, of as many tokens as the reader makes of the same text.

    Args:
        study: The study.
        dense: The texts as the dense model reads them.
        reader: The texts as the model reads them that is measured.
        batch: Sentences of a request, where they are others than the target's.
    """
    size, stretch = batch or study.target.batch, reader.longer_than(dense)
    stretched = (min(round(tokens * stretch), dense.max_tokens) for tokens in lengths(study, dense, size))
    return tuple(reader.request(size, tokens) for tokens in stretched)


def full_requests(study: Study, dense: Reading, reader: Reading) -> tuple[Requests, Requests]:
    """Return the full batches in which throughput is measured, of the dense model and of the reader."""
    size = study.target.full_batch
    return requests(study, dense, dense, size), requests(study, dense, reader, size)


def lengths(study: Study, dense: Reading, batch: int) -> tuple[int, ...]:
    """Return how many tokens the dense model's requests have: one number, or as many as the texts have.

    Of texts these are quantiles of the lengths to which the batches of the search split are padded.
    """
    tokens = study.target.tokens
    return dense.search.typical(batch, MIX) if tokens == "data" else (tokens,)
