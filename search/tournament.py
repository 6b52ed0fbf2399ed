"""Latency of several models and the dense one in the same rounds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from slimfront.objectives.latency import latency
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.runtimes import Session
from slimfront.objectives.stopwatch import Ratio, conditions, interleaved, median, one_at_a_time, ratio
from slimfront.studies.encoding import Batch
from slimfront.studies.schema import Study
from slimfront.studies.subject import Subject

# So many models, and the dense one, are in memory at once.
HEAT = 8
# Longest time of a heat for each who takes part.
SECONDS = 1.0
Entrant = tuple[Session, Batch]


def request(study: Study, subject: Subject, reader: Subject) -> Batch:
    """Return the request whose latency is measured, of as many tokens as the reader makes of the same text.

    Args:
        study: The study.
        subject: The subject as the dense model reads it.
        reader: The subject as the model reads it that is measured.
    """
    return reader.request(study.target.batch, _tokens(study, subject, reader))


def full_request(study: Study, subject: Subject, reader: Subject) -> Batch:
    """Return the full batch in which throughput is measured; see :func:`request`."""
    return reader.request(study.target.full_batch, _tokens(study, subject, reader))


def _tokens(study: Study, subject: Subject, reader: Subject) -> int:
    return min(round(study.target.tokens * reader.longer_than(subject)), subject.max_tokens)


def heat(dense: Entrant, others: Sequence[Entrant], base: float | None) -> list[Measurement]:
    """Return the latency of the dense model and of some others, measured in the same rounds.

    Args:
        dense: The dense model, loaded, and its request.
        others: The others.
        base: The dense model's milliseconds, or None: then its own in these rounds.
    """
    runs: list[Any] = [partial(session.run, batch) for session, batch in (dense, *others)]
    with one_at_a_time():
        around = conditions()
        times = interleaved(runs, SECONDS * len(runs)).T
    first = latency(median(times[0]) if base is None else Ratio(base, base, base), 1.0, None, around)
    return [first, *(latency(ratio(own, times[0]), first.value, None, around) for own in times[1:])]
