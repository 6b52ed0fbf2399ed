"""Walks a module and finds what can be compressed in it: prunable structures and weight groups.

Nothing here knows a model's names. A *structure* is a set of units (attention heads or FFN neurons) between
linear layers. It is found by moving single output channels of one linear layer and watching which input
channels of the next ones follow: a layer normalization mixes all channels, an activation keeps them apart,
and attention mixes those of one head.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from slimfront.spaces.blocks import Block, find_blocks
from slimfront.spaces.surgery import Recipe, Slice, channels_of, find_recipe, remove_units, rows_of
from slimfront.studies.compressed import Cut
from slimfront.studies.vocabulary import Vocabulary
from torch import nn

Inputs = Mapping[str, torch.Tensor]
Json = dict[str, Any]


@dataclass(frozen=True)
class Structure:
    """Units that can be removed together.

    Attributes:
        name: The block's path and ``attention`` or ``ffn``.
        kind: ``heads`` or ``neurons``.
        producers: Linear layers whose output rows make the units.
        consumer: The linear layer whose input columns read them.
        units: Number of units.
        size: Channels of the consumer's input that belong to one unit.
        recipe: How the module is told of fewer units.
        rows: Output rows of each producer.
        biased: Producers that have a bias.
    """

    name: str
    kind: str
    producers: tuple[str, ...]
    consumer: str
    units: int
    size: int
    recipe: Recipe
    rows: tuple[int, ...]
    biased: tuple[str, ...]

    def slices(self, keep: Sequence[int]) -> dict[str, Slice]:
        """Return which part of each parameter stays when only the units ``keep``, ascending, are kept."""
        channels = channels_of(keep, self.size)
        found = {f"{self.consumer}.weight": Slice(columns=channels)}
        for name, rows in zip(self.producers, self.rows, strict=True):
            part = Slice(rows=rows_of(channels, rows, self.units * self.size))
            found[f"{name}.weight"] = part
            if name in self.biased:
                found[f"{name}.bias"] = part
        return found

    def reader(self, module: nn.Module) -> torch.Tensor:
        """Return the consumer's weight in ``module``, ``(rows, units * size)``."""
        return _linear(module, self.consumer).weight

    def attributes(self, kept: int) -> Iterator[tuple[str, str, int]]:
        """Yield ``(module path, attribute, value)`` of all that tells a module that only ``kept`` units are left."""
        for path, attribute in self.recipe.counts:
            yield path, attribute, kept
        for path, attribute in self.recipe.widths:
            yield path, attribute, kept * self.size
        for producer, rows in zip(self.producers, self.rows, strict=True):
            yield producer, "out_features", rows // self.units * kept
        yield self.consumer, "in_features", kept * self.size

    def cut(self) -> Cut:
        """Return what a target must know of this structure."""

        def remove_last(module: nn.Module) -> None:
            keep = range(self.units - 1)
            remove_units(module, self.producers, self.consumer, self.units, self.size, keep, self.recipe)

        return Cut(
            tuple(f"{name}.weight" for name in self.producers),
            f"{self.consumer}.weight",
            self.units,
            remove_last,
        )


@dataclass(frozen=True)
class WeightGroup:
    """Matrices that share one bit-width.

    Attributes:
        name: Path of the block and the role.
        role: ``embeddings``, ``qkv``, ``attention_output``, ``ffn_in``, ``ffn_out``, ``head`` or ``other``.
        weights: Names of the parameters.
    """

    name: str
    role: str
    weights: tuple[str, ...]


