"""Single weights that become zero."""

from __future__ import annotations

from slimfront.spaces.axes.axis import AXES, Axis, Values, by_parameter, parameter_names
from slimfront.spaces.domain import Domain, Value
from slimfront.spaces.draft import Draft
from slimfront.spaces.masks import Pattern
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities
from slimfront.studies.schema import SpaceSpec

PREFIX = "unstructured/"


@AXES.register("unstructured")
class Unstructured(Axis):
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
        self._groups = {group.name: group.weights for group in anatomy.groups}
        self._parameters = dict(zip(self._groups, names, strict=True))

    def domains(self) -> dict[str, Domain]:
        """See :meth:`Axis.domains`."""
        if len(self._levels) < 2:
            return {}
        return {name: Domain(self._levels) for name in self._parameters.values()}

    def weights(self) -> dict[str, frozenset[str]]:
        """See :meth:`Axis.weights`."""
        return by_parameter((self._parameters[name], weights) for name, weights in self._groups.items())

    def dense(self) -> Values:
        """See :meth:`Axis.dense`."""
        return dict.fromkeys(self.domains(), 0.0)

    def apply(self, draft: Draft, values: Values) -> None:
        """See :meth:`Axis.apply`."""
        for name, weights in self._groups.items():
            pattern = Pattern.of(values.get(self._parameters[name], 0.0))
            if pattern is not None:
                draft.zeros.update(dict.fromkeys(weights, pattern))


def _order(level: Value) -> tuple[float, float]:
    """Return what ascends with what is lost: of the same share more is lost where there are fewer neighbours."""
    pattern = Pattern.of(level)
    if pattern is None:
        return 0.0, 0.0
    return pattern.share, 1 / pattern.neighbours if pattern.neighbours else 0.0
