"""Racing in a real search: what it spared, and what it would have cost had a stopped trial belonged to the front."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from slimfront.objectives.sessions.session import read
from slimfront.search.box import Box
from slimfront.search.evaluator import Evaluator
from slimfront.search.launching import launch
from slimfront.search.naming import check_names
from slimfront.search.preparation import entries_of
from slimfront.search.records import Records
from slimfront.search.run import Run
from slimfront.search.trial import Trial

from tests.benchmarks.material import QUICKSTART, say
from tests.benchmarks.racing import Candidate, feasible, front, groups_of, margin, volume
from tests.benchmarks.table import write


def accuracies(run: Run, stopped: Sequence[Trial], folder: Path) -> dict[int, float]:
    """Return the accuracy of stopped trials on all sentences; what was read before is not read again."""
    path = folder / "accuracies.json"
    known: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    evaluator = Evaluator.prepare(run.study, say)
    for trial in stopped:
        if trial.configuration.sha256 in known:
            continue
        session = evaluator.runtime.load(evaluator.lower(trial.configuration, folder / "artifact"))
        examples = evaluator.reader(trial.configuration).search
        logits = read(session, examples, groups_of(run.study, examples))
        answers = np.stack([logits[index] for index in range(len(examples))]).argmax(axis=1)
        known[trial.configuration.sha256] = float((answers == examples.labels).mean())
        path.write_text(json.dumps(known))
        print(f"  {len(known)} of {len(stopped)}", file=sys.stderr, flush=True)
    return {trial.number: known[trial.configuration.sha256] for trial in stopped}


def main(folder: Path) -> None:
    """Run the benchmark in a folder, on the shipped study as it ships."""
    folder = folder / "raced"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "run" / "report.html").is_file():
        launch(QUICKSTART, folder / "run")
    run = Run.open(folder / "run")
    trials = [trial for trial in Records(run.folder).trials() if trial.cached_from is None and trial.measurements]
    stopped = [trial for trial in trials if trial.state == "stopped"]
    true = accuracies(run, stopped, folder)
    dense = trials[0]
    all_read = int(dense.details["sentences"])
    candidates = [
        Candidate(
            t.value("size"), t.steer("latency"), np.zeros((0, 0), np.float32), true.get(t.number, t.value("accuracy"))
        )
        for t in trials
    ]
    base = {"size": dense.value("size"), "latency": dense.steer("latency"), "accuracy": dense.value("accuracy")}
    box, most = Box.of(entries_of(run.study), base, check_names(run.study)), margin(run.study, candidates)
    complete = [place for place, trial in enumerate(trials) if trial.state == "complete"]
    members = front(candidates, range(len(candidates)), most)
    lost = [place for place in members if place not in complete]
    kept = volume(box, candidates, complete, most) / volume(box, candidates, range(len(candidates)), most)
    beaten = sum(_beaten(candidates, place, most) for place in range(1, len(trials)))
    useful = sum(feasible(candidates, place, most) for place in range(len(trials)) if place not in complete)
    missed = sum(true[trial.number] > trial.details["stopped"]["bound"] + 1e-9 for trial in stopped)
    rows = [
        ["trials, of which stopped", f"{len(trials)}, {len(stopped)}"],
        ["sentences spared", f"{100 * (1 - _sentences(trials) / len(trials) / all_read):.1f} %"],
        ["of those that the sampler proposed", _spared([t for t in trials if t.kind == "sampled"], all_read)],
        ["of those that go on from an earlier rung", _spared([t for t in trials if t.kind == "promoted"], all_read)],
        ["sentences of all trials that an earlier one beats", f"{100 * beaten / len(trials):.1f} %"],
        ["hypervolume kept", f"{100 * kept:.2f} %"],
        ["true front members stopped", f"{len(lost)} of {len(members)}"],
        ["stopped trials that keep the constraint", f"{useful} of {len(stopped)}"],
        ["stopped trials, truly above the bound that was stated", f"{missed} of {len(stopped)}"],
    ]
    text = f"""
The shipped study as it ships, on two cores; every trial that a race had stopped was made again afterwards and read to
its end ({all_read} sentences). Hypervolume and front go by size, predicted latency and accuracy, as races do.
delta = {run.study.search.delta}.

What an earlier trial beats, or the constraint rules out, is all that a race may stop. Whoever knew it without reading a
sentence, and took predicted latencies for exact, would spare the share that the table gives; no race can spare more.
"""
    write("raced", "Racing in a real search", text, ("what", "figure"), rows)


def _beaten(candidates: Sequence[Candidate], place: int, most: float) -> bool:
    """Return whether a trial breaks the constraint, or an earlier one is no larger, no slower and more accurate."""
    own = candidates[place]
    return not feasible(candidates, place, most) or any(
        other.size <= own.size and other.latency <= own.latency and other.accuracy > own.accuracy
        for other in candidates[:place]
    )


def _sentences(trials: Sequence[Trial]) -> int:
    return sum(int(trial.details["sentences"]) for trial in trials)


def _spared(trials: Sequence[Trial], all_read: int) -> str:
    share = f"{100 * (1 - _sentences(trials) / len(trials) / all_read):.1f} %" if trials else "-"
    return f"{share} ({len(trials)} trials)"