@dataclass(frozen=True)
class Anatomy:
    """What was found in a module.

    Attributes:
        structures: Prunable structures in order of execution.
        groups: Weight groups, embeddings first.
        refused: Structures that were found but cannot be pruned, with the reason.
        blocks: Blocks that can be removed whole, in order.
        vocabulary: The table of tokens, where rows of it may be removed.
        linear: Names of the weights that linear layers, and nothing else, multiply.
    """

    structures: tuple[Structure, ...]
    groups: tuple[WeightGroup, ...]
    refused: Mapping[str, str]
    blocks: tuple[Block, ...] = ()
    vocabulary: Vocabulary | None = None
    linear: tuple[str, ...] = ()

    def within(self, block: Block) -> tuple[Structure, ...]:
        """Return the structures of a block."""
        return tuple(s for s in self.structures if f"{s.consumer}.weight" in block.weights)

    def to_json(self) -> Json:
        """Return JSON from which :meth:`from_json` makes an equal anatomy."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Json) -> Anatomy:
        """Return the anatomy of some JSON."""

        def pairs(values: list[list[str]]) -> tuple[tuple[str, str], ...]:
            return tuple((path, attribute) for path, attribute in values)

        structures = []
        for entry in data["structures"]:
            recipe = Recipe(pairs(entry["recipe"]["counts"]), pairs(entry["recipe"]["widths"]))
            lists = {name: tuple(entry[name]) for name in ("producers", "rows", "biased")}
            structures.append(Structure(**{**entry, **lists, "recipe": recipe}))
        groups = tuple(WeightGroup(g["name"], g["role"], tuple(g["weights"])) for g in data["groups"])
        blocks = tuple(Block(b["name"], tuple(b["weights"]), b["wrapped"]) for b in data["blocks"])
        vocabulary = Vocabulary(**data["vocabulary"]) if data.get("vocabulary") else None
        return cls(tuple(structures), groups, dict(data["refused"]), blocks, vocabulary, tuple(data["linear"]))


def walk(module: nn.Module, inputs: Inputs) -> Anatomy:
    """Find structures and weight groups of a module in evaluation mode.

    Args:
        module: Any module that takes ``inputs`` as keywords.
        inputs: A small real batch, each ``(rows, tokens)``.
    """
    # Double precision tells a removed unit, however small, from rounding.
    module = copy.deepcopy(module).double().eval()
    order = _execution_order(module, inputs)
    lists = [name for name, part in module.named_modules() if isinstance(part, nn.ModuleList)]
    blocks = {name: _block_of(name, lists) for name in order}
    candidates = _couplings(module, inputs, order, blocks)
    structures: list[Structure] = []
    refused: dict[str, str] = {}
    for consumer, (producers, size) in candidates.items():
        kind = "heads" if size > 1 else "neurons"
        name = f"{blocks[consumer]}.{'attention' if kind == 'heads' else 'ffn'}"
        width = _linear(module, consumer).in_features
        if width // size < 2:
            refused[name] = "it has a single unit"
            continue
        recipe = find_recipe(module, inputs, producers, consumer, width // size, size)
        if recipe is None:
            refused[name] = "removing a unit changes more than that unit"
        elif any(name == other.name for other in structures):
            refused[f"{name} ({consumer})"] = "the block has another structure of this kind"
        else:
            layers = {producer: _linear(module, producer) for producer in producers}
            rows = tuple(layer.out_features for layer in layers.values())
            biased = tuple(producer for producer, layer in layers.items() if layer.bias is not None)
            structures.append(Structure(name, kind, producers, consumer, width // size, size, recipe, rows, biased))
    roles = _roles(candidates, order, blocks)
    groups = tuple(_weight_groups(module, roles, blocks))
    linear = {f"{name}.weight" for name in order}
    weights = tuple(name for group in groups for name in group.weights if name in linear)
    return Anatomy(tuple(structures), groups, refused, find_blocks(module, inputs), linear=weights)


def _linear(module: nn.Module, name: str) -> nn.Linear:
    layer = module.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer


def _block_of(name: str, lists: list[str]) -> str | None:
    """Return the path of the innermost module-list element that holds ``name``."""
    inside = [path for path in lists if name.startswith(f"{path}.")]
    if not inside:
        return None
    path = max(inside, key=len)
    return f"{path}.{name[len(path) + 1 :].split('.')[0]}"


@contextmanager
def _hooked(module: nn.Module, names: list[str], forward: Callable[..., object], pre: bool) -> Iterator[None]:
    handles = []
    for name in names:
        layer = module.get_submodule(name)
        call = _named(forward, name)
        handles.append(layer.register_forward_pre_hook(call) if pre else layer.register_forward_hook(call))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _named(function: Callable[..., object], name: str) -> Callable[..., object]:
    return lambda *args: function(name, *args)


def _execution_order(module: nn.Module, inputs: Inputs) -> list[str]:
    """Return the names of the linear layers that a forward pass uses, in order of first use."""
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    order: list[str] = []

    def note(name: str, _layer: nn.Module, _args: object) -> None:
        if name not in order:
            order.append(name)

    with torch.no_grad(), _hooked(module, linear, note, pre=True):
        module(**inputs)
    return order


def _linear_inputs(module: nn.Module, inputs: Inputs, names: list[str]) -> dict[str, torch.Tensor]:
    """Return what each named linear layer reads on its first use, ``(positions, channels)``."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str, _layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        seen.setdefault(name, args[0].detach().reshape(-1, args[0].shape[-1]).clone())

    with torch.no_grad(), _hooked(module, names, keep, pre=True):
        module(**inputs)
    return seen


