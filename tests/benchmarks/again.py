"""Whether somebody else would find the same: a front measured once more by other processes."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from slimfront.search import launch
from slimfront.search.front import Point
from slimfront.search.records import Records
from slimfront.search.remote import Remote
from slimfront.search.run import Run
from slimfront.search.watch import Allowance
from slimfront.studies.reader import parse_study, read_study

from tests.benchmarks.material import QUICKSTART
from tests.benchmarks.table import write

# Trials where no longer search has been made in the folder, and how often its front is measured once more.
TRIALS, TIMES = 40, 3
Json = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """A number that was measured twice.

    Attributes:
        low: Lower end of the first interval.
        high: Upper end.
        first: The first value.
        second: The second value.
    """

    low: float
    high: float
    first: float
    second: float

    @property
    def held(self) -> bool:
        """Whether the second value lies in the first interval."""
        return self.low <= self.second <= self.high


def copied(folder: Path) -> Run:
    """Return a copy of a run of the shipped study: that of the benchmark ``recipes`` if it is there, or a small one."""
    source, copy = folder / "recipes" / "run-openvino", folder / "again" / "copy"
    if not (source / "study.json").is_file():
        source = folder / "again" / "run"
        data = read_study(QUICKSTART).model_dump(mode="json")
        data["search"] |= {"trials": TRIALS, "workers": 1}
        launch(parse_study(data), source)
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy)
    return Run.open(copy)


def remeasured(run: Run) -> Json:
    """Return what ``slimfront remeasure`` finds in a process of its own, and the processor's seconds that it took."""
    command, before = [sys.executable, "-m", "slimfront.search.cli", "remeasure", str(run.folder)], _children()
    found: Json = json.loads(subprocess.run([*command, "--json"], check=True, stdout=subprocess.PIPE).stdout)
    return {**found, "cpu": _children() - before}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read_again(run: Run, points: list[Point], dense: Path) -> dict[int, float]:
    """Return the held-out accuracy of some points as another process reads it off their files."""
    log, allowance = run.folder / "logs" / "again.log", Allowance.of(run.study.search)
    remote = Remote(run.study.model_dump(mode="json"), log, allowance)
    found = {}
    for point in points:
        task = {"configuration": dict(point.configuration), "folder": str(run.artifact(point.trial))}
        answer = remote.ask({"do": "held_out", **task, "dense_folder": str(dense)})
        found[point.trial] = float(answer["held_out"]["accuracy"]["value"])
    remote.kill()
    return found


def ratios(points: list[Point], told: Json, first: Mapping[int, Json], base: float, rest: bool) -> list[Pair]:
    """Return the latencies relative to the dense model's, as first told by trial and as measured anew.

    Args:
        points: The points.
        told: What was measured anew.
        first: What was measured first.
        base: The dense model's latency then.
        rest: Whether those are asked for whose machine came to rest, or those where it did not.
    """
    entries = {entry["trial"]: entry for entry in told["front"] + told["others"]}
    pairs = []
    for trial in (point.trial for point in points if point.trial in first):
        if rest == ("disturbed" not in entries[trial]["conditions"]["latency"]):
            numbers = (*first[trial]["interval"], first[trial]["value"])
            second = entries[trial]["latency"] / told["dense"]["latency"]
            pairs.append(Pair(*(number / base for number in numbers), second))
    return pairs


def row(title: str, pairs: list[Pair]) -> list[str]:
    """Return a row of the table."""
    apart = [abs(pair.second / pair.first - 1) for pair in pairs]
    wide = [(pair.high - pair.low) / 2 / pair.first for pair in pairs]
    cells = [f"{np.mean([pair.held for pair in pairs]):.0%}", f"{np.median(apart):.2%}", f"{max(apart):.2%}"]
    return [title, str(len(pairs)), *cells, f"± {np.median(wide):.2%}"]


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    run = copied(folder)
    front, records = run.front(), Records(run.folder)
    points = [point for point in front.points if point.trial != front.dense.trial]
    base = front.dense.values["latency"]
    told = [remeasured(run) for _ in range(TIMES)]
    trials = records.trials()
    measured = {trial.number: trial.measurements.get("latency", {}) for trial in trials}
    anew = float(np.median([once["cpu"] for once in told]))
    search = sum(trial.details.get("cpu", {}).get("total", 0.0) for trial in trials)
    before = {trial: entry["accuracy"] for trial, entry in records.held_out().items()}
    after = read_again(run, points, run.artifact(front.dense.trial))
    accuracies = [
        Pair(*before[p.trial]["interval"], before[p.trial]["value"], after[p.trial])
        for p in points
        if p.trial in before
    ]
    pairs = {
        f"latency ratio, {title}, {state}": [p for once in told for p in ratios(points, once, first, base, rest)]
        for title, first in {"of the trial": measured, "of the last tournament": records.final()}.items()
        for state, rest in {"measured anew at rest": True, "measured anew, machine not at rest": False}.items()
    }
    pairs["held-out accuracy"] = accuracies
    rows = [row(title, found) for title, found in pairs.items() if found]
    text = f"""
The front of a search ({len(points)} points without the dense model), its latencies measured {TIMES} times more by
`slimfront remeasure`, its held-out accuracies by a worker, each in a process of its own: the share of
second values that lie in the first 95 % interval, by how much both differ, and half the width of the first interval.
Where the dense model takes more than 1.15 times as long as it does at rest, until patience is out, a latency is marked.
The {len(trials)} trials took {search:.0f} s of processor time, one remeasurement {anew:.0f} s.
"""
    header = (
        "number",
        "second values",
        "within the first interval",
        "median difference",
        "largest",
        "first interval, median",
    )
    write("again", "A front measured by somebody else", text, header, rows)
