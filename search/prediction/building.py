"""Makes the tables of a space from its model's blueprint, timing and sensitivities."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from slimfront.objectives.runtimes import Runtime
from slimfront.objectives.runtimes.runtime import Blueprint
from slimfront.search.prediction.packing import Packing
from slimfront.search.prediction.tables import Tables, Term
from slimfront.search.prediction.timing import Shapes, Timing
from slimfront.spaces.axes.vocabulary import REMOVED
from slimfront.spaces.domain import Value
from slimfront.spaces.draft import Draft, Scores
from slimfront.spaces.space import Space
from slimfront.studies.compressed import Form

Positions = tuple[int, ...]
BASE: Positions = ()


@dataclass
class Builder:
    """See the module.

    Attributes:
        space: The space.
        scores: Importance of units.
        runtime: The target.
        blueprint: The converted model.
        shapes: Shape of each parameter of the dense model.
    """

    space: Space
    scores: Scores
    runtime: Runtime
    blueprint: Blueprint
    shapes: Shapes

    def build(
        self,
        timing: Timing,
        modes: tuple[str, ...],
        losses: Mapping[str, list[float]],
        stretch: Sequence[float],
        packing: Packing | None,
    ) -> Tables:
        """Return the tables.

        Args:
            timing: Times of matrices and structures.
            modes: Modes in which models may run.
            losses: For each parameter the divergence that each level causes alone.
            stretch: Tokens for each one of the dense model's, by level of the vocabulary; empty where it has none.
            packing: What is left of the files in a download, or None where nobody asks.
        """
        needed, sums = self._dependencies(), _Sums({mode: defaultdict(float) for mode in modes})
        self._add_weights(needed, sums, timing, packing)
        self._add_structures(needed, sums, timing)
        self._add_blocks(needed, sums, timing)
        self._add_rest(sums, timing, packing)
        return Tables(
            domains={name: domain.values for name, domain in self.space.domains.items()},
            size=_terms(sums.size, np.int64),
            forms=tuple(sums.forms),
            marks=_terms(sums.marks, np.int64),
            precision=self._term(needed.precision, self._precision_of),
            latency={mode: _terms(times, np.float64) for mode, times in sums.latency.items()},
            losses=tuple(np.array(losses[name], dtype=np.float64) for name in self.space.domains),
            steps=self._term(needed.steps, lambda draft: draft.recovery.steps if draft.recovery else 0),
            stretch=self._stretch(stretch),
            idle=self._idle(),
            download=_terms(sums.download, np.float64),
        )

    def _add_weights(self, needed: _Dependencies, sums: _Sums, timing: Timing, packing: Packing | None) -> None:
        size, download, marks = sums.size, sums.download, sums.marks
        for positions, members in _by_positions(needed.weights).items():
            grid = self._grid(positions)
            forms_of = _apply(grid, partial(self._forms, members))
            for name in members:
                shaped = _apply(forms_of, partial(_of, name))
                size[positions] = size[positions] + _apply(shaped, partial(self._parameter, name))
                if packing:
                    download[positions] = download[positions] + _apply(grid, partial(self._packed, name, packing))
                if name in self.blueprint.products:
                    marks[positions] = marks[positions] | _apply(shaped, partial(_mark, sums.forms))
                    for mode, times in sums.latency.items():
                        times[positions] = times[positions] + self._product_times(name, shaped, mode, timing)

    def _add_structures(self, needed: _Dependencies, sums: _Sums, timing: Timing) -> None:
        for positions, members in _by_positions(needed.structures).items():
            grid = self._grid(positions)
            for name in members:
                units = _apply(grid, partial(self._units, name))
                sums.size[positions] = sums.size[positions] + _apply(units, partial(self._frame, name))
                for mode, times in sums.latency.items():
                    spent = _apply(grid, partial(self._between, timing, name, _precision(mode)))
                    times[positions] = times[positions] + spent

    def _add_blocks(self, needed: _Dependencies, sums: _Sums, timing: Timing) -> None:
        for positions, members in _by_positions(needed.blocks).items():
            grid = self._grid(positions)
            for name in members:
                sums.size[positions] = sums.size[positions] + _apply(grid, partial(self._missing_block, name))
                for mode, times in sums.latency.items():
                    spent = _apply(grid, partial(self._block, timing, name, _precision(mode)))
                    times[positions] = times[positions] + spent

    def _add_rest(self, sums: _Sums, timing: Timing, packing: Packing | None) -> None:
        frame = self.blueprint.frame_size({})
        sums.size[BASE] = sums.size[BASE] + frame
        if packing:
            sums.download[BASE] = sums.download[BASE] + packing.rest * frame
        for mode, times in sums.latency.items():
            times[BASE] = times[BASE] + timing.rest.get(_precision(mode), (0.0, 0.0))[0]

    def _stretch(self, stretch: Sequence[float]) -> Term:
        if not stretch:
            return Term((), np.array(1.0))
        return Term((list(self.space.domains).index(REMOVED),), np.array(stretch))

    def _idle(self) -> dict[int, Positions]:
        places = {name: position for position, name in enumerate(self.space.domains)}
        return {
            places[name]: tuple(places[remover] for remover in sorted(removers))
            for name, removers in self.space.removers().items()
        }

    def _forms(self, members: Sequence[str], draft: Draft) -> dict[str, Form]:
        return draft.forms({name: self.shapes[name] for name in members})

    def _frame(self, name: str, units: int) -> int:
        return self.blueprint.frame_size({name: units}) - self.blueprint.frame_size({})

    def _parameter(self, name: str, form: Form | None) -> int:
        return 0 if form is None else self.blueprint.parameter_size(name, form)

    def _packed(self, name: str, packing: Packing, draft: Draft) -> float:
        form = self._forms([name], draft).get(name)
        if form is None:
            return 0.0
        share = packing.values[name, draft.bits.get(name, 32), draft.zeros.get(name)]
        whole, values = self.blueprint.parameter_size(name, form), self.blueprint.data_size(name, form)
        return share * values + packing.rest * (whole - values)

    def _missing_block(self, name: str, draft: Draft) -> int:
        whole = self.blueprint.frame_size({})
        return self.blueprint.frame_size({}, {name}) - whole if name in draft.skipped else 0

    def _block(self, timing: Timing, name: str, precision: str, draft: Draft) -> float:
        return 0.0 if name in draft.skipped else timing.structure(name, precision, 1)

    def _between(self, timing: Timing, name: str, precision: str, draft: Draft) -> float:
        """Return the time of what stands between a structure's matrices."""
        gone = any(s.name == name for block in draft.gone() for s in draft.anatomy.within(block))
        return 0.0 if gone else timing.structure(name, precision, self._units(name, draft))

    def _units(self, name: str, draft: Draft) -> int:
        dense = next(structure.units for structure in self.space.anatomy.structures if structure.name == name)
        return draft.kept.get(name, dense)

    def _precision_of(self, draft: Draft) -> int:
        return self.space.capabilities.precisions.index(draft.precision)

    def _product_times(self, name: str, shaped: Any, mode: str, timing: Timing) -> Any:
        def spent(form: Form | None) -> float:
            if form is None:
                return 0.0
            work = int(np.prod(form.shape))
            return timing.matrix(name, self.runtime.kernel(form, mode), work) + timing.between(_precision(mode), work)

        return _apply(shaped, spent)

    def _term(self, positions: Positions, value: Callable[[Draft], int]) -> Term:
        return Term(positions, np.asarray(_apply(self._grid(positions), value), dtype=np.int64))

    def _draft(self, values: Mapping[str, Value]) -> Draft:
        return self.space.draft(self.scores, self.space.canonical({**self.space.dense(), **values}))

    def _grid(self, positions: Positions) -> Any:
        """Return the drafts of all combinations of some parameters' values, one axis each; all others dense."""
        names = [list(self.space.domains)[position] for position in positions]
        choices = [self.space.domains[name].values for name in names]
        grid = np.empty([len(values) for values in choices], dtype=object)
        for index in np.ndindex(grid.shape):
            chosen = {n: values[i] for n, values, i in zip(names, choices, index, strict=True)}
            grid[index] = self._draft(chosen)
        return grid

    def _dependencies(self) -> _Dependencies:
        """Find what each parameter changes by setting it alone to its last value."""
        dense = self._draft({})
        forms = dense.forms(self.shapes)
        anatomy = self.space.anatomy
        found = _Dependencies(
            dict.fromkeys(self.shapes, ()),
            {s.name: () for s in anatomy.structures},
            {b.name: () for b in anatomy.blocks},
        )
        for position, (name, domain) in enumerate(self.space.domains.items()):
            draft = self._draft({name: domain.values[-1]})
            changed = draft.forms(self.shapes)
            for weight, form in forms.items():
                if form != changed.get(weight) or weight in draft.zeros:
                    found.weights[weight] += (position,)
            for structure in draft.keep:
                found.structures[structure] += (position,)
            for block in draft.gone():
                found.blocks[block.name] += (position,)
                for structure in (s.name for s in anatomy.within(block)):
                    found.structures[structure] += (position,)
            if draft.precision != dense.precision:
                found.precision += (position,)
            if (draft.recovery is None) != (dense.recovery is None):
                found.steps += (position,)
        return found


