"""Bit-width of each weight group, and whether what it multiplies is rounded in a fixed range."""

from __future__ import annotations

from slimfront.spaces.axes.axis import AXES, Levelled, Values, parameter_names
from slimfront.spaces.domain import Value
from slimfront.spaces.draft import Draft
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities
from slimfront.studies.errors import StudyError
from slimfront.studies.space import BitsSpec, SpaceSpec

# What some target packs; and the levels at which products are sums of integers, with their widths.
KNOWN = (2, 3, 4, 6, 8, 16, 32)
STATIC = {"8-static": 8}


@AXES.register("bits")
class Bits(Levelled):
    """Bits of a weight: 32 and 16 are floating point, fewer are integer codes.

    At ``8-static`` what a linear layer reads has 8 bits too, in a range that was fixed beforehand; weights that others
    multiply or look up have plain 8 bits there. A level that other targets have, but not this one, is left out of the
    space.
    """

    stage = 1

    def __init__(self, spec: SpaceSpec, anatomy: Anatomy, capabilities: Capabilities) -> None:
        offered = offers(capabilities)
        wanted = (spec.bits.levels or offered) if spec.bits else offered[:1]
        for number, level in enumerate(wanted):
            if level not in (*KNOWN, *STATIC):
                raise StudyError(
                    "no target packs this bit-width",
                    where=f"space.bits.levels.{number}",
                    given=level,
                    allowed=", ".join(map(str, reversed(offered))),
                    hint="remove it",
                )
        _check_groups(spec.bits, capabilities)
        self._levels = tuple(level for level in offered if level in (offered[0], *wanted))
        granularity = spec.bits.granularity if spec.bits else "all"
        names = parameter_names("bits", granularity, anatomy.groups, lambda g: g.name, lambda g: g.role)
        self._touched = {group.name: group.weights for group in anatomy.groups}
        self._parameters = dict(zip((g.name for g in anatomy.groups), names, strict=True))
        linear = set(anatomy.linear)
        self._products = {self._parameters[group.name] for group in anatomy.groups if linear & {*group.weights}}

    def apply(self, draft: Draft, values: Values) -> None:
        """See :meth:`Axis.apply`."""
        for group in draft.anatomy.groups:
            level = values.get(self._parameters[group.name], self._levels[0])
            draft.bits.update(dict.fromkeys(group.weights, STATIC.get(str(level)) or int(level)))
            if level in STATIC:
                draft.static |= {name for name in group.weights if name in draft.anatomy.linear}

    def canonical(self, values: Values) -> Values:
        """See :meth:`Axis.canonical`: where there are no linear layers nothing is read in a fixed range."""
        plain = {level: bits for level, bits in STATIC.items() if bits in self._levels}
        return {
            name: level if name in self._products else plain.get(str(level), level) for name, level in values.items()
        }


def offers(capabilities: Capabilities) -> tuple[Value, ...]:
    """Return the levels that a target offers, least compressed first."""
    found: list[Value] = []
    for bits in sorted(capabilities.bits, reverse=True):
        found.append(bits)
        found += [level for level, width in STATIC.items() if width == bits and bits in capabilities.static]
    return tuple(found)


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
