"""Attention heads and FFN neurons that are removed from each block."""

from __future__ import annotations

import torch
from slimfront.spaces.axes.axis import AXES, Levelled, Values, parameter_names
from slimfront.spaces.draft import Draft
from slimfront.spaces.structure import Anatomy, Structure
from slimfront.studies.compressed import Capabilities
from slimfront.studies.space import SpaceSpec

NEURON_MULTIPLE = 64


@AXES.register("sparsity")
class Sparsity(Levelled):
    """Share of the units removed from each structure; the least important go first.

    With one threshold for all blocks the structures lose different shares, as their sensitivities say.
    """

    stage = 0

    def __init__(self, spec: SpaceSpec, anatomy: Anatomy, capabilities: Capabilities) -> None:  # noqa: ARG002
        self._levels = tuple(sorted({0.0, *spec.sparsity.levels})) if spec.sparsity else (0.0,)
        granularity = spec.sparsity.granularity if spec.sparsity else "all"
        self._threshold = granularity == "threshold"
        names = parameter_names(
            "sparsity", granularity, anatomy.structures, lambda s: s.name, lambda s: s.name.rpartition(".")[2]
        )
        self._touched = {s.name: [f"{name}.weight" for name in (*s.producers, s.consumer)] for s in anatomy.structures}
        self._parameters = dict(zip((s.name for s in anatomy.structures), names, strict=True))

    def apply(self, draft: Draft, values: Values) -> None:
        """See :meth:`Axis.apply`."""
        for structure in draft.anatomy.structures:
            level = float(values.get(self._parameters[structure.name], self._levels[0]))
            wanted = structure.units * (1 - level)
            if self._threshold and level > 0:
                wanted = float((draft.scores[structure.name] > self._threshold_of(structure, level, draft)).sum())
            count = units_kept(structure, wanted)
            if count == structure.units:
                continue
            ranked = torch.argsort(draft.scores[structure.name], descending=True, stable=True)
            draft.keep[structure.name] = sorted(ranked[:count].tolist())

    def _threshold_of(self, structure: Structure, level: float, draft: Draft) -> torch.Tensor:
        """Return the score that a share of all units under one parameter does not exceed."""
        parameter = self._parameters[structure.name]
        scores = torch.cat([draft.scores[name] for name, own in self._parameters.items() if own == parameter])
        return scores.sort().values[max(1, round(level * len(scores))) - 1]


def units_kept(structure: Structure, wanted: float) -> int:
    """Return how many units stay: at least one, and whole multiples of 64 neurons, which kernels run best."""
    if structure.size == 1 and structure.units >= 2 * NEURON_MULTIPLE and wanted < structure.units:
        return min(structure.units, max(1, round(wanted / NEURON_MULTIPLE)) * NEURON_MULTIPLE)
    return min(structure.units, max(1, round(wanted)))
