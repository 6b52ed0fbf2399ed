"""Whole models whose latency tells what their parts take together."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from slimfront.objectives.rest import Rest, at_rest
from slimfront.objectives.sessions import Session
from slimfront.objectives.sessions.session import run_all
from slimfront.objectives.stopwatch import LEAST_ROUNDS, SECONDS, undisturbed
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Value
from slimfront.spaces.space import Space
from slimfront.studies.encoding import Requests

# How many are random, and how far their levels lie from their strength.
RANDOM, SPREAD = 8, 0.25
# How often each is timed while the machine is at rest, how often at most, and the share of the time that may be waited
# for that: whole searches rely on these few.
PASSES, MOST, PATIENT = 2, 3, 0.3
# So many are timed in the same rounds, beside the dense one, as long as the dense weights of all do not take more than
# so many bytes.
HEAT, ROOM = 4, 1 << 29


def chosen(space: Space, rng: random.Random) -> Iterator[Configuration]:
    """Yield every other uniform setting and some random configurations, none of them recovered.

    Each of the random ones has a strength of its own, around which its levels lie. Levels that are all equally likely
    crowd where the sums of the parts are in the middle of their range, and tell nothing of its ends.
    """
    for configuration in space.uniform()[::2]:
        yield space.bare(configuration)
    for number in range(RANDOM):
        strength, values = (number + rng.random()) / RANDOM, {}
        for name, domain in space.domains.items():
            place = min(1.0, max(0.0, rng.gauss(strength, SPREAD)))
            values[name] = domain.values[min(len(domain.values) - 1, int(place * len(domain.values)))]
        yield space.bare(values)


def side_by_side(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return how many models, whose dense weights have these shapes, are timed in the same rounds."""
    return max(1, min(HEAT, ROOM // sum(4 * int(np.prod(shape)) for shape in shapes.values())))


def probed(
    space: Space,
    load: Callable[[Configuration], Session],
    requests: Requests,
    heat: int,
    progress: Callable[[float], None],
) -> list[tuple[dict[str, Value], float]]:
    """Time some configurations in the same rounds as the dense model, on a machine at rest as far as it comes to it.

    Args:
        space: The space.
        load: Loads a configuration's model.
        requests: What each runs through.
        heat: How many are timed in the same rounds.
        progress: Is told the finished share.

    Returns:
        Each configuration with its latency relative to the dense model's.
    """
    rng, rest = random.Random(0), Rest(PATIENT, memory=None)
    probes, dense = list(dict.fromkeys(chosen(space, rng))), load(space.dense())
    found: dict[Configuration, list[tuple[float, float]]] = {one: [] for one in probes}

    def resting(one: Configuration) -> list[float]:
        return [ratio for base, ratio in found[one] if rest.was(base)]

    open_ones, done = probes, 0
    for _ in range(MOST):
        # Who is timed beside whom differs from pass to pass.
        order = rng.sample(open_ones, len(open_ones))
        for start in range(0, len(order), heat):
            group = order[start : start + heat]
            base, ratios = _timed(dense, [load(one) for one in group], requests, rest)
            for one, ratio in zip(group, ratios, strict=True):
                found[one].append((base, ratio))
            done += len(group)
            progress(1 - 0.5 ** (done / len(probes)))
        open_ones = [one for one in probes if len(resting(one)) < PASSES]
    progress(1.0)
    kept = [(one, resting(one) or [ratio for _, ratio in found[one]]) for one in probes]
    return [(dict(one), float(np.exp(np.mean(np.log(ratios))))) for one, ratios in kept]


def _timed(dense: Session, others: Sequence[Session], requests: Requests, rest: Rest) -> tuple[float, list[float]]:
    """Return the milliseconds of the dense model and the ratios of the others to it."""
    runs = [partial(run_all, session, requests) for session in (dense, *others)]
    # In two passes a single one takes as many rounds as a trial's measurement.
    seconds, least = SECONDS * len(others) / PASSES, LEAST_ROUNDS // PASSES
    times, around = at_rest(runs, dense.threads, rest.level, rest.patience, seconds, least)
    base, *own = (undisturbed(of_one) for of_one in times)
    rest.saw(base, around["waited"])
    return base, [one / base for one in own]
