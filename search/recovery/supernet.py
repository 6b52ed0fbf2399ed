"""Recovery that all trials share: the model is distilled once as a super-network of everything that may be stitched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from slimfront.search.recovery.distil import Teacher, batches
from slimfront.spaces.axes.depth import PREFIX as DEPTH
from slimfront.spaces.axes.distillation import PREFIX as DISTILLATION
from slimfront.spaces.axes.unstructured import PREFIX as UNSTRUCTURED
from slimfront.spaces.axes.vocabulary import PREFIX as VOCABULARY
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Domain, Value
from slimfront.spaces.draft import Draft, Recovery, Scores
from slimfront.spaces.quantizers.affine import Affine
from slimfront.spaces.space import Space
from slimfront.spaces.student import run, straight_through
from slimfront.spaces.surgery import Slice
from slimfront.studies.cache import cached, digest
from slimfront.studies.checkpoint import Checkpoint
from slimfront.studies.dense import embedding_tables, set_rate
from slimfront.studies.schema import SharedRecovery
from slimfront.studies.tensors import adopted
from slimfront.studies.threads import fitting, torch_threads
from slimfront.studies.training import adamw, arithmetic
from torch import nn

Progress = Callable[[str, float], None]
FILE, VERSION = "weights.safetensors", 2
# Codes from this width on are as good as floats in training.
NEARLY_EXACT = 6
# How far the levels of one drawn model scatter around their common depth of compression, which is between 0 and 1.
SCATTER = 0.3
# The largest share of the blocks that are missing, on average, from a drawn model.
MOST_REMOVED = 0.5


def super_network(
    space: Space, scores: Scores, teacher: Teacher, weights: str, spec: SharedRecovery, progress: Progress
) -> nn.Module:
    """Return the dense module with weights from which compressed models are stitched, from the cache where it is there.

    Every step trains the whole model, the most compressed one that a hand would try, and some in between, on the same
    sentences and the same weights (the sandwich rule: Yu and Huang 2019, "Universally Slimmable Networks and Improved
    Training Techniques", section 3.2); all learn from the dense model, which is the better teacher as long as
    the whole super-network is not better.

    Args:
        space: What may be stitched.
        scores: Importance of units: the least important are missing wherever some are.
        teacher: The dense model.
        weights: SHA-256 of its parameters.
        spec: The study's section ``recovery``.
        progress: Called with a text and the finished share.
    """
    compressing = _compressing(space)
    key = {
        "version": VERSION,
        "weights": weights,
        "data": teacher.sentences.fingerprint(),
        "spec": spec.model_dump(mode="json"),
        "domains": {name: list(domain.values) for name, domain in compressing.items()},
        "smallest": {name: value for name, value in space.uniform()[-1].items() if name in compressing},
        "capabilities": asdict(space.capabilities),
        "scores": {name: digest(values.tolist()) for name, values in scores.items()},
        **arithmetic(),
        **({"fixed": space.fixed} if space.fixed else {}),
    }

    def build(folder: Path) -> None:
        training = _Training(copy.deepcopy(teacher.module), space, scores, teacher, spec)
        with torch_threads(fitting(teacher.module)):
            training.run(Checkpoint.of("supernet", key), progress)
        save_file({name: value.detach().contiguous() for name, value in training.weights.items()}, folder / FILE)

    folder = cached("supernet", key, build)
    return adopted(teacher.module, folder / FILE).eval().requires_grad_(True)


def _compressing(space: Space) -> dict[str, Domain]:
    """Return the parameters that change the weights that are trained."""
    untouched = (DISTILLATION, VOCABULARY, UNSTRUCTURED)
    return {name: domain for name, domain in space.domains.items() if not name.startswith(untouched)}


@dataclass
class _Training:
    """The training of one super-network.

    Attributes:
        module: A copy of the dense module, whose parameters are trained.
        space: What may be stitched.
        scores: Importance of units.
        teacher: The dense model.
        spec: Its settings.
        weights: The parameters that are trained, by name.
    """

    module: nn.Module
    space: Space
    scores: Scores
    teacher: Teacher
    spec: SharedRecovery
    weights: dict[str, nn.Parameter] = field(init=False)
    _tables: dict[tuple[str, int], torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tables = embedding_tables(self.module)
        self.weights = {name: value for name, value in self.module.named_parameters() if name not in tables}
        self._quantizer, self._smallest = Affine(), self.space.bare(self.space.uniform()[-1])
        self._recovery = Recovery(
            (self.spec.steps,), self.spec.temperature, self.spec.weight, self.spec.hidden, self.spec.attention
        )
        self._taps = self.teacher.taps(self.module, self._recovery)

    def run(self, checkpoint: Checkpoint, progress: Progress) -> None:
        """Train, from the last checkpoint on."""
        optimizer = adamw(self.weights.values(), self.spec.learning_rate)
        begin = checkpoint.restore(self.weights, optimizer)
        for step, rows in enumerate(batches(self.teacher.sentences, self.spec.steps, self.spec.batch, self.spec.seed)):
            if step < begin:
                continue
            set_rate(optimizer, self.spec.learning_rate * (1 - step / self.spec.steps))
            loss = self._step(rows, np.random.default_rng([self.spec.seed, step]), optimizer)
            progress(f"distilling the super-network, loss {loss:.3f}", (step + 1) / self.spec.steps)
            checkpoint.rest(step + 1, self.weights, optimizer)
        checkpoint.remove()

    def _step(self, rows: list[int], rng: np.random.Generator, optimizer: torch.optim.Optimizer) -> float:
        lesson = self.teacher.lesson(rows, self._recovery)
        drafts, total = self._drafts(rng), 0.0
        for draft in drafts:
            forward = partial(run, self.module, draft, self._values(draft))
            loss = lesson.loss(forward, self._taps, draft.kept) / len(drafts)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        optimizer.step()
        optimizer.zero_grad()
        return total

    def _drafts(self, rng: np.random.Generator) -> list[Draft]:
        """Return the whole model, the most compressed one, and some between them."""
        drawn = [self._draw(rng) for _ in range(self.spec.sampled)]
        chosen = (self.space.dense(), self._smallest, *drawn)
        return [self.space.draft(self.scores, configuration) for configuration in chosen]

    def _draw(self, rng: np.random.Generator) -> Configuration:
        depths: dict[str, float] = {}
        found: dict[str, Value] = {}
        for name, domain in _compressing(self.space).items():
            axis = name.partition("/")[0]
            most = MOST_REMOVED if name.startswith(DEPTH) else 1.0
            depth = depths.setdefault(axis, most * float(rng.random())) + most * SCATTER * float(rng.standard_normal())
            found[name] = domain.values[int(np.clip(depth * len(domain.values), 0, len(domain.values) - 1))]
        return self.space.bare({**self.space.dense(), **found, **self.space.fixed})

    def _values(self, draft: Draft) -> dict[str, torch.Tensor]:
        """Return a draft's parameters, differentiable after the super-network's."""
        parameters = dict(self.module.named_parameters())
        slices, found = draft.slices(), {}
        for name, form in draft.forms({name: tuple(value.shape) for name, value in parameters.items()}).items():
            value, bits, group = parameters[name], form.bits, form.group
            if name not in self.weights:
                found[name] = self._table(name, value, bits, group)
                continue
            part = slices.get(name, Slice()).of(value)
            if bits < NEARLY_EXACT:
                part = straight_through(part, self._quantizer.quantize(part.detach(), bits, group))
            found[name] = part
        return found

    def _table(self, name: str, value: nn.Parameter, bits: int, group: int) -> torch.Tensor:
        if bits >= NEARLY_EXACT:
            return value.detach()
        if (name, bits) not in self._tables:
            self._tables[name, bits] = self._quantizer.quantize(value.detach(), bits, group).dequantize()
        return self._tables[name, bits]
