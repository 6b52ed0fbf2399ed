"""How long each matrix takes in each kernel, and each structure at each width: measured once per target and shape."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from slimfront.objectives.rest import Rest
from slimfront.objectives.runtimes import Runtime
from slimfront.objectives.runtimes.runtime import Blueprint
from slimfront.objectives.sessions import Session
from slimfront.objectives.stopwatch import one_at_a_time
from slimfront.search.prediction.probes import PATIENT, probed, side_by_side
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Value
from slimfront.spaces.draft import Draft, Scores
from slimfront.spaces.space import Space
from slimfront.studies.cache import cached
from slimfront.studies.compressed import CompressedModel, Form
from slimfront.studies.encoding import Batch, Requests, widths
from slimfront.studies.processor import processor_name

Progress = Callable[[str, float], None]
Json = dict[str, Any]
Shapes = Mapping[str, tuple[int, ...]]
Design = tuple[Configuration, str]
Profile = dict[str, float]
FILE, VERSION = "timing.json", 13
# Runs of a profile, most rounds over all designs, by how much the two closest of a design may differ.
REPEATS, ROUNDS, AGREEMENT = 9, 4, 1.04


@dataclass(frozen=True)
class Timing:
    """Times, in runs of the dense model, as straight lines over the work.

    Attributes:
        matrices: By matrix and kernel: the time without work, and per multiplied weight.
        structures: By structure and precision: the time without units, and per unit kept; a block is one unit.
        rest: By precision: everything else, without work, and per multiplied weight of all matrices: what stands
            between large ones finds the caches emptied.
        probes: Whole random configurations with their latency relative to the dense model's.
    """

    matrices: Mapping[str, Mapping[str, tuple[float, float]]]
    structures: Mapping[str, Mapping[str, tuple[float, float]]]
    rest: Mapping[str, tuple[float, float]]
    probes: Sequence[tuple[Mapping[str, Value], float]] = ()

    def matrix(self, name: str, kernel: str | None, work: int) -> float:
        """Return the time of a product; zero where the kernel was excluded or never measured."""
        start, slope = self.matrices.get(name, {}).get(kernel or "", (0.0, 0.0))
        return start + slope * work

    def between(self, precision: str, work: int) -> float:
        """Return what a product adds to the time of everything else."""
        return self.rest.get(precision, (0.0, 0.0))[1] * work

    def structure(self, name: str, precision: str, units: int) -> float:
        """Return the time of what stands between a structure's matrices."""
        start, slope = self.structures.get(name, {}).get(precision, (0.0, 0.0))
        return start + slope * units


