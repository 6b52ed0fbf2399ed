"""Blocks that are removed whole."""

from __future__ import annotations

from slimfront.spaces.axes.axis import AXES, Axis, Values
from slimfront.spaces.domain import Domain
from slimfront.spaces.draft import Draft
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities
from slimfront.studies.errors import StudyError
from slimfront.studies.space import SpaceSpec

PREFIX = "depth/"
KEPT, REMOVED = "kept", "removed"


@AXES.register("depth")
class Depth(Axis):
    """Whether each block stays. Uniform settings remove blocks from the end.

    The last blocks of an encoder are those that a classifier misses least (Sajjad et al. 2023, "On the Effect of
    Dropping Layers of Pre-trained Transformer Models", section 3.1).
    """

    stage = 0

    def __init__(self, spec: SpaceSpec, anatomy: Anatomy, capabilities: Capabilities) -> None:  # noqa: ARG002
        self._shares = tuple(sorted({0.0, *spec.depth.levels})) if spec.depth else (0.0,)
        if spec.depth and not anatomy.blocks:
            raise StudyError(
                "the model has no block that it can do without",
                where="space.depth",
                allowed="a model with a list of blocks, each of which gives on what it reads",
                hint="remove space.depth",
            )
        self._blocks = [block.name for block in anatomy.blocks]

    def domains(self) -> dict[str, Domain]:
        """See :meth:`Axis.domains`."""
        if len(self._shares) < 2:
            return {}
        return {f"{PREFIX}{name}": Domain((KEPT, REMOVED)) for name in self._blocks}

    def dense(self) -> Values:
        """See :meth:`Axis.dense`."""
        return dict.fromkeys(self.domains(), KEPT)

    def uniform(self) -> list[Values]:
        """See :meth:`Axis.uniform`."""
        names = list(self.domains())
        left = [max(1, round(len(names) * (1 - share))) for share in self._shares if names]
        return [{name: KEPT if n < count else REMOVED for n, name in enumerate(names)} for count in left]

    def apply(self, draft: Draft, values: Values) -> None:
        """See :meth:`Axis.apply`."""
        draft.skipped |= removed_blocks(values)


def removed_blocks(values: Values) -> set[str]:
    """Return the names of the blocks that a configuration removes."""
    return {name.removeprefix(PREFIX) for name, value in values.items() if value == REMOVED and name.startswith(PREFIX)}
