"""Bit-width of each weight group."""

from __future__ import annotations

from slimfront.spaces.axes.axis import AXES, Levelled, Values, parameter_names
from slimfront.spaces.draft import Draft
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities
from slimfront.studies.errors import StudyError
from slimfront.studies.schema import BitsSpec, SpaceSpec


@AXES.register("bits")
class Bits(Levelled):
    """Bits of a weight: 32 and 16 are floating point, fewer are integer codes."""

    stage = 1

    def __init__(self, spec: SpaceSpec, anatomy: Anatomy, capabilities: Capabilities) -> None:
        levels = (spec.bits.levels or capabilities.bits) if spec.bits else (max(capabilities.bits),)
        for number, level in enumerate(levels):
            if level not in capabilities.bits:
                raise StudyError(
                    "the target does not pack this bit-width",
                    where=f"space.bits.levels.{number}",
                    given=level,
                    allowed=", ".join(map(str, capabilities.bits)),
                    hint="remove it",
                )
        _check_groups(spec.bits, capabilities)
        self._levels = tuple(sorted({max(capabilities.bits), *levels}, reverse=True))
        granularity = spec.bits.granularity if spec.bits else "all"
        names = parameter_names("bits", granularity, anatomy.groups, lambda g: g.name, lambda g: g.role)
        self._touched = {group.name: group.weights for group in anatomy.groups}
        self._parameters = dict(zip((g.name for g in anatomy.groups), names, strict=True))

    def apply(self, draft: Draft, values: Values) -> None:
        """See :meth:`Axis.apply`."""
        for group in draft.anatomy.groups:
            bits = int(values.get(self._parameters[group.name], self._levels[0]))
            draft.bits.update(dict.fromkeys(group.weights, bits))


def _check_groups(spec: BitsSpec | None, capabilities: Capabilities) -> None:
    for bits, size in (spec.groups if spec else {}).items():
        if bits not in capabilities.bits or bits >= 16:
            raise StudyError(
                "the target has no codes of this width",
                where="space.bits.groups",
                given=bits,
                allowed=", ".join(str(known) for known in capabilities.bits if known < 16),
                hint="remove it",
            )
        if size != "row" and size not in capabilities.group_sizes:
            raise StudyError(
                "the target does not run groups of this size",
                where=f"space.bits.groups.{bits}",
                given=size,
                allowed=", ".join(map(str, ("row", *capabilities.group_sizes))),
                hint="choose an allowed one",
            )