def _moved_channels(
    module: nn.Module, inputs: Inputs, producer: str, names: list[str], before: Mapping[str, torch.Tensor]
) -> dict[str, list[int]]:
    """Move output channel 0 of ``producer`` and return the input channels that follow in each named layer."""
    generator = torch.Generator().manual_seed(0)

    def move(_name: str, _layer: nn.Module, _args: object, output: torch.Tensor) -> torch.Tensor:
        moved = output.clone()
        moved[..., 0] += 3 * torch.randn(moved.shape[:-1], generator=generator)
        return moved

    with _hooked(module, [producer], move, pre=False):
        after = _linear_inputs(module, inputs, names)
    found: dict[str, list[int]] = {}
    for name in names:
        change = (after[name] - before[name]).abs().amax(0)
        scale = before[name].abs().amax().clamp_min(1e-6)
        found[name] = torch.nonzero(change > 1e-6 * scale).flatten().tolist()
    return found


def _couplings(
    module: nn.Module, inputs: Inputs, order: list[str], blocks: Mapping[str, str | None]
) -> dict[str, tuple[tuple[str, ...], int]]:
    """Return for each consumer its producers and the number of channels that belong to one unit."""
    before = _linear_inputs(module, inputs, order)
    found: dict[str, list[tuple[str, int]]] = {}
    for position, producer in enumerate(order):
        if blocks[producer] is None:
            continue
        later = [name for name in order[position + 1 :] if blocks[name] == blocks[producer]]
        for name, channels in _moved_channels(module, inputs, producer, later, before).items():
            layer = _linear(module, name)
            fits = _linear(module, producer).out_features % layer.in_features == 0
            if fits and 0 < len(channels) < layer.in_features:
                found.setdefault(name, []).append((producer, max(channels) + 1))
    couplings = {}
    for name, pairs in found.items():
        reach = max(reach for _, reach in pairs)
        width = _linear(module, name).in_features
        size = next(size for size in range(reach, width + 1) if width % size == 0)
        couplings[name] = (tuple(producer for producer, _ in pairs), size)
    return couplings


def _roles(
    couplings: Mapping[str, tuple[tuple[str, ...], int]], order: list[str], blocks: Mapping[str, str | None]
) -> dict[str, str]:
    roles: dict[str, str] = {}
    for consumer, (producers, size) in couplings.items():
        inside, outside = ("qkv", "attention_output") if size > 1 else ("ffn_in", "ffn_out")
        roles |= dict.fromkeys(producers, inside) | {consumer: outside}
    for name in order:
        roles.setdefault(name, "other" if blocks[name] else "head")
    return roles


def _weight_groups(
    module: nn.Module, roles: Mapping[str, str], blocks: Mapping[str, str | None]
) -> Iterator[WeightGroup]:
    members: dict[tuple[str, str], list[str]] = {}
    taken: set[int] = set()
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding):
            members.setdefault((name.rpartition(".")[0] or name, "embeddings"), []).append(f"{name}.weight")
            taken.add(id(part.weight))
    for name, role in roles.items():
        if id(_linear(module, name).weight) not in taken:
            members.setdefault((blocks[name] or "", role), []).append(f"{name}.weight")
    for (place, role), weights in members.items():
        yield WeightGroup(f"{place}.{role}" if place and role != "embeddings" else place or role, role, tuple(weights))
