"""What random mixtures of levels cost together: errors of layers do not add up, and large cuts are no small steps."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from slimfront.search.bank import Bank
from slimfront.search.sensitivity import identity
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Value
from slimfront.spaces.draft import Scores
from slimfront.spaces.space import Space
from slimfront.spaces.student import run
from slimfront.studies.cache import cached
from slimfront.studies.compressed import as_floats
from slimfront.studies.dense import tensors
from slimfront.studies.subject import Subject
from torch import nn

Progress = Callable[[str, float], None]
Mixture = tuple[dict[str, Value], float]
FILE, VERSION = "mixtures.json", 1
SENTENCES = 96
# Shares of the parameters that are drawn at random, all others dense; so many mixtures of each.
SHARES, EACH = (0.1, 0.2, 0.4, 0.8), 4


def mixtures(
    subject: Subject, base: Subject, space: Space, scores: Scores, bank: Bank, progress: Progress
) -> list[Mixture]:
    """Return random configurations without recovery of their own and their KL divergence from dense, in nats.

    Args:
        subject: The dense model; sentences come from its train split.
        base: The model whose weights are stitched.
        space: The space.
        scores: Importance of units.
        bank: Codes of every level.
        progress: Called with a text and the finished share.
    """
    key = identity(base, space, scores, bank) | {"version": VERSION, "dense": subject.weights}

    def build(folder: Path) -> None:
        found = _measure(subject, base.module, space, scores, bank, progress)
        (folder / FILE).write_text(json.dumps(found, allow_nan=False), encoding="utf-8")

    text = (cached("mixtures", key, build) / FILE).read_text(encoding="utf-8")
    return [(values, float(divergence)) for values, divergence in json.loads(text)]


def _measure(
    subject: Subject, base: nn.Module, space: Space, scores: Scores, bank: Bank, progress: Progress
) -> list[Mixture]:
    rows = np.random.default_rng(1).permutation(len(subject.train))[:SENTENCES].tolist()
    inputs, _labels = tensors(subject.train, rows)
    drawn, found = list(dict.fromkeys(_draw(space))), []
    with torch.no_grad():
        before = subject.module(**inputs).logits.double().log_softmax(-1)
        for number, configuration in enumerate(drawn):
            draft = space.draft(scores, configuration)
            module = base if draft.compresses else subject.module
            stitched = draft.stitch(module, bank.codes)
            values = {name: as_floats(value).float() for name, value in stitched.tensors.items()}
            after = run(module, draft, values, inputs, stitched.reads).logits.double().log_softmax(-1)
            found.append((dict(configuration), float((before.exp() * (before - after)).sum(-1).mean())))
            progress("measuring what mixtures of levels cost", (number + 1) / len(drawn))
    return found


def _draw(space: Space) -> Iterator[Configuration]:
    rng, dense = random.Random(0), space.dense()
    for share in SHARES:
        for _ in range(EACH):
            values = {
                name: rng.choice(domain.values) if rng.random() < share else dense[name]
                for name, domain in space.domains.items()
            }
            yield space.bare(values)
