"""How much each level of each parameter of the space hurts by itself, from one pass over the dense model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from slimfront.search.bank import Bank
from slimfront.spaces.draft import Draft, Scores
from slimfront.spaces.ranges import Range, rounded_in
from slimfront.spaces.space import Space
from slimfront.spaces.structure import Anatomy
from slimfront.spaces.surgery import Slice
from slimfront.studies.cache import cached, digest
from slimfront.studies.compressed import QuantizedTensor, as_floats
from slimfront.studies.dense import tensors
from slimfront.studies.subject import Subject
from torch import nn

Progress = Callable[[str, float], None]
Losses = dict[str, list[float]]
FILE, VERSION = "sensitivity.json", 3
SENTENCES, BATCH = 64, 32
# Up to so many classes every one is looked at; beyond, so many are drawn for each sentence.
CLASSES = 3
# A sum over sentences to differentiate, and what the square of a sentence's slope counts, ``(rows,)``.
Look = tuple[torch.Tensor, torch.Tensor]


@dataclass
class _Layer:
    """What a linear layer, embedding table or block sees in one batch, and what its output does to the predictions.

    Attributes:
        module: The layer.
        read: What it reads.
        made: What it gives; only a block's is kept once the slopes are known.
        slopes: Derivative of each look after its output.
    """

    module: nn.Module
    read: torch.Tensor | None = None
    made: torch.Tensor | None = None
    slopes: list[torch.Tensor] = field(default_factory=list)

    def rest(self) -> None:
        """Let go of all that the slopes were computed from."""
        leaf = isinstance(self.module, nn.Linear | nn.Embedding)
        self.made = None if leaf or self.made is None else self.made.detach()

    def change(self, delta: torch.Tensor) -> torch.Tensor:
        """Return how the output changes when the weight changes by ``delta``."""
        assert self.read is not None
        if isinstance(self.module, nn.Embedding):
            return delta[self.read].expand(self.slopes[0].shape)
        return self.read @ delta.T

    def rounding(self, weight: torch.Tensor, reads: Range) -> torch.Tensor:
        """Return how the output changes when what is read is rounded in a range."""
        assert self.read is not None
        return (rounded_in(self.read, reads) - self.read) @ weight.T

    def removal(self) -> torch.Tensor:
        """Return how the output changes when what is read is given on as it is."""
        assert self.read is not None and self.made is not None
        return self.read - self.made


def sensitivities(subject: Subject, space: Space, scores: Scores, bank: Bank, progress: Progress) -> Losses:
    """Return the KL divergence from the stitched model that each level of each parameter causes alone, to second order.

    With ``J`` the derivative of the log probability of class ``c`` after one weight, the divergence of a change ``D``
    of that weight is ``1/2 sum_c p_c <J_c, D>^2`` per sentence (Martens 2020, "New Insights and Perspectives on the
    Natural Gradient Method", section 9: the Fisher matrix is the Hessian of this divergence). ``<J, D>`` is found
    exactly, without making any compressed model: what the layer reads, times ``D``, times the slope at its output.

    Args:
        subject: The model whose weights are stitched; sentences come from its train split.
        space: The space.
        scores: Importance of units, which decides what each sparsity removes.
        bank: Codes of every level.
        progress: Called with a text and the finished share.

    Returns:
        For each parameter the divergence at each of its values, in nats; zero where it cannot be told.
    """
    key = identity(subject, space, scores, bank) | {"sentences": SENTENCES, "version": VERSION}

    def build(folder: Path) -> None:
        found = _measure(subject, space, scores, bank, progress)
        (folder / FILE).write_text(json.dumps(found, allow_nan=False), encoding="utf-8")

    losses: Losses = json.loads((cached("sensitivity", key, build) / FILE).read_text(encoding="utf-8"))
    return losses


def identity(subject: Subject, space: Space, scores: Scores, bank: Bank) -> dict[str, object]:
    """Return JSON of all on which the loss of a level depends."""
    return {
        "weights": subject.weights,
        "data": subject.train.fingerprint(),
        "domains": {name: list(domain.values) for name, domain in space.domains.items()},
        "scores": {name: digest(values.tolist()) for name, values in scores.items()},
        "method": bank.methods,
        "torch": torch.__version__,
    }


def _measure(subject: Subject, space: Space, scores: Scores, bank: Bank, progress: Progress) -> Losses:
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(subject.train))[:SENTENCES].tolist()
    rows.sort(key=lambda row: int(subject.train.sizes[row]))
    steps = list(_steps(space, scores))
    losses: Losses = {name: [0.0] * len(domain.values) for name, domain in space.domains.items()}
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        layers, counts = _look(subject, space.anatomy, part, rng)
        for number, (name, level, draft) in enumerate(steps):
            moved = _moves(draft, bank, layers, len(part))
            losses[name][level] += 0.5 * float((counts * moved**2).sum()) / len(rows)
            progress(
                "estimating what each level of each layer costs", (start + len(part) * number / len(steps)) / len(rows)
            )
    progress("estimating what each level of each layer costs", 1.0)
    return losses


def _steps(space: Space, scores: Scores) -> Iterator[tuple[str, int, Draft]]:
    """Yield each parameter at each level but the dense one, everything else dense."""
    dense = space.dense()
    for name, domain in space.domains.items():
        for level, value in enumerate(domain.values):
            configuration = space.canonical({**dense, name: value})
            if configuration != dense:
                yield name, level, space.draft(scores, configuration)


def _look(
    subject: Subject, anatomy: Anatomy, rows: list[int], rng: np.random.Generator
) -> tuple[dict[str, _Layer], torch.Tensor]:
    """Run a batch; return each layer's view of it, and what each look counts, ``(looks, rows)``."""
    module = subject.module
    blocks = {block.name for block in anatomy.blocks}
    watched = {n: p for n, p in module.named_modules() if n in blocks or isinstance(p, nn.Linear | nn.Embedding)}
    layers = {name: _Layer(part) for name, part in watched.items()}
    handles = [
        layer.module.register_forward_hook(_watch(layer, len(rows)), with_kwargs=True) for layer in layers.values()
    ]
    try:
        inputs, _labels = tensors(subject.train, rows)
        log_probabilities = module(**inputs).logits.float().log_softmax(-1)
    finally:
        for handle in handles:
            handle.remove()
    used = {name: layer for name, layer in layers.items() if layer.made is not None}
    looks = _looks(log_probabilities, rng)
    outputs = [layer.made for layer in used.values() if layer.made is not None]
    for number, (total, _) in enumerate(looks):
        more = number + 1 < len(looks)
        slopes = torch.autograd.grad(total, outputs, retain_graph=more, allow_unused=True)
        for layer, slope in zip(used.values(), slopes, strict=True):
            assert layer.made is not None
            layer.slopes.append(torch.zeros_like(layer.made) if slope is None else slope)
    for layer in used.values():
        layer.rest()
    return used, torch.stack([counts for _, counts in looks])


def _watch(layer: _Layer, rows: int) -> Callable[..., Any]:
    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], given: Any) -> Any:
        output: torch.Tensor = given[0] if isinstance(given, tuple) else given
        if output.shape[0] == 1 and rows > 1:
            # Positions are looked up once for all sentences: give each its own slope.
            output = output.expand(rows, *output.shape[1:])
        output = output if output.requires_grad else output.detach().clone().requires_grad_(True)
        layer.read, layer.made = (args[0] if args else next(iter(kwargs.values()))).detach(), output
        return (output, *given[1:]) if isinstance(given, tuple) else output

    return hook


