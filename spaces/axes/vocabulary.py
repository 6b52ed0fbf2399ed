"""Rows of the vocabulary that are removed, the rarest tokens first."""

from __future__ import annotations

from slimfront.spaces.axes.axis import AXES, Axis, Values
from slimfront.spaces.domain import Domain
from slimfront.spaces.draft import Draft
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities
from slimfront.studies.space import SpaceSpec

PREFIX = "vocabulary/"
REMOVED = f"{PREFIX}removed"


@AXES.register("vocabulary")
class VocabularyRows(Axis):
    """Share of the vocabulary's rows that are removed; the tokenizer forgets their tokens."""

    stage = 0

    def __init__(self, spec: SpaceSpec, anatomy: Anatomy, capabilities: Capabilities) -> None:  # noqa: ARG002
        self._kept: dict[float, int] = {}
        if spec.vocabulary and anatomy.vocabulary:
            for level in sorted({0.0, *spec.vocabulary.levels}):
                rows = max(anatomy.vocabulary.required, round(anatomy.vocabulary.rows * (1 - level)))
                # Beyond the tokens that always stay every level is the same.
                if rows not in self._kept.values():
                    self._kept[max(0.0, round(1 - rows / anatomy.vocabulary.rows, 4))] = rows

    def domains(self) -> dict[str, Domain]:
        """See :meth:`Axis.domains`."""
        return {REMOVED: Domain(tuple(self._kept))} if len(self._kept) > 1 else {}

    def dense(self) -> Values:
        """See :meth:`Axis.dense`."""
        return dict.fromkeys(self.domains(), 0.0)

    def apply(self, draft: Draft, values: Values) -> None:
        """See :meth:`Axis.apply`."""
        level = float(values.get(REMOVED, 0.0))
        if level > 0:
            draft.rows = self._kept[level]
