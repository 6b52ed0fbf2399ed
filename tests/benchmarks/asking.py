"""What asking and telling costs, in large spaces and in long runs."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from slimfront.search.coordinator import Coordinator
from slimfront.search.prediction import Predictor, Tables
from slimfront.search.prediction.tables import Term
from slimfront.search.records import Records
from slimfront.search.run import Run
from slimfront.search.samplers import SAMPLERS
from slimfront.spaces.axes.bits import STATIC
from slimfront.spaces.domain import Value
from slimfront.spaces.space import Space
from slimfront.spaces.structure import Anatomy, WeightGroup
from slimfront.studies.compressed import Capabilities
from slimfront.studies.limits import parse_limit
from slimfront.studies.space import BitsSpec, SpaceSpec
from slimfront.studies.threads import blas_threads

from tests.benchmarks.material import quickstart
from tests.benchmarks.table import write

SAMPLERS_BY_DEFAULT = ("evolution", "random", "nsga2", "nsga3", "tpe")
OBJECTIVES = {
    "size": {"unit": "byte", "direction": "minimize"},
    "latency": {"unit": "ms", "direction": "minimize"},
    "accuracy": {"unit": "fraction", "direction": "maximize"},
}
LEVELS = (2, 3, 4, 6, 8, 16, 32)


class OneMode:
    """A runtime whose layers do not disturb each other."""

    def mode(self, forms: object, precision: str) -> str:
        return precision


def space_of(groups: int, levels: tuple[Value, ...] = LEVELS) -> Space:
    """Return a space of so many weight groups, each with a bit-width of its own."""
    widths = tuple(level for level in levels if isinstance(level, int))
    names = [f"encoder.layer.{number // 4}.part{number % 4}" for number in range(groups)]
    weights = tuple(f"{name}.weight" for name in names)
    own = tuple(WeightGroup(name, "ffn_in", (weight,)) for name, weight in zip(names, weights, strict=True))
    capabilities = Capabilities(widths, (64,), ("f32",), static=(8,))
    spec = SpaceSpec(bits=BitsSpec(levels=levels, granularity="layer"))
    return Space(spec, Anatomy((), own, {}, linear=weights), capabilities)


def predictor_of(space: Space) -> Predictor:
    """Return made-up tables: more bits are larger, slower and lose less, each group in its own measure."""
    rng = np.random.default_rng(0)
    domains = {name: domain.values for name, domain in space.domains.items()}
    size, latency, losses = [], [], []
    for position, values in enumerate(domains.values()):
        bits = np.array([STATIC.get(str(value), value) for value in values], dtype=np.float64)
        weights = int(rng.integers(10_000, 1_000_000))
        size.append(Term((position,), (weights * bits / 8).astype(np.int64)))
        latency.append(Term((position,), weights * (0.3 + bits / 32) / 1e6))
        losses.append(rng.lognormal(-2, 1.5) * 4.0 ** (-np.minimum(bits, 16)))
    zero = Term((), np.array(0))
    tables = Tables(domains, tuple(size), (), (), zero, {"f32": tuple(latency)}, tuple(losses), zero)
    return Predictor(tables, OneMode(), ("f32",), space.dense())  # type: ignore[arg-type]


def outcome(predictor: Predictor, configuration: Mapping[str, Value]) -> dict[str, Any]:
    """Return what a worker would answer."""
    told = predictor.predict([configuration])
    loss = float(told.loss[0])
    values = {
        "size": float(told.size[0]),
        "latency": float(told.latency[0]),
        "accuracy": 0.8 - 0.2 * loss - 0.02 * loss**0.5,
    }
    units = {name: entry["unit"] for name, entry in OBJECTIVES.items()}
    measured = {n: {"value": v, "unit": units[n], "interval": [v, v], "steer": v} for n, v in values.items()}
    cpu = {"stitch": 0.01, "lower": 0.05, "session": 0.2, "inference": 1.5, "latency": 0.5, "other": 0.1, "total": 2.36}
    files = dict.fromkeys(("model.xml", "model.bin"), "0" * 64)
    return {"measurements": measured, "files": files, "divergence": loss, "sentences": 1000, "cpu": cpu, "seconds": 2.5}


def drive(folder: Path, space: Space, sampler: str, trials: int, delta: float = 0.05) -> list[float]:
    """Run a coordinator on made-up answers and return the CPU seconds that each trial cost it."""
    study = quickstart(trials=trials, sampler=sampler, delta=delta)
    run = Run.begin(folder, study)
    records = Records(run.folder, create=True)
    records.begin("asking", OBJECTIVES)
    limits = {"accuracy": parse_limit("accuracy", ">= dense - 0.1", "fraction", "x")}
    predictor, spent = predictor_of(space), []
    coordinator = Coordinator(
        run, records, space, SAMPLERS.get(sampler, where="x")(), limits, None, lambda _progress: None, predictor
    )
    while True:
        start = time.process_time()
        task = coordinator.next_task()
        asked = time.process_time() - start
        if task is None:
            return spent
        answer = outcome(predictor, task["configuration"])
        start = time.process_time()
        coordinator.finish(int(task["number"]), answer)
        spent.append(asked + time.process_time() - start)


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    import tempfile

    rows = []
    with tempfile.TemporaryDirectory(dir=folder) as scratch, blas_threads(1):
        space = space_of(80)
        for sampler in SAMPLERS_BY_DEFAULT:
            spent = drive(Path(scratch) / sampler, space, sampler, 520)
            around = np.array(spent[480:520]) * 1e3
            rows.append(
                [
                    f"{sampler}: ask and tell at trial 500",
                    f"{np.median(around):.1f} ms (p95 {np.quantile(around, 0.95):.1f})",
                ]
            )
        start = time.process_time()
        large = space_of(500, (2, 3, 4, 6, 8, "8-static", 16, 32))
        dense = large.dense()
        made = time.process_time() - start
        rows.append(
            [
                "space of 500 layers with 8 levels: created",
                f"{made:.2f} s, {len(large.domains)} parameters, {len(dense)} values",
            ]
        )
        for sampler in SAMPLERS_BY_DEFAULT:
            spent = drive(Path(scratch) / f"large-{sampler}", large, sampler, 30)
            rows.append(
                [f"{sampler}: first sampled trial there, and the next", f"{spent[-15]:.2f} s, {spent[-1]:.2f} s"]
            )
        for sampler in ("evolution", "nsga2"):
            rows += long_run(Path(scratch) / f"long-{sampler}", space, sampler)
    write(
        "asking",
        "Asking and telling",
        "CPU time of the coordinator's process for one trial: choosing, recording the start, recording the result. "
        "80 parameters of 7 levels unless said otherwise; the results are made up, everything else is real.",
        ("what", "figure"),
        rows,
    )


def long_run(folder: Path, space: Space, sampler: str) -> list[list[str]]:
    """Return the rows of a run of 10,000 trials."""
    gc.collect()
    before = _resident()
    spent = np.array(drive(folder, space, sampler, 10_000)) * 1e3
    grown = _resident() - before
    early, late = np.median(spent[400:600]), np.median(spent[-200:])
    return [
        [f"{sampler}: 10,000 trials, growth of memory", f"{grown:.0f} MB"],
        [
            f"{sampler}: ask and tell at trial 500, at trial 10,000",
            f"{early:.1f} ms, {late:.1f} ms ({late / early:.2f} times)",
        ],
    ]


def _resident() -> float:
    """Return the resident memory of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return float(line.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
