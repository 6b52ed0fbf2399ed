"""Predicted against measured: size, latency and loss of configurations that nothing was fitted to."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from slimfront.search.prediction.correction import Correction, Seen
from slimfront.search.tournament import OCCASIONS, Effort, latencies, tournament
from slimfront.spaces.configuration import Configuration

from tests.benchmarks.material import Material, Workplace, quickstart
from tests.benchmarks.table import write
from tests.benchmarks.trials import GIVEN

COUNT = 30
# Seconds that may be waited for a machine at rest where the latency is measured.
PATIENCE = 120.0


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    study = quickstart(delta=0)
    material = Material(study)
    GIVEN[:] = material.draw(COUNT, 1, spread=True)
    place = Workplace(study, folder / "prediction")
    uniform = len(place.space.uniform())
    try:
        trials = place.search("given", trials=uniform + COUNT, predicted=0, sampler="given", delta=0)
    finally:
        place.close()
    trials = [trial for trial in trials if trial.state == "complete" and trial.cached_from is None]
    fitted, others = trials[:uniform], trials[uniform:]
    tables = place.predictor.tables
    levels = {kind: tables.levels([t.configuration for t in part]) for kind, part in (("a", fitted), ("b", others))}
    found = place.predictor.at(levels["b"])
    size = np.abs(found.size - np.array([trial.value("size") for trial in others])).max()
    own = np.array([trial.value("latency") for trial in others]) / trials[0].value("latency")
    final = _final(material, [trial.configuration for trial in others], folder / "prediction" / "final")
    divergence, accuracy = (
        [np.array([t.details["divergence"] for t in part]) for part in (fitted, others)],
        [np.array([t.value("accuracy") for t in part]) for part in (fitted, others)],
    )
    nothing = Correction(tables, Seen(levels["a"][:0], divergence[0][:0], accuracy[0][:0]), accuracy[0][0])
    correction = Correction(tables, Seen(levels["a"], divergence[0], accuracy[0]), accuracy[0][0])
    rows = [["size, largest error", f"{size:.0f} bytes", ""]]
    for name, after in (("as a front's is measured", final), ("as a trial measured it", own)):
        error = np.abs(found.latency - after) / after
        rows.append([f"latency, {name}", f"{100 * error.mean():.1f} % mean error", _rank(found.latency, after)])
    for name, model in (("tables alone", nothing), ("corrected", correction)):
        told, _ = model.divergence(levels["b"], found.loss)
        rows.append([f"KL divergence, {name}", "", _rank(told, divergence[1])])
        expected, _ = model.accuracy(levels["b"], found.loss)
        off = f"{100 * np.abs(expected - accuracy[1]).mean():.2f} points mean error"
        rows.append([f"loss of accuracy, {name}", off, _rank(expected, accuracy[1])])
    text = f"""
{COUNT} random configurations without recovery, each of a strength of its own; the loss is corrected by the
{uniform} uniform settings of the run, the latency's line belongs to the tables. A front's latencies are measured in
{OCCASIONS} processes, eight models and the dense one in the same rounds, and the shortest runs count; a trial's is the
ratio of two medians in one process: they differ by {100 * np.abs(own / final - 1).mean():.1f} % on average here.
Accuracy is measured on {trials[0].details["sentences"]} sentences, so that even a perfect prediction would not order it
perfectly.
"""
    write("prediction", "Predicted against measured", text, ("what", "error", "Spearman"), rows)


def _final(material: Material, configurations: Sequence[Configuration], folder: Path) -> np.ndarray[Any, Any]:
    """Return the latency of some configurations, relative to the dense model's, measured as that of a front."""
    evaluator, dense = material.evaluator, folder / "dense"
    shutil.rmtree(folder, ignore_errors=True)
    evaluator.lower(material.space.dense(), dense)
    entrants = [(configuration, folder / str(number)) for number, configuration in enumerate(configurations)]
    for configuration, artifact in entrants:
        evaluator.lower(configuration, artifact)
    effort = Effort(OCCASIONS, PATIENCE)

    def ask(heat: Sequence[tuple[Configuration, Path]], rest: float, patience: float) -> dict[str, Any]:
        return evaluator.timed(heat, dense, rest, patience, effort.rounds())

    heats = tournament(entrants, ask, effort)
    return np.array([one.value for _, occasions in heats for one in latencies(occasions, 1.0)])


def _rank(predicted: np.ndarray[tuple[int, ...], np.dtype[np.float64]], measured: object) -> str:
    return f"{spearmanr(predicted, measured).statistic:.3f}"
