"""Trains a student, or a step of one, on what the dense model says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from slimfront.search.recovery.loss import distillation_loss
from slimfront.search.recovery.taps import Seen, Taps
from slimfront.spaces.draft import Recovery
from slimfront.spaces.structure import Anatomy
from slimfront.spaces.student import Student
from slimfront.studies.dense import bucketed, set_rate, tensors
from slimfront.studies.encoding import Encoded
from slimfront.studies.training import TOKENS, adamw, half_precision
from torch import nn

Forward = Callable[[Mapping[str, torch.Tensor]], Any]


@dataclass(frozen=True)
class Teacher:
    """The dense model, and what it says of the sentences that students are trained on.

    Attributes:
        module: The dense module.
        anatomy: What it is made of.
        sentences: The sentences.
        logits: Its logits on them, ``(rows, classes)``.
    """

    module: nn.Module
    anatomy: Anatomy
    sentences: Encoded
    logits: torch.Tensor

    def lesson(self, rows: list[int], recovery: Recovery) -> Lesson:
        """Return what a student is to learn from some sentences."""
        inputs, labels = tensors(self.sentences, rows, TOKENS)
        taps = self.taps(self.module, recovery)
        with torch.no_grad(), half_precision(), taps.read() as seen:
            if taps:
                self.module(**inputs)
        return Lesson(recovery, inputs, labels, self.logits[rows], seen)

    def taps(self, module: nn.Module, recovery: Recovery) -> Taps:
        """Return where ``module``, this one or one with the same names, is read under the terms of a recovery."""
        return Taps(module, self.anatomy, recovery.hidden > 0, recovery.attention > 0)


@dataclass(frozen=True)
class Lesson:
    """One batch.

    Attributes:
        recovery: Temperature and weights of the terms.
        inputs: ``(rows, tokens)`` each.
        labels: ``(rows,)``.
        logits: The teacher's, ``(rows, classes)``.
        seen: The teacher's hidden states and attention, as far as they count.
    """

    recovery: Recovery
    inputs: Mapping[str, torch.Tensor]
    labels: torch.Tensor
    logits: torch.Tensor
    seen: Seen

    def loss(self, forward: Forward, taps: Taps, kept: Mapping[str, int]) -> torch.Tensor:
        """Return the loss of a student.

        Args:
            forward: Runs it.
            taps: Where its module is read.
            kept: Units that it has left, by structure that lost some.
        """
        terms = self.recovery
        with half_precision(), taps.read() as own:
            logits = forward(self.inputs).logits.float()
        loss = distillation_loss(logits, self.logits, self.labels, terms.temperature, terms.weight)
        mask = self.inputs.get("attention_mask", torch.ones_like(self.inputs["input_ids"])).bool()
        if terms.hidden:
            loss = loss + terms.hidden * taps.hidden(own, self.seen, mask)
        if terms.attention:
            loss = loss + terms.attention * taps.attention(own, self.seen, kept, mask)
        return loss


def distil(student: Student, teacher: Teacher, recovery: Recovery, steps: int, batch: int, seed: int) -> None:
    """Train a student in place; what is trained under a grid stays on it.

    Args:
        student: The stitched model.
        teacher: The dense model.
        recovery: Temperature, weights of the terms and learning rate, which falls to zero.
        steps: Optimizer steps (AdamW).
        batch: Sentences of a step.
        seed: Draws the batches.
    """
    taps = teacher.taps(student.module, recovery)
    optimizer = adamw(student.trained.values(), recovery.learning_rate)
    for step, rows in enumerate(batches(teacher.sentences, steps, batch, seed)):
        set_rate(optimizer, recovery.learning_rate * (1 - step / steps))
        loss = teacher.lesson(rows, recovery).loss(student, taps, student.draft.kept)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        # Nothing of the gradients is there while the next step fills the memory with activations.
        optimizer.zero_grad()


def batches(sentences: Encoded, steps: int, size: int, seed: int) -> Iterator[list[int]]:
    """Yield the sentences of each step, epoch after epoch."""
    rng = np.random.default_rng(seed)
    queue: list[list[int]] = []
    for _ in range(steps):
        queue = queue or bucketed(sentences, size, rng)
        yield queue.pop()
