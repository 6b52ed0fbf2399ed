"""Hypervolume at equal CPU time: our sampler against Optuna's, from the same uniform trials on the same evaluator."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student
from slimfront.search.box import Box
from slimfront.search.coordinator import Coordinator
from slimfront.search.naming import check_names
from slimfront.search.preparation import objectives_of
from slimfront.search.records import Records
from slimfront.search.trial import Trial
from slimfront.studies.schema import Study

from tests.benchmarks.material import Workplace, quickstart
from tests.benchmarks.table import write

BASELINES = ("random", "nsga2", "nsga3", "tpe")
OURS = "evolution"
SEEDS = 5
# CPU seconds that each sampler has after the uniform trials, which all of them share.
BUDGET = 180.0
UNIFORM = "uniform"
# Written when a search has ended: what the coordinator spent on a trial.
SHARE = "coordinator.json"
Curve = list[tuple[float, float]]


def curve(study: Study, trials: Sequence[Trial], coordinator: float, bounded: bool) -> Curve:
    """Return CPU seconds and hypervolume after each trial.

    Args:
        study: The study.
        trials: Its trials by number.
        coordinator: CPU seconds that the coordinator spends on a trial.
        bounded: Whether the box of the hypervolume ends at the constraints, as in a run, or at an accuracy of zero.
    """
    objectives = {name: {"direction": o.direction} for name, o in objectives_of(study).items()}
    dense = {name: trials[0].value(name) for name in objectives}
    box = Box.of(objectives, dense, check_names(study) if bounded else {})
    found, points, spent = [], [], 0.0
    for trial in trials:
        if trial.state not in ("complete", "stopped"):
            continue
        spent += float(trial.details.get("cpu", {}).get("total", 0.0)) + coordinator
        if trial.state == "complete" and trial.feasible:
            points.append({name: trial.value(name) for name in objectives})
        found.append((spent, box.hypervolume(points)))
    return found


def at(steps: Curve, seconds: float) -> float:
    """Return the hypervolume after so many CPU seconds."""
    return max((volume for spent, volume in steps if spent <= seconds), default=0.0)


def until(steps: Curve, volume: float) -> float:
    """Return the CPU seconds after which a hypervolume is reached; infinite where it is not."""
    return min((spent for spent, reached in steps if reached >= volume), default=float("inf"))


def common(folder: Path) -> float:
    """Run the uniform trials, which all searches begin with, and return the CPU seconds that they took."""
    place = Workplace(quickstart(), folder)
    try:
        uniform = len(place.space.uniform())
        trials = place.search(UNIFORM, _tell, trials=uniform, seed=0, predicted=0, sampler="random")
    finally:
        place.close()
    return sum(float(trial.details["cpu"]["total"]) for trial in trials)


def search_one(folder: Path, spent: float, job: tuple[int, str]) -> tuple[list[Trial], float]:
    """Return the trials of one sampler and seed, and the coordinator's CPU seconds for each trial."""
    seed, sampler = job
    place = Workplace(quickstart(), folder)
    run = place.folder / f"{sampler}-{seed}"
    try:
        if not (run / SHARE).exists():
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(place.folder / UNIFORM, run, copy_function=_copy)
            share = _search(place, run, spent, seed, sampler)
            (run / SHARE).write_text(json.dumps(share))
    finally:
        place.close()
    trials = Records(run).trials()
    print(f"  seed {seed} {sampler}: {len(trials)} trials", file=sys.stderr, flush=True)
    return trials, float(json.loads((run / SHARE).read_text()))


def _search(place: Workplace, run: Path, spent: float, seed: int, sampler: str) -> float:
    ticks = [time.process_time()]
    trials = place.search(
        run.name,
        lambda _coordinator: ticks.append(time.process_time()),
        trials=100_000,
        budget=f"{spent + BUDGET:.0f}s",
        seed=seed,
        sampler=sampler,
        predicted=0,
    )
    return float(ticks[-1] - ticks[0]) / max(1, len(trials) - len(place.space.uniform()))


def _copy(source: str, target: str) -> None:
    """Link an artifact, which never changes; copy everything else."""
    if "/artifacts/" in source:
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


def _tell(coordinator: Coordinator) -> None:
    print(f"    {coordinator.progress().done} {coordinator.progress().best}", file=sys.stderr, flush=True)


