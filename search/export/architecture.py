"""How a configuration of Transformers can say what was removed from a model, as far as it can."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from slimfront.search.export.converted import Compressed

Changes = dict[str, Any]


@dataclass(frozen=True)
class Architecture:
    """A model as Transformers makes it from a configuration.

    Attributes:
        config: The configuration.
        blocks: The new path of each block that moved to another place, by its old one.
    """

    config: Any
    blocks: Mapping[str, str]

    def name(self, parameter: str) -> str:
        """Return the name that a parameter has in this model."""
        for old, new in self.blocks.items():
            if parameter.startswith(f"{old}."):
                return new + parameter.removeprefix(old)
        return parameter


def configured(compressed: Compressed, config: Any) -> Architecture | None:
    """Return the architecture of a compressed model, or None where its own class cannot be told of what was removed.

    Which keys of a configuration stand for what is not known here: those that hold the dense number are tried, and the
    module that is made of them must have the same parameters and give the same logits.

    Args:
        compressed: The model.
        config: Its configuration, in which only the widths are still the dense model's.
    """
    kind, values = type(compressed.dense), dict(compressed.module.named_parameters())
    blocks = _moved(compressed)
    for changes in _combined(compressed, config):
        tried = copy.deepcopy(config)
        vars(tried).update(changes)
        found = Architecture(tried, blocks)
        wanted = {found.name(name): value for name, value in values.items()}
        try:
            with torch.device("meta"):
                shapes = {name: value.shape for name, value in kind(tried).named_parameters()}
            if shapes == {name: value.shape for name, value in wanted.items()} and _same(compressed, tried, wanted):
                return found
        except Exception:
            # Whatever a class says to a configuration that it was not made for.
            continue
    return None


def _same(compressed: Compressed, config: Any, values: Mapping[str, torch.Tensor]) -> bool:
    module = type(compressed.dense)(config).eval()
    module.load_state_dict(dict(values), strict=False)
    with torch.no_grad():
        found, expected = (part(**compressed.example).logits for part in (module, compressed.module))
    return bool(torch.allclose(found, expected, rtol=1e-5, atol=1e-6))


def _combined(compressed: Compressed, config: Any) -> Iterator[Changes]:
    """Yield everything that may tell a configuration of all that was removed."""
    ways = [list(_ways(config, *change)) for change in _numbers(compressed)] + [list(_without(compressed, config))]
    for combination in itertools.product(*ways):
        yield {name: value for changes in combination for name, value in changes.items()}


def _numbers(compressed: Compressed) -> Iterator[tuple[int, int]]:
    """Yield for each kind of structure how many units there were and how many are left, where all are alike."""
    draft = compressed.draft
    gone = {structure.name for block in draft.gone() for structure in draft.anatomy.within(block)}
    left = [structure for structure in draft.anatomy.structures if structure.name not in gone]
    for kind in dict.fromkeys(structure.kind for structure in left):
        pairs = {(s.units, draft.kept.get(s.name, s.units)) for s in left if s.kind == kind}
        if any(units != kept for units, kept in pairs):
            # Widths that are not alike fit no single number: nothing that is tried will have the same shapes.
            yield next(pair for pair in pairs if pair[0] != pair[1])


def _ways(config: Any, before: int, after: int) -> Iterator[Changes]:
    """Yield the sets of keys that may stand for a number, with its new value."""
    names = [name for name, value in vars(config).items() if type(value) is int and value == before]
    for count in range(1, len(names) + 1):
        for chosen in itertools.combinations(names, count):
            yield dict.fromkeys(chosen, after)


def _lists(compressed: Compressed) -> dict[str, tuple[int, list[int]]]:
    """Return for each list that lost blocks how many it had, and the places of those that are left."""
    found = {}
    for path in dict.fromkeys(name.rpartition(".")[0] for name in compressed.draft.skipped):
        count = len(list(compressed.dense.get_submodule(path).children()))
        found[path] = count, [i for i in range(count) if f"{path}.{i}" not in compressed.draft.skipped]
    return found


def _moved(compressed: Compressed) -> dict[str, str]:
    return {
        f"{path}.{old}": f"{path}.{new}"
        for path, (_, left) in _lists(compressed).items()
        for new, old in enumerate(left)
        if new != old
    }


def _without(compressed: Compressed, config: Any) -> Iterator[Changes]:
    """Yield the sets of keys that may stand for the number of blocks; lists of one entry a block follow."""
    lists = _lists(compressed)
    if len(lists) != 1:
        # Nothing to say, or more than one number could.
        yield {}
        return
    ((count, left),) = lists.values()
    entries = {
        name: [value[i] for i in left]
        for name, value in vars(config).items()
        if isinstance(value, list) and len(value) == count
    }
    for changes in _ways(config, count, len(left)):
        yield {**entries, **changes}