@dataclass
class Bench:
    """Profiles uniform settings of a space.

    Attributes:
        space: The space.
        scores: Importance of units.
        runtime: The target.
        blueprint: The converted model.
        compress: Makes a compressed model.
        requests: The requests whose latency is measured; whole models are timed on them.
        request: One of their mean length, on which layers are timed.
        shapes: Shape of each parameter.
        identity: JSON of everything else on which the time depends.
    """

    space: Space
    scores: Scores
    runtime: Runtime
    blueprint: Blueprint
    compress: Callable[[Configuration], CompressedModel]
    requests: Requests
    request: Batch
    shapes: Shapes
    identity: Json

    def timing(self, progress: Progress) -> Timing:
        """Return the timing, from the cache where it has it."""
        key = {
            **self.identity,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "domains": {name: list(domain.values) for name, domain in self.space.domains.items()},
            "request": {name: list(values.shape) for name, values in self.request.items()},
            "machine": processor_name(),
            "version": VERSION,
        }
        if len(self.requests) > 1:
            key["lengths"] = widths(self.requests)

        def build(folder: Path) -> None:
            (folder / FILE).write_text(json.dumps(self._measure(progress), allow_nan=False), encoding="utf-8")

        data = json.loads((cached("timing", key, build) / FILE).read_text(encoding="utf-8"))
        lines = {
            part: {name: {kind: _line(points) for kind, points in kinds.items()} for name, kinds in data[part].items()}
            for part in ("matrices", "structures")
        }
        rest = {name: _line(points) for name, points in data["rest"].items()}
        return Timing(lines["matrices"], lines["structures"], rest, [(c, ratio) for c, ratio in data["probes"]])

    def modes(self) -> tuple[str, ...]:
        """Return every mode that models of the space may run in; any two matrices may decide it."""
        found: dict[str, None] = {}
        for precision in self.space.capabilities.precisions:
            kinds = {form for draft in self._settings() for form in self._products(draft).values()}
            for one in kinds:
                for other in kinds:
                    found.setdefault(self.runtime.mode((one, other), precision))
        return tuple(found)

    def _settings(self) -> Iterator[Draft]:
        for configuration in self.space.grid("sparsity", "bits"):
            yield self.space.draft(self.scores, configuration)

    def _products(self, draft: Draft) -> dict[str, Form]:
        return draft.forms({name: self.shapes[name] for name in self.blueprint.products})

    def _measure(self, progress: Progress) -> Json:
        """Profile each kernel on the dense and on the most cut model.

        Rounds over all designs are repeated until two profiles of each agree that were taken while the machine was at
        rest, before and after, as far as that is known by then; those two count.
        """
        matrices: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        structures: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        rest: dict[str, list[list[float]]] = defaultdict(list)
        for (configuration, mode), times in self._profiles(progress).items():
            draft = self.space.draft(self.scores, configuration)
            products = self._products(draft)
            for name, form in products.items():
                kernel = self.runtime.kernel(form, mode)
                matrices[name][str(kernel)].append([int(np.prod(form.shape)), times[name]])
            for structure in self.space.anatomy.structures:
                units = draft.kept.get(structure.name, structure.units)
                structures[structure.name][draft.precision].append([units, times.get(structure.name, 0.0)])
            for block in self.space.anatomy.blocks:
                structures[block.name][draft.precision].append([1, times.get(block.name, 0.0)])
            rest[draft.precision].append([sum(int(np.prod(form.shape)) for form in products.values()), times[""]])
        probes = probed(
            self.space,
            self._session,
            self.requests,
            side_by_side(self.shapes),
            partial(progress, "timing whole models on the target"),
        )
        return {"matrices": matrices, "structures": structures, "rest": rest, "probes": probes}

    def _profiles(self, progress: Progress) -> dict[Design, Profile]:
        """Return times by part for each design."""
        designs = list(self._designs())
        found: dict[Design, list[tuple[float, Profile]]] = {design: [] for design in designs}
        session, rest = self._session(self.space.dense()), Rest(PATIENT, memory=None)
        dense = partial(session.run, self.request)

        def resting(design: Design) -> list[Profile]:
            return [profile for level, profile in found[design] if rest.was(level)]

        open_ones, done = designs, 0
        for _ in range(ROUNDS):
            for configuration, mode in open_ones:
                compressed = self.compress(configuration)
                rest.come(dense)
                with one_at_a_time():
                    before = rest.look(dense)
                    profile = self.blueprint.profile(compressed, mode, self.request, REPEATS, dense)
                    found[configuration, mode].append((max(before, rest.look(dense)), profile))
                done += 1
                # After the second round, each may be the last.
                progress("timing each layer on the target", 1 - 0.5 ** (done / len(designs)))
            open_ones = [design for design in designs if not _agree(resting(design))]
        progress("timing each layer on the target", 1.0)
        best = {d: _closest(resting(d) or [profile for _, profile in found[d]]) for d in designs}
        return {d: {name: (one[name] + other[name]) / 2 for name in one} for d, (one, other) in best.items()}

    def _session(self, configuration: Configuration) -> Session:
        with tempfile.TemporaryDirectory() as folder:
            return self.runtime.load(self.blueprint.lower(self.compress(configuration), Path(folder) / "probe"))

    def _designs(self) -> Iterator[tuple[Configuration, str]]:
        """Yield uniform settings and modes, so that each kernel runs at two widths, as far apart as it allows.

        Widths decide which kernels a matrix may take: some never run in the most cut model.
        """
        axes = self.space.axes
        cuts = axes["sparsity"].uniform() or [{}]
        widths: dict[str, set[int]] = defaultdict(set)
        for number in dict.fromkeys([0, *reversed(range(len(cuts)))]):
            for precision in axes["precision"].uniform() or [{}]:
                for bits in axes["bits"].uniform() or [{}]:
                    configuration = self.space.compose(sparsity=cuts[number], precision=precision, bits=bits)
                    draft = self.space.draft(self.scores, configuration)
                    forms = self._products(draft).values()
                    for mode in self.modes():
                        kernels = {self.runtime.kernel(form, mode) for form in forms}
                        own = mode.split("/")[0] == draft.precision
                        wanting = [k for k in kernels if len(widths[str(k)]) < 2 and number not in widths[str(k)]]
                        if own and None not in kernels and wanting:
                            for kernel in kernels:
                                widths[str(kernel)].add(number)
                            yield configuration, mode


def _closest(profiles: Sequence[Mapping[str, float]]) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return the two shortest profiles that agree, or those that differ least; a single one twice."""
    ordered = sorted(profiles, key=lambda profile: sum(profile.values()))
    pairs = list(itertools.pairwise(ordered)) or [(ordered[0], ordered[0])]
    return next((pair for pair in pairs if _apart(*pair) <= AGREEMENT), min(pairs, key=lambda pair: _apart(*pair)))


def _agree(profiles: Sequence[Mapping[str, float]]) -> bool:
    """Return whether two profiles take about the same time."""
    if len(profiles) < 2:
        return False
    return _apart(*_closest(profiles)) <= AGREEMENT


def _apart(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return how many times as long the second profile is."""
    return sum(other.values()) / sum(one.values())


def _line(points: list[list[float]]) -> tuple[float, float]:
    """Return start and slope of the line through the median time at each amount of work; times do not fall."""
    by_work: dict[float, list[float]] = defaultdict(list)
    for work, spent in points:
        by_work[work].append(spent)
    amounts = sorted(by_work)
    times = [float(np.median(by_work[amount])) for amount in amounts]
    if len(amounts) < 2:
        return times[0], 0.0
    slope = max(0.0, float(np.polyfit(amounts, times, 1)[0]))
    return float(np.mean(times) - slope * np.mean(amounts)), slope
