"""Distillation: steps, temperature, weights of the terms, learning rate."""

from __future__ import annotations

from slimfront.spaces.axes.axis import AXES, Axis, Values
from slimfront.spaces.domain import Domain, Value
from slimfront.spaces.draft import Draft, Recovery
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities
from slimfront.studies.space import DistillationSpec, SpaceSpec

PREFIX = "distillation/"
STEPS, TEMPERATURE, WEIGHT = f"{PREFIX}steps", f"{PREFIX}temperature", f"{PREFIX}weight"
HIDDEN, ATTENTION, RATE = f"{PREFIX}hidden", f"{PREFIX}attention", f"{PREFIX}learning_rate"


@AXES.register("distillation")
class Distillation(Axis):
    """Recovery of the stitched model by the dense one's predictions, hidden states and attention."""

    stage = 3

    def __init__(self, spec: SpaceSpec, anatomy: Anatomy, capabilities: Capabilities) -> None:  # noqa: ARG002
        given = spec.distillation or DistillationSpec(steps=(0,))
        self._choices: dict[str, tuple[Value, ...]] = {
            STEPS: tuple(sorted({0, *given.steps})),
            TEMPERATURE: tuple(sorted(set(given.temperature))),
            WEIGHT: tuple(sorted(set(given.weight))),
            HIDDEN: tuple(sorted(set(given.hidden))),
            ATTENTION: tuple(sorted(set(given.attention))),
            RATE: tuple(sorted(set(given.learning_rate))),
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
        """Without steps no other setting has an effect."""
        if values.get(STEPS, self._choices[STEPS][0]) == 0:
            return {**values, **self.dense(), **({STEPS: 0} if STEPS in values else {})}
        return values

    def uniform(self) -> list[Values]:
        """See :meth:`Axis.uniform`: each number of steps, at the middle of every setting and most of soft targets."""
        middle = {name: values[len(values) // 2] for name, values in self._choices.items()}
        middle[WEIGHT] = self._choices[WEIGHT][-1]
        domains = self.domains()
        return [
            self.canonical({name: value for name, value in (middle | {STEPS: steps}).items() if name in domains})
            for steps in self._choices[STEPS]
        ]

    def apply(self, draft: Draft, values: Values) -> None:
        """See :meth:`Axis.apply`."""
        chosen = {name: values.get(name, options[0]) for name, options in self._choices.items()}
        steps = int(chosen[STEPS])
        if steps > 0:
            draft.recovery = Recovery(
                rungs=tuple(int(rung) for rung in self._choices[STEPS] if 0 < int(rung) <= steps),
                temperature=float(chosen[TEMPERATURE]),
                weight=float(chosen[WEIGHT]),
                hidden=float(chosen[HIDDEN]),
                attention=float(chosen[ATTENTION]),
                learning_rate=float(chosen[RATE]),
            )
