"""Distillation: temperature, weight of the soft targets, and steps."""

from __future__ import annotations

from slimfront.spaces.axes.axis import AXES, Axis, Values
from slimfront.spaces.domain import Domain, Value
from slimfront.spaces.draft import Draft, Recovery
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities
from slimfront.studies.schema import SpaceSpec

STEPS, TEMPERATURE, WEIGHT = "distillation/steps", "distillation/temperature", "distillation/weight"


@AXES.register("distillation")
class Distillation(Axis):
    """Recovery of the stitched model by the dense one's temperature-softened predictions."""

    stage = 3

    def __init__(self, spec: SpaceSpec, anatomy: Anatomy, capabilities: Capabilities) -> None:  # noqa: ARG002
        given = spec.distillation
        self._choices: dict[str, tuple[Value, ...]] = {STEPS: (0,), TEMPERATURE: (1.0,), WEIGHT: (1.0,)}
        if given is not None:
            self._choices = {
                STEPS: tuple(sorted({0, *given.steps})),
                TEMPERATURE: tuple(sorted(set(given.temperature))),
                WEIGHT: tuple(sorted(set(given.weight))),
            }

    def domains(self) -> dict[str, Domain]:
        """See :meth:`Axis.domains`."""
        if self._choices[STEPS] == (0,):
            return {}
        return {name: Domain(values) for name, values in self._choices.items() if len(values) > 1}

    def dense(self) -> Values:
        """See :meth:`Axis.dense`."""
        return {name: domain.values[0] for name, domain in self.domains().items()}

    def canonical(self, values: Values) -> Values:
        """Without steps, temperature and weight have no effect."""
        if values.get(STEPS, self._choices[STEPS][0]) == 0:
            return {**values, **self.dense(), **({STEPS: 0} if STEPS in values else {})}
        return values

    def uniform(self) -> list[Values]:
        """See :meth:`Axis.uniform`: each number of steps, at the middle temperature and the largest weight."""
        found = []
        for steps in self._choices[STEPS]:
            middle = self._choices[TEMPERATURE][len(self._choices[TEMPERATURE]) // 2]
            full = {STEPS: steps, TEMPERATURE: middle, WEIGHT: self._choices[WEIGHT][-1]}
            found.append(self.canonical({name: full[name] for name in self.domains()}))
        return found

    def apply(self, draft: Draft, values: Values) -> None:
        """See :meth:`Axis.apply`."""
        chosen = {name: values.get(name, options[0]) for name, options in self._choices.items()}
        if int(chosen[STEPS]) > 0:
            draft.recovery = Recovery(int(chosen[STEPS]), float(chosen[TEMPERATURE]), float(chosen[WEIGHT]))
