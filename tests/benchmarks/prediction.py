"""Predicted against measured: size, latency and loss of configurations that nothing was fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from slimfront.search.prediction.correction import Correction, Seen

from tests.benchmarks.material import Material, Workplace, quickstart
from tests.benchmarks.table import write
from tests.benchmarks.trials import GIVEN

COUNT = 30


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
    dense = trials[0].value("latency")
    after = np.array([trial.value("latency") for trial in others]) / dense
    error = np.abs(found.latency - after) / after
    divergence, accuracy = (
        [np.array([t.details["divergence"] for t in part]) for part in (fitted, others)],
        [np.array([t.value("accuracy") for t in part]) for part in (fitted, others)],
    )
    nothing = Correction(tables, Seen(levels["a"][:0], divergence[0][:0], accuracy[0][:0]), accuracy[0][0])
    correction = Correction(tables, Seen(levels["a"], divergence[0], accuracy[0]), accuracy[0][0])
    rows = [["size, largest error", f"{size:.0f} bytes", ""]]
    rows.append(["latency", f"{100 * error.mean():.1f} % mean error", _rank(found.latency, after)])
    for name, model in (("tables alone", nothing), ("corrected", correction)):
        told, _ = model.divergence(levels["b"], found.loss)
        rows.append([f"KL divergence, {name}", "", _rank(told, divergence[1])])
        expected, _ = model.accuracy(levels["b"], found.loss)
        off = f"{100 * np.abs(expected - accuracy[1]).mean():.2f} points mean error"
        rows.append([f"loss of accuracy, {name}", off, _rank(expected, accuracy[1])])
    text = f"""
{COUNT} random configurations without recovery, each of a strength of its own; the loss is corrected by the
{uniform} uniform settings of the run, the latency's line belongs to the tables. Accuracy is measured on
{trials[0].details["sentences"]} sentences, so that even a perfect prediction would not order it perfectly.
"""
    write("prediction", "Predicted against measured", text, ("what", "error", "Spearman"), rows)


def _rank(predicted: np.ndarray[tuple[int, ...], np.dtype[np.float64]], measured: object) -> str:
    return f"{spearmanr(predicted, measured).statistic:.3f}"
