"""Latency of several models and the dense one in the same rounds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from slimfront.objectives.latency import latency
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.runtimes import Session
from slimfront.objectives.runtimes.runtime import run_all
from slimfront.objectives.stopwatch import LEAST_ROUNDS, Ratio, compared, median, percentiles, ratio
from slimfront.studies.encoding import Requests, widths
from slimfront.studies.schema import Study
from slimfront.studies.subject import Subject

# So many models, and the dense one, are in memory at once.
HEAT = 8
# Longest time of a heat for each who takes part.
SECONDS = 1.0
# Requests that stand for the lengths of the texts.
MIX = 5
Entrant = tuple[Session, Requests]


def requests(study: Study, subject: Subject, reader: Subject, batch: int | None = None) -> Requests:
    """Return the requests whose latency is measured, of as many tokens as the reader makes of the same text.

    Args:
        study: The study.
        subject: The subject as the dense model reads it.
        reader: The subject as the model reads it that is measured.
        batch: Sentences of a request, where they are others than the target's.
    """
    size, stretch = batch or study.target.batch, reader.longer_than(subject)
    stretched = (min(round(tokens * stretch), subject.max_tokens) for tokens in lengths(study, subject, size))
    return tuple(reader.request(size, tokens) for tokens in stretched)


def full_requests(study: Study, subject: Subject, reader: Subject) -> tuple[Requests, Requests]:
    """Return the full batches in which throughput is measured, of the dense model and of the reader."""
    size = study.target.full_batch
    return requests(study, subject, subject, size), requests(study, subject, reader, size)


def lengths(study: Study, subject: Subject, batch: int) -> tuple[int, ...]:
    """Return how many tokens the dense model's requests have: one number, or as many as the texts have.

    Of texts these are quantiles of the lengths to which the batches of the search split are padded.
    """
    tokens = study.target.tokens
    return subject.search.typical(batch, MIX) if tokens == "data" else (tokens,)


def heat(dense: Entrant, others: Sequence[Entrant], base: float | None, least: int = LEAST_ROUNDS) -> list[Measurement]:
    """Return the latency of the dense model and of some others, measured in the same rounds.

    Args:
        dense: The dense model, loaded, and its request.
        others: The others.
        base: The dense model's milliseconds, or None: then its own in these rounds.
        least: Rounds that are run in any case.
    """
    count = len(dense[1])
    runs = [partial(run_all, session, asked) for session, asked in (dense, *others)]
    times, around = compared(runs, dense[0].threads, SECONDS * len(runs), least)
    of = [around | {"tokens": widths(asked)} for _, asked in (dense, *others)]
    # Runs through several requests tell nothing of how long one of them may take.
    tails = [percentiles(own) if count == 1 else {} for own in times]
    alone = median(times[0] / count) if base is None else Ratio(base, base, base)
    first = latency(alone, 1.0, None, of[0], tails[0])
    ratios = [ratio(own, times[0]) for own in times[1:]]
    rest = zip(ratios, of[1:], tails[1:], strict=True)
    return [first, *(latency(found, first.value, None, told, tail) for found, told, tail in rest)]
