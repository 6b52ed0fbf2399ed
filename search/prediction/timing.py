"""How long each matrix takes in each kernel, and each structure at each width: measured once per target and shape."""

from __future__ import annotations

import json
import platform
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from slimfront.objectives.latency import interleaved
from slimfront.objectives.runtimes import Runtime, Session
from slimfront.objectives.runtimes.runtime import Blueprint
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Value
from slimfront.spaces.draft import Draft, Scores
from slimfront.spaces.space import Space
from slimfront.studies.cache import cached
from slimfront.studies.compressed import CompressedModel, Form
from slimfront.studies.encoding import Batch

Progress = Callable[[str, float], None]
Json = dict[str, Any]
Shapes = Mapping[str, tuple[int, ...]]
FILE, VERSION, REPEATS, PACES, PROBES = "timing.json", 4, 15, 9, 12


@dataclass(frozen=True)
class Timing:
    """Milliseconds as straight lines over the work.

    Attributes:
        matrices: By matrix and kernel: milliseconds without work, and per multiplied weight.
        structures: By structure and precision: milliseconds without units, and per unit kept.
        rest: By precision: everything else.
        probes: Whole random configurations with their latency relative to the dense model's.
    """

    matrices: Mapping[str, Mapping[str, tuple[float, float]]]
    structures: Mapping[str, Mapping[str, tuple[float, float]]]
    rest: Mapping[str, float]
    probes: Sequence[tuple[Mapping[str, Value], float]] = ()

    def matrix(self, name: str, kernel: str | None, work: int) -> float:
        """Return the milliseconds of a product; zero where the kernel was excluded or never measured."""
        start, slope = self.matrices.get(name, {}).get(kernel or "", (0.0, 0.0))
        return start + slope * work

    def structure(self, name: str, precision: str, units: int) -> float:
        """Return the milliseconds of what stands between a structure's matrices."""
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
        request: The request that is timed.
        shapes: Shape of each parameter.
        identity: JSON of everything else on which the time depends.
    """

    space: Space
    scores: Scores
    runtime: Runtime
    blueprint: Blueprint
    compress: Callable[[Configuration], CompressedModel]
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
            "machine": machine(),
            "version": VERSION,
        }

        def build(folder: Path) -> None:
            (folder / FILE).write_text(json.dumps(self._measure(progress), allow_nan=False), encoding="utf-8")

        data = json.loads((cached("timing", key, build) / FILE).read_text(encoding="utf-8"))
        lines = {
            part: {name: {kind: _line(points) for kind, points in kinds.items()} for name, kinds in data[part].items()}
            for part in ("matrices", "structures")
        }
        rest = {name: float(np.median(values)) for name, values in data["rest"].items()}
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
        forms = draft.forms({name: self.shapes[name] for name in self.blueprint.products})
        return {name: Form(form.bits, form.shape, form.group) for name, form in forms.items()}

    def _measure(self, progress: Progress) -> Json:
        """Profile each kernel on the dense and on the most cut model.

        Each profile stands between two timings of the dense model, by which it is scaled: a busy or throttled machine
        must not make one kernel look slower than another.
        """
        matrices: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        structures: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        rest: dict[str, list[float]] = defaultdict(list)
        designs = list(self._designs())
        pace = self._pace()
        paces = [pace()]
        profiles = []
        for number, (configuration, mode) in enumerate(designs):
            compressed = self.compress(configuration)
            profiles.append(self.blueprint.profile(compressed, mode, self.request, REPEATS))
            paces.append(pace())
            progress("timing each layer on the target", (number + 1) / len(designs))
        usual = float(np.median(paces))
        for (configuration, mode), found, before, after in zip(designs, profiles, paces, paces[1:], strict=False):
            draft, scale = self.space.draft(self.scores, configuration), 2 * usual / (before + after)
            times = {name: scale * spent for name, spent in found.items()}
            for name, form in self._products(draft).items():
                kernel = self.runtime.kernel(form, mode)
                matrices[name][str(kernel)].append([int(np.prod(form.shape)), times[name]])
            for structure in self.space.anatomy.structures:
                units = draft.kept.get(structure.name, structure.units)
                structures[structure.name][draft.precision].append([units, times.get(structure.name, 0.0)])
            rest[draft.precision].append(times[""])
        return {"matrices": matrices, "structures": structures, "rest": rest, "probes": self._probes(progress)}

    def _probes(self, progress: Progress) -> list[tuple[dict[str, Value], float]]:
        """Return random configurations and their latency, relative to the dense model's in interleaved runs."""
        rng, dense, found = random.Random(0), self.space.dense(), []
        reference = self._session(dense)
        for number in range(PROBES):
            values = {name: rng.choice(domain.values) for name, domain in self.space.domains.items()}
            values |= {name: dense[name] for name in values if name.startswith("distillation/")}
            configuration = self.space.canonical(values)
            own, base = interleaved(self._session(configuration), reference, self.request)
            found.append((dict(configuration), float(np.median(own) / np.median(base))))
            progress("timing whole models on the target", (number + 1) / PROBES)
        return found

    def _session(self, configuration: Configuration) -> Session:
        with tempfile.TemporaryDirectory() as folder:
            return self.runtime.load(self.blueprint.lower(self.compress(configuration), Path(folder) / "probe"))

    def _pace(self) -> Callable[[], float]:
        """Return a function that times the dense model, in milliseconds."""
        session = self._session(self.space.dense())

        def pace() -> float:
            times = []
            for _ in range(PACES):
                start = time.perf_counter()
                session.run(self.request)
                times.append((time.perf_counter() - start) * 1e3)
            return float(np.median(times))

        pace()
        return pace

    def _designs(self) -> Iterator[tuple[Configuration, str]]:
        """Yield uniform settings and modes, so that each kernel runs on the dense and on the most cut model."""
        axes = self.space.axes
        cuts = axes["sparsity"].uniform() or [{}]
        for cut in {0: cuts[0], len(cuts) - 1: cuts[-1]}.values():
            seen: set[str] = set()
            for precision in axes["precision"].uniform() or [{}]:
                for bits in axes["bits"].uniform() or [{}]:
                    configuration = self.space.compose(sparsity=cut, precision=precision, bits=bits)
                    draft = self.space.draft(self.scores, configuration)
                    forms = self._products(draft).values()
                    for mode in self.modes():
                        kernels = {self.runtime.kernel(form, mode) for form in forms}
                        own = mode.split("/")[0] == draft.precision
                        if own and None not in kernels and not kernels <= seen:
                            seen |= {str(kernel) for kernel in kernels}
                            yield configuration, mode


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


def machine() -> str:
    """Return the processor's name."""
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
