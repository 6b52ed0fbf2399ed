"""Single weights that become zero."""

from __future__ import annotations

from slimfront.spaces.axes.axis import AXES, Levelled, Values, parameter_names
from slimfront.spaces.domain import Value
from slimfront.spaces.draft import Draft
from slimfront.spaces.masks import Pattern
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities
from slimfront.studies.space import SpaceSpec

PREFIX = "unstructured/"


@AXES.register("unstructured")
class Unstructured(Levelled):
    """Share of the single weights of each group of matrices that become zero, or n:m.

    The matrices keep their shapes, and on the targets of today their time: what gets smaller is what is downloaded.
    """

    stage = 1

    def __init__(self, spec: SpaceSpec, anatomy: Anatomy, capabilities: Capabilities) -> None:  # noqa: ARG002
        own = spec.unstructured
        self._levels = tuple(sorted({0.0, *own.levels}, key=_order)) if own else (0.0,)
        names = parameter_names(
            "unstructured", own.granularity if own else "all", anatomy.groups, lambda g: g.name, lambda g: g.role
        )
        self._touched = {group.name: group.weights for group in anatomy.groups}
        self._parameters = dict(zip(self._touched, names, strict=True))

    def apply(self, draft: Draft, values: Values) -> None:
        """See :meth:`Axis.apply`."""
        for name, weights in self._touched.items():
            pattern = Pattern.of(values.get(self._parameters[name], 0.0))
            if pattern is not None:
                draft.zeros.update(dict.fromkeys(weights, pattern))


def _order(level: Value) -> tuple[float, float]:
    """Return what ascends with what is lost: of the same share more is lost where there are fewer neighbours."""
    pattern = Pattern.of(level)
    if pattern is None:
        return 0.0, 0.0
    return pattern.share, 1 / pattern.neighbours if pattern.neighbours else 0.0
