"""All axes of a study, laid over the layers of its model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from slimfront.spaces.axes import AXES, Axis
from slimfront.spaces.axes.bits import STATIC
from slimfront.spaces.axes.depth import PREFIX as DEPTH
from slimfront.spaces.axes.depth import removed_blocks
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Domain, Value
from slimfront.spaces.draft import Draft, Scores
from slimfront.spaces.fixing import WHERE, fixed_values
from slimfront.spaces.quantizers.quantizer import ROW
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities
from slimfront.studies.errors import StudyError
from slimfront.studies.space import SpaceSpec

# The widths at which every uniform pruning is tried: the two that hand-made recipes use.
HAND_BITS = (8, 4)


class Space:
    """The search space of a study.

    Args:
        spec: The study's section ``space``.
        anatomy: What the model is made of.
        capabilities: What the target packs and runs.

    Attributes:
        domains: What may be chosen, by parameter.
        fixed: Values of the parameters that are not searched; the dense model alone has others.

    Raises:
        StudyError: nothing at all can be chosen, or an axis refuses its section.
    """

    def __init__(self, spec: SpaceSpec, anatomy: Anatomy, capabilities: Capabilities) -> None:
        axes = {name: AXES.get(name, where="space")(spec, anatomy, capabilities) for name in AXES}
        groups = {
            bits: ROW if size == "row" else size for bits, size in (spec.bits.groups if spec.bits else {}).items()
        }
        self.anatomy, self.capabilities = anatomy, replace(capabilities, groups=groups)
        self.axes: dict[str, Axis] = dict(sorted(axes.items(), key=lambda item: item[1].stage))
        self.domains: dict[str, Domain] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        for name, axis in self.axes.items():
            self._names[name] = tuple(own := axis.domains())
            self.domains |= own
        self._dense = {name: axis.dense() for name, axis in self.axes.items()}
        self._served = self._parameters_of_blocks()
        if not self.domains:
            raise StudyError(
                "the space is empty: no axis leaves a choice",
                where="space",
                allowed=f"at least one of {', '.join(AXES)} with two values",
                hint="add levels to space.bits or space.sparsity",
            )
        self.fixed = fixed_values(spec.fixed, self.domains)
        if not self.free:
            raise StudyError(
                "all parameters of the space are fixed", where=WHERE, hint="leave one of them to be searched"
            )

    @property
    def free(self) -> dict[str, Domain]:
        """What is searched: the domains of all parameters that are not fixed."""
        return {name: domain for name, domain in self.domains.items() if name not in self.fixed}

    @property
    def static(self) -> bool:
        """Whether some layers may read in ranges that are fixed beforehand."""
        return any(value in STATIC for domain in self.domains.values() for value in domain.values)

    @property
    def points(self) -> int:
        """The number of points."""
        return math.prod(len(domain.values) for domain in self.free.values())

    def _configuration(self, values: Mapping[str, Value]) -> Configuration:
        canonical: dict[str, Value] = {}
        for axis_name, axis in self.axes.items():
            own = {name: values[name] for name in self._names[axis_name]}
            canonical |= axis.canonical(own)
        return Configuration(canonical | self._idle(canonical))

    def _parameters_of_blocks(self) -> dict[str, frozenset[str]]:
        """Return for each parameter that changes the weights of some blocks, and no others, the names of the blocks."""
        owner = {weight: block.name for block in self.anatomy.blocks for weight in block.weights}
        changed = {name: weights for axis in self.axes.values() for name, weights in axis.weights().items()}
        served = {name: frozenset(owner.get(weight, "") for weight in weights) for name, weights in changed.items()}
        return {name: blocks for name, blocks in served.items() if name in self.domains and "" not in blocks}

    def removers(self) -> dict[str, frozenset[str]]:
        """Return for each parameter that serves some blocks and nothing else the parameters that remove the blocks."""
        found = {name: frozenset(f"{DEPTH}{block}" for block in blocks) for name, blocks in self._served.items()}
        return {name: removers for name, removers in found.items() if removers <= self.domains.keys()}

    def _idle(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the parameters that serve only removed blocks, at their dense values."""
        removed = removed_blocks(values)
        if not removed:
            return {}
        dense = {name: value for own in self._dense.values() for name, value in own.items()}
        return {name: dense[name] for name, served in self._served.items() if served <= removed}

    def canonical(self, values: Mapping[str, Value]) -> Configuration:
        """Return the configuration of ``values``, equal for all values that have the same effect."""
        return self._configuration(values)

    def settled(self, values: Mapping[str, Value]) -> Configuration:
        """Return the configuration of ``values`` in which every fixed parameter has its value."""
        return self._configuration({**values, **self.fixed})

    def bare(self, values: Mapping[str, Value]) -> Configuration:
        """Return the configuration of ``values`` without distillation and with the whole vocabulary.

        It depends on the weights alone, and reads what the dense model reads. Parameters of these axes need not be in
        ``values``.
        """
        return self._configuration({**values, **self._dense["distillation"], **self._dense["vocabulary"]})

    def dense(self) -> Configuration:
        """Return the configuration that is the dense model."""
        return self.compose()

    def compose(self, **chosen: Mapping[str, Value]) -> Configuration:
        """Return the configuration in which the named axes have the given values and all others are dense."""
        values: dict[str, Value] = {}
        for name in self.axes:
            values |= chosen.get(name, self._dense[name])
        return self._configuration(values)

    def uniform(self) -> list[Configuration]:
        """Return dense, its faster precisions, and what a hand would try: every layer at the same level.

        Each bit-width alone; each vocabulary, and each share of zeros, at 4 bits; each sparsity, and each depth, at 8
        and 4 bits with the longest recovery. No duplicates, dense first, the most compressed model last.
        """
        levels = {name: axis.uniform() or [{}] for name, axis in self.axes.items()}
        fastest, longest = levels["precision"][-1], levels["distillation"][-1]
        bits = levels["bits"]
        by_hand = [setting for setting in bits if set(setting.values()) <= set(HAND_BITS)] or bits[-1:]
        found = [self.dense()]
        found += [self.compose(precision=setting) for setting in levels["precision"][1:]]
        found += [self.compose(bits=setting, precision=fastest) for setting in bits[1:]]
        found += [
            self.compose(**{axis: setting, "bits": by_hand[-1], "precision": fastest})
            for axis in ("vocabulary", "unstructured")
            for setting in levels[axis][1:]
        ]
        found += [
            self.compose(**{axis: cut, "bits": setting, "precision": fastest, "distillation": longest})
            for axis in ("depth", "sparsity")
            for cut in levels[axis][1:]
            for setting in by_hand
        ]
        return list(dict.fromkeys([found[0], *map(self.settled, found[1:])]))

    def grid(self, *axes: str) -> Iterator[Configuration]:
        """Yield every combination of uniform settings of the named axes, all others dense."""
        settings = [self.axes[name].uniform() or [{}] for name in axes]
        for chosen in itertools.product(*settings):
            yield self.compose(**dict(zip(axes, chosen, strict=True)))

    def neighbours(self, configuration: Configuration) -> Iterator[Configuration]:
        """Yield the configurations that differ from this one by one step of one parameter."""
        for name, domain in self.free.items():
            for value in domain.neighbours(configuration[name]):
                other = self._configuration({**configuration, name: value})
                if other != configuration:
                    yield other

    def draft(self, scores: Scores, configuration: Configuration) -> Draft:
        """Return a configuration's choices, written into a draft by every axis."""
        draft = Draft(self.anatomy, scores, self.capabilities, self.capabilities.precisions[0])
        for axis_name, axis in self.axes.items():
            axis.apply(draft, {name: configuration[name] for name in self._names[axis_name]})
        return draft
