"""Bit-width of each weight group."""

from __future__ import annotations

from slimfront.spaces.axes.axis import AXES, Levelled, Values, parameter_names
from slimfront.spaces.draft import Draft
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities
from slimfront.studies.errors import StudyError
from slimfront.studies.space import BitsSpec, SpaceSpec

# What some target packs.
KNOWN = (2, 3, 4, 6, 8, 16, 32)


@AXES.register("bits")
class Bits(Levelled):
    """Bits of a weight: 32 and 16 are floating point, fewer are integer codes.

    A width that other targets pack, but not this one, is left out of the space.
    """

    stage = 1

    def __init__(self, spec: SpaceSpec, anatomy: Anatomy, capabilities: Capabilities) -> None:
        wanted = (spec.bits.levels or capabilities.bits) if spec.bits else (max(capabilities.bits),)
        for number, level in enumerate(wanted):
            if level not in KNOWN:
                raise StudyError(
                    "no target packs this bit-width",
                    where=f"space.bits.levels.{number}",
                    given=level,
                    allowed=", ".join(map(str, capabilities.bits)),
                    hint="remove it",
                )
        _check_groups(spec.bits, capabilities)
        levels = {level for level in wanted if level in capabilities.bits}
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
        if bits not in KNOWN or bits >= 16:
            raise StudyError(
                "no target has codes of this width",
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
