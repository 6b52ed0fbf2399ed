"""Really removes units from a module: smaller matrices, and attributes that say so."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

Inputs = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a module is told of fewer units.

    Attributes:
        counts: ``(module path, attribute)`` that hold the number of units.
        widths: ``(module path, attribute)`` that hold the number of channels.
    """

    counts: tuple[tuple[str, str], ...] = ()
    widths: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Slice:
    """Which part of a parameter is kept.

    Attributes:
        rows: Ascending indices of its rows, or None for all.
        columns: Ascending indices of its columns, or None for all.
    """

    rows: torch.Tensor | None = None
    columns: torch.Tensor | None = None

    def merged(self, other: Slice) -> Slice:
        """Return the slice that keeps what both keep; only one of them may cut rows, only one columns."""
        return Slice(
            self.rows if other.rows is None else other.rows, self.columns if other.columns is None else other.columns
        )

    def of(self, value: torch.Tensor) -> torch.Tensor:
        """Return the part of a parameter."""
        value = value if self.rows is None else value[self.rows]
        return value if self.columns is None else value[:, self.columns]

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the part's shape."""
        sizes = list(shape)
        for axis, kept in enumerate((self.rows, self.columns)):
            if kept is not None:
                sizes[axis] = len(kept)
        return tuple(sizes)


def channels_of(keep: Sequence[int], size: int) -> torch.Tensor:
    """Return the channels of the kept units, each ``size`` wide."""
    return torch.tensor([unit * size + offset for unit in keep for offset in range(size)])


def rows_of(channels: torch.Tensor, rows: int, width: int) -> torch.Tensor:
    """Return the rows of a producer that belong to kept channels, in each of its parts of ``width`` rows."""
    return torch.cat([channels + part * width for part in range(rows // width)])


def remove_units(
    module: nn.Module,
    producers: Sequence[str],
    consumer: str,
    units: int,
    size: int,
    keep: Sequence[int],
    recipe: Recipe,
) -> None:
    """Remove all units but ``keep`` from ``module``, in place.

    Row ``r`` of a producer belongs to channel ``r % (units * size)`` of the consumer's input, so that fused
    projections (query, key and value in one matrix, gated FFNs) are cut in every part.

    Args:
        module: The module to be cut.
        producers: Names of the linear layers whose rows make the units.
        consumer: Name of the linear layer whose columns read them.
        units: Units that there are.
        size: Channels of one unit.
        keep: Ascending indices of the units that stay.
        recipe: The attributes to be set.
    """
    width = units * size
    channels = channels_of(keep, size)
    for name in producers:
        layer = module.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        rows = rows_of(channels, layer.out_features, width)
        layer.weight = nn.Parameter(layer.weight.detach()[rows].clone())
        if layer.bias is not None:
            layer.bias = nn.Parameter(layer.bias.detach()[rows].clone())
        layer.out_features = len(rows)
    reader = module.get_submodule(consumer)
    assert isinstance(reader, nn.Linear)
    reader.weight = nn.Parameter(reader.weight.detach()[:, channels].clone())
    reader.in_features = len(channels)
    for values, number in ((recipe.counts, len(keep)), (recipe.widths, len(keep) * size)):
        for path, attribute in values:
            setattr(module.get_submodule(path), attribute, number)


def find_recipe(
    module: nn.Module, inputs: Inputs, producers: Sequence[str], consumer: str, units: int, size: int
) -> Recipe | None:
    """Return the recipe under which a cut module computes what a masked one does, or None.

    Removing a unit must equal zeroing the consumer's columns that read it. Recipes are tried from none to all
    attributes of the surrounding modules that hold the number of units or of channels.
    """
    counts, widths = _attributes(module, [*producers, consumer], units, units * size)
    keep = [unit for unit in range(units) if unit != units // 2]
    expected = _masked_output(module, inputs, consumer, size, units // 2)
    for recipe in (Recipe(), Recipe(counts), Recipe(counts, widths), Recipe((), widths)):
        cut = copy.deepcopy(module)
        remove_units(cut, producers, consumer, units, size, keep, recipe)
        try:
            with torch.no_grad():
                found = cut(**inputs)[0]
        except (RuntimeError, ValueError, IndexError):
            continue
        if found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-7, atol=1e-9):
            return recipe
    return None


def _masked_output(module: nn.Module, inputs: Inputs, consumer: str, size: int, unit: int) -> torch.Tensor:
    def mask(_layer: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        value = args[0].clone()
        value[..., unit * size : (unit + 1) * size] = 0
        return (value, *args[1:])

    handle = module.get_submodule(consumer).register_forward_pre_hook(mask)
    try:
        with torch.no_grad():
            output: torch.Tensor = module(**inputs)[0]
    finally:
        handle.remove()
    return output


def _attributes(
    module: nn.Module, names: Sequence[str], units: int, width: int
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Return the integer attributes around the layers that equal the number of units or of channels."""
    parents = {name.rpartition(".")[0] for name in names} - {""}
    counts, widths = [], []
    for path in sorted(parents):
        for attribute, value in vars(module.get_submodule(path)).items():
            if type(value) is int and value == units:
                counts.append((path, attribute))
            elif type(value) is int and value == width:
                widths.append((path, attribute))
    return tuple(counts), tuple(widths)
