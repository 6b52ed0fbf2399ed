"""The same compressed weights on every target: sizes, and latencies in the same rounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from slimfront.objectives.runtimes import RUNTIMES
from slimfront.objectives.sessions import Session
from slimfront.objectives.stopwatch import interleaved, median, one_at_a_time, ratio
from slimfront.search.evaluator import Evaluator
from slimfront.search.moving import lacking
from slimfront.search.tournament import requests
from slimfront.spaces.configuration import Configuration

from tests.benchmarks.material import quickstart, say
from tests.benchmarks.table import write

SPACE = {
    "sparsity": {"granularity": "all", "levels": [0.0, 0.5, 0.75], "criterion": "magnitude"},
    "bits": {"granularity": "all", "levels": [2, 4, 8, 16, 32]},
    "precision": ["f32"],
    "distillation": None,
}
SHARES, WIDTHS = (0.0, 0.5, 0.75), (32, 8, 4, 2)
SECONDS = 60.0


def settings(evaluator: Evaluator) -> dict[str, Configuration]:
    """Return uniform settings by what they are called."""
    found = {}
    for bits in WIDTHS:
        for share in SHARES:
            cut = {name: share for name in evaluator.space.domains if name.startswith("sparsity/")}
            values = {**evaluator.space.dense(), **cut, "bits/all": bits}
            title = f"{bits} bits" + (f", {share:.0%} of heads and neurons removed" if share else "")
            found[title] = evaluator.space.canonical(values)
    return found


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    place = folder / "targets"
    study = quickstart(space=SPACE)
    evaluator = Evaluator.prepare(study, say)
    subject, chosen = evaluator.subject, settings(evaluator)
    cuts = {s.name: s.cut() for s in evaluator.space.anatomy.structures}
    sessions: dict[tuple[str, str], Session] = {}
    sizes: dict[tuple[str, str], int] = {}
    for target in RUNTIMES.names():
        runtime = RUNTIMES.get(target, where="target")(study.target.model_copy(update={"runtime": target}))
        blueprint = runtime.prepare(subject.module, subject.example(), cuts, {}, subject.weights)
        for title, configuration in chosen.items():
            if not lacking(evaluator, configuration, runtime.supports()):
                artifact = blueprint.lower(evaluator.compress(configuration), place / target / title.replace(" ", "-"))
                sessions[title, target], sizes[title, target] = runtime.load(artifact), artifact.size()
    (request,) = requests(study, subject, subject)
    keys = list(sessions)
    with one_at_a_time():
        times = interleaved([lambda session=sessions[key]: session.run(request) for key in keys], SECONDS).T
    base = times[keys.index((next(iter(chosen)), "openvino"))]
    rows = []
    for title in chosen:
        cells = []
        for target in RUNTIMES.names():
            if (title, target) not in sessions:
                cells.append("-")
                continue
            faster = ratio(base, times[keys.index((title, target))])
            size = f"{sizes[title, target] / 1e6:.1f} MB"
            cells.append(f"{size}, {faster.value:.2f}x ({faster.low:.2f}-{faster.high:.2f})")
        rows.append([title, *cells])
    text = f"""
The shipped study's model at batch {study.target.batch} and {study.target.length}, one thread; how many times as
fast as the dense fp32 model on OpenVINO ({median(base).value:.1f} ms), 95 % intervals, all {len(keys)} models in the
same {np.shape(times)[1]} randomly ordered rounds. Speed alone: nothing is recovered here.
"""
    write("targets", "The same weights on every target", text, ("model", *RUNTIMES.names()), rows)
