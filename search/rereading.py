"""What a smaller vocabulary costs: other predictions, and more tokens for the same texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from slimfront.spaces.axes.vocabulary import REMOVED
from slimfront.spaces.draft import Scores
from slimfront.spaces.space import Space
from slimfront.studies.cache import cached
from slimfront.studies.dense import tensors
from slimfront.studies.subject import Subject
from slimfront.studies.threads import fitting, torch_threads

Progress = Callable[[str, float], None]
Read = Callable[[int | None], Subject]
FILE, VERSION = "rereading.json", 1
SENTENCES, BATCH = 256, 32


@dataclass(frozen=True)
class Rereading:
    """What each level of the vocabulary costs by itself; empty where there is no choice.

    Attributes:
        losses: KL divergence from the dense model's predictions, in nats, by parameter.
        stretch: Tokens for each one of the dense model's, by level.
    """

    losses: Mapping[str, list[float]]
    stretch: Sequence[float]


def reread(subject: Subject, space: Space, scores: Scores, read: Read, progress: Progress) -> Rereading:
    """Measure what each level of the vocabulary costs.

    The dense model reads sentences of the search split: in those of the train split, by which tokens are ranked, none
    that stays would be missed.

    Args:
        subject: The dense model.
        space: The space.
        scores: Importance of units.
        read: Returns the subject as it is read with so many rows of the vocabulary.
        progress: Called with a text and the finished share.
    """
    if REMOVED not in space.domains:
        return Rereading({}, ())
    levels = space.domains[REMOVED].values
    kept = [space.draft(scores, space.canonical({**space.dense(), REMOVED: level})).rows for level in levels]
    key = {
        "version": VERSION,
        "weights": subject.weights,
        "data": subject.search.fingerprint(),
        "tokens": subject.train.fingerprint(),
        "rows": kept,
        "torch": torch.__version__,
    }

    def build(folder: Path) -> None:
        losses, stretch = [], []
        with torch_threads(fitting(subject.module)):
            for number, rows in enumerate(kept):
                reader = read(rows)
                losses.append(_divergence(subject, reader) if rows is not None else 0.0)
                stretch.append(reader.longer_than(subject))
                progress("reading with smaller vocabularies", (number + 1) / len(kept))
        (folder / FILE).write_text(json.dumps({"losses": losses, "stretch": stretch}), encoding="utf-8")

    found = json.loads((cached("rereading", key, build) / FILE).read_text(encoding="utf-8"))
    return Rereading({REMOVED: found["losses"]}, found["stretch"])


def _divergence(subject: Subject, reader: Subject) -> float:
    """Return the mean divergence of the dense model's predictions when another reading is put before it, in nats."""
    rows = np.random.default_rng(0).permutation(len(subject.search))[:SENTENCES].tolist()
    rows.sort(key=lambda row: int(subject.search.sizes[row]))
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            before, after = (
                subject.module(**tensors(own.search, part)[0]).logits.double().log_softmax(-1)
                for own in (subject, reader)
            )
            total += float((before.exp() * (before - after)).sum())
    return total / len(rows)