def _looks(log_probabilities: torch.Tensor, rng: np.random.Generator) -> list[Look]:
    """Return what is looked at of the log probabilities, ``(rows, classes)``."""
    probabilities = log_probabilities.detach().exp()
    rows, classes = probabilities.shape
    if classes == 2:
        # Both classes' slopes are shares of the slope of the difference ``d``: the sum is ``p_0 p_1 <d, D>^2``.
        one, other = log_probabilities.sum(0)
        return [(one - other, probabilities.prod(1))]
    if classes <= CLASSES:
        return [(log_probabilities[:, number].sum(), probabilities[:, number]) for number in range(classes)]
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    drawn = torch.multinomial(probabilities, CLASSES, replacement=True, generator=generator)
    picks = log_probabilities.gather(1, drawn).sum(0)
    return [(pick, torch.full((rows,), 1 / CLASSES)) for pick in picks]


def _moves(draft: Draft, bank: Bank, layers: Mapping[str, _Layer], rows: int) -> torch.Tensor:
    """Return the first-order change of each look, ``(looks, rows)``."""
    total = torch.zeros(())
    slices = draft.slices()
    changed = draft.left(sorted({*draft.bits, *draft.zeros, *slices}))
    for name in (name.removesuffix(".weight") for name in changed if name.removesuffix(".weight") in layers):
        delta = _delta(draft, bank, f"{name}.weight", slices.get(f"{name}.weight", Slice()))
        if delta is None:
            continue
        change = layers[name].change(delta)
        if reads := _reads(draft, bank, f"{name}.weight"):
            change = change + layers[name].rounding(bank.weights[f"{name}.weight"].detach(), reads)
        total = total + _moved(layers[name], change, rows)
    for block in draft.gone():
        total = total + _moved(layers[block.name], layers[block.name].removal(), rows)
    return total


def _moved(layer: _Layer, change: torch.Tensor, rows: int) -> torch.Tensor:
    """Return the first-order change of each look when a layer's output changes, ``(looks, rows)``."""
    return torch.stack([_by_sentence(change * slope, rows) for slope in layer.slopes])


def _by_sentence(moves: torch.Tensor, rows: int) -> torch.Tensor:
    """Return the sum for each sentence, ``(rows,)``; of an output that all share, such as a position bias, the mean."""
    if moves.shape[0] == rows:
        return moves.reshape(rows, -1).sum(1)
    return (moves.sum() / rows).expand(rows)


def _delta(draft: Draft, bank: Bank, name: str, cut: Slice) -> torch.Tensor | None:
    """Return how a weight changes, or None where it does not: a removed unit is one that nobody reads."""
    weight = bank.weights[name].detach()
    bits, zeros, static = draft.bits.get(name, 32), draft.zeros.get(name), name in draft.static
    if cut.columns is not None:
        change = -weight
        change[:, cut.columns] += as_floats(bank.codes(name, 32, cut.columns))
        return change
    if zeros is not None:
        return as_floats(bank.codes(name, bits, None, zeros, static)) - weight
    if bits == 16:
        return weight.half().float() - weight
    return as_floats(bank.codes(name, bits, None, None, static)) - weight if bits < 16 else None


def _reads(draft: Draft, bank: Bank, name: str) -> Range | None:
    """Return the range in which what a weight multiplies is rounded, or None where it is not."""
    codes = bank.codes(name, draft.bits[name], None, None, True) if name in draft.static else None
    return codes.reads if isinstance(codes, QuantizedTensor) else None