def summary(study: Study, searches: Sequence[Mapping[str, Any]], tables: float) -> tuple[list[list[str]], str]:
    """Return the rows of the table and what is to be said about them."""
    rows, texts = [], []
    for bounded in (True, False):
        curves = [{n: curve(study, trials, share, bounded) for n, (trials, share) in one.items()} for one in searches]
        common = [at(one["random"], _uniform_end(search)) for one, search in zip(curves, searches, strict=True)]
        ends = [_uniform_end(search) + BUDGET for search in searches]
        volumes = {n: [at(one[n], end) for one, end in zip(curves, ends, strict=True)] for n in curves[0]}
        charged = [at(one[OURS], end - tables) for one, end in zip(curves, ends, strict=True)]
        name = "tolerated losses" if bounded else "down to zero accuracy"
        rows.append([name, "uniform settings alone", f"{np.median(common):.4f}", "", ""])
        for sampler, found in volumes.items():
            counts = [len(search[sampler][0]) for search in searches]
            spread = f"{min(found):.4f} to {max(found):.4f}"
            rows.append([name, sampler, f"{np.median(found):.4f}", spread, f"{np.median(counts):.0f}"])
        best = np.max([volumes[n] for n in BASELINES], axis=0)
        for label, ours in (("", volumes[OURS]), (" with the making of the tables charged to it", charged)):
            low, middle, high = interval(np.log(np.array(ours) / best))
            reached = [until(one[OURS], v) - _uniform_end(s) for one, v, s in zip(curves, best, searches, strict=True)]
            extra = tables if label else 0.0
            share = float(np.median(reached) + extra) / BUDGET
            texts.append(
                f"Box {name!r}: {OURS}{label} has {middle:.3f} times the hypervolume of each seed's best baseline (95 "
                f"% interval over seeds {low:.3f} to {high:.3f}); it reaches that baseline's final hypervolume after "
                f"{share:.2f} of the baseline's CPU time after the uniform settings (median)."
            )
    return rows, "\n\n".join(texts)


def _uniform_end(search: Mapping[str, Any]) -> float:
    trials, share = search["random"]
    uniform = [trial for trial in trials if trial.kind in ("dense", "uniform")]
    return sum(float(trial.details["cpu"]["total"]) + share for trial in uniform)


def interval(logs: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float, float]:
    """Return the lower end, the middle and the upper end of the 95 % interval of a geometric mean."""
    half = student.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    low, middle, high = np.exp([logs.mean() - half, logs.mean(), logs.mean() + half])
    return float(low), float(middle), float(high)


def main(folder: Path) -> None:
    """Run the benchmark in a folder; what is there already is not run again."""
    study, folder = quickstart(), folder / "hypervolume"
    spent = common(folder)
    jobs = [(seed, sampler) for seed in range(SEEDS) for sampler in (*BASELINES, OURS)]
    # One after the other: two at a time lengthen latencies by more than what separates the samplers.
    found = [search_one(folder, spent, job) for job in jobs]
    searches = [
        {sampler: answer for (of, sampler), answer in zip(jobs, found, strict=True) if of == seed}
        for seed in range(SEEDS)
    ]
    tables = cost_of_tables(study)
    rows, text = summary(study, searches, tables)
    write(
        "hypervolume",
        "Hypervolume at equal CPU time",
        f"{text}\n\nEvery sampler and seed starts from the same uniform trials ({spent:.0f} CPU seconds) and has "
        f"{BUDGET:.0f} CPU seconds more (worker and coordinator); {SEEDS} seeds, medians. "
        f"Making the tables takes {tables:.0f} CPU seconds, once for a model and a target.",
        ("box", "sampler", "hypervolume", "range", "trials"),
        rows,
    )


def cost_of_tables(study: Study) -> float:
    """Return the CPU seconds that the tables take when nothing of them is in the cache."""
    import tempfile

    from slimfront.search.evaluator import Evaluator
    from slimfront.search.guide import guide
    from slimfront.studies.cache import cache_root

    evaluator = Evaluator.prepare(study, lambda _text, _share: None)
    before, old = os.environ.get("SLIMFRONT_CACHE"), cache_root()
    with tempfile.TemporaryDirectory() as scratch:
        for entry in old.iterdir():
            if entry.name not in ("timing", "sensitivity", "mixtures"):
                (Path(scratch) / entry.name).symlink_to(entry)
        os.environ["SLIMFRONT_CACHE"] = scratch
        start = time.process_time()
        guide(evaluator, lambda _text, _share: None)
        spent = time.process_time() - start
    if before is None:
        del os.environ["SLIMFRONT_CACHE"]
    else:
        os.environ["SLIMFRONT_CACHE"] = before
    return spent