@dataclass
class _Sums:
    """What weights, structures and blocks add, by the parameters on which it depends; latency by mode, too."""

    latency: dict[str, dict[Positions, Any]]
    size: dict[Positions, Any] = field(default_factory=lambda: defaultdict(int))
    download: dict[Positions, Any] = field(default_factory=lambda: defaultdict(float))
    marks: dict[Positions, Any] = field(default_factory=lambda: defaultdict(int))
    forms: dict[Form, int] = field(default_factory=dict)


@dataclass
class _Dependencies:
    """Positions of the parameters on which each thing depends."""

    weights: dict[str, Positions]
    structures: dict[str, Positions]
    blocks: dict[str, Positions]
    precision: Positions = ()
    steps: Positions = ()


def _by_positions(needed: Mapping[str, Positions]) -> dict[Positions, list[str]]:
    groups: dict[Positions, list[str]] = defaultdict(list)
    for name, positions in needed.items():
        groups[positions].append(name)
    return groups


def _apply(grid: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to each entry of a grid, whatever its number of axes."""
    found = np.empty(np.shape(grid), dtype=object)
    for index in itertools.product(*(range(size) for size in np.shape(grid))):
        found[index] = function(grid[index])
    return found


def _of(name: str, forms: Mapping[str, Form]) -> Form | None:
    """Return a weight's form, or None where it is gone."""
    return forms.get(name)


def _mark(forms: dict[Form, int], form: Form | None) -> int:
    if form is None:
        return 0
    bare = replace(form, shape=())
    return 1 << forms.setdefault(bare, len(forms))


def _precision(mode: str) -> str:
    return mode.split("/")[0]


def _terms(sums: Mapping[Positions, Any], kind: Any) -> tuple[Term, ...]:
    return tuple(Term(positions, np.array(values, dtype=kind)) for positions, values in sums.items())
