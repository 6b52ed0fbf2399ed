"""Inference precision of whatever is not computed in integers."""

from __future__ import annotations

from slimfront.spaces.axes.axis import AXES, Axis, Values
from slimfront.spaces.domain import Domain
from slimfront.spaces.draft import Draft
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities
from slimfront.studies.errors import StudyError
from slimfront.studies.space import SpaceSpec

KNOWN = ("f32", "bf16", "f16")
NAME = "precision/inference"


@AXES.register("precision")
class Precision(Axis):
    """The target's inference precision; one that this machine lacks is left out of the space."""

    stage = 2

    def __init__(self, spec: SpaceSpec, anatomy: Anatomy, capabilities: Capabilities) -> None:  # noqa: ARG002
        wanted = spec.precision or capabilities.precisions[:1]
        for number, name in enumerate(wanted):
            if name not in KNOWN:
                raise StudyError(
                    "there is no such inference precision",
                    where=f"space.precision.{number}",
                    given=name,
                    allowed=", ".join(KNOWN),
                    hint="choose an allowed one",
                )
        dense = capabilities.precisions[0]
        self._values = tuple(name for name in capabilities.precisions if name in (dense, *wanted))

    def domains(self) -> dict[str, Domain]:
        """See :meth:`Axis.domains`."""
        return {NAME: Domain(self._values)} if len(self._values) > 1 else {}

    def dense(self) -> Values:
        """See :meth:`Axis.dense`."""
        return {name: domain.values[0] for name, domain in self.domains().items()}

    def apply(self, draft: Draft, values: Values) -> None:
        """See :meth:`Axis.apply`."""
        draft.precision = str(values.get(NAME, self._values[0]))
