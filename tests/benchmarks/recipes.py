"""The shipped study's front against compressions made by hand, each as its library's documentation says."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
from slimfront.search.evaluator import Evaluator
from slimfront.search.front import Point
from slimfront.search.launching import launch
from slimfront.search.run import Run
from slimfront.studies.reader import parse_study, read_study

from tests.benchmarks.material import QUICKSTART, say
from tests.benchmarks.picture import Place, draw
from tests.benchmarks.table import FOLDER, extension, write

# Shares pruned everywhere by hand, and steps of distillation that follow: three passes over the train split.
PRUNED, STEPS = (0.25, 0.5), 1125
# How long the search takes, on two cores.
TIME = "1h"
RUNTIME = "openvino"
# Times smaller and faster than dense, and the loss in points for which a search is asked.
GOALS = ((10, 4.5, 1.0), (5, 2.7, 0.3))
Json = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """Figures of one model.

    Attributes:
        name: What it is.
        size: Bytes.
        speed: Dense latency over its own.
        interval: 95 % interval of the speed.
        right: Which held-out sentences it answers rightly.
    """

    name: str
    size: int
    speed: float
    interval: tuple[float, float]
    right: npt.NDArray[np.bool_]

    def accuracy(self) -> float:
        """Return the share of right answers."""
        return float(self.right.mean())

    def gain(self, other: Model, questions: int = 1) -> tuple[float, float]:
        """Return by how much this one is more accurate, and half of the paired 95 % interval.

        Args:
            other: What it is compared with.
            questions: How many intervals shall hold together (Bonferroni's correction).
        """
        difference = self.right.astype(np.float64) - other.right
        width = NormalDist().inv_cdf(1 - 0.025 / questions)
        return float(difference.mean()), float(width * difference.std(ddof=1) / np.sqrt(len(difference)))

    def matches(self, other: Model, questions: int = 1) -> bool:
        """Return whether this one is at least as small, as fast and as accurate, within the intervals."""
        gain, error = self.gain(other, questions)
        return self.size <= other.size and self.interval[1] >= other.interval[0] and gain + error >= 0


def searched(folder: Path) -> tuple[Run, list[Point]]:
    """Return the shipped study's run, and its front."""
    folder = folder / f"run-{RUNTIME}"
    data = read_study(QUICKSTART).model_dump(mode="json")
    data["target"]["runtime"] = RUNTIME
    data["search"] |= {"trials": 100_000, "timeout": TIME, "workers": 2}
    if not (folder / "report.html").is_file():
        # It is written last: a search that has had its time would get as much again.
        launch(parse_study(data), folder)
    run = Run.open(folder)
    front = run.front()
    return run, [point for point in front.points if point.trial != front.dense.trial]


def own_name(run: Run, point: Point) -> str:
    """Return what a point of the front is called in the table."""
    return f"{run.study.target.runtime} trial {point.trial}"


def ours(run: Run, points: list[Point], evaluator: Evaluator) -> Iterator[Json]:
    """Yield what the other environment must know of each point of the front."""
    for point in points:
        reader = evaluator.reader(point.configuration)
        yield {
            "kind": "ours",
            "name": own_name(run, point),
            "runtime": run.study.target.runtime,
            "folder": str(run.artifact(point.trial)),
            "rows": reader.held_out.rows,
            "request": plain(evaluator.requests(reader)[0]),
        }


def pruned(folder: Path) -> Iterator[Json]:
    """Yield models that were pruned everywhere alike and distilled, in floating point.

    They come from the same dense model as the front; its vocabulary is in another order there.
    """
    data = read_study(QUICKSTART).model_dump(mode="json")
    data["recovery"], data["search"]["reduction_factor"] = None, None
    data["space"] = {
        "sparsity": {"granularity": "all", "levels": [0.0, *PRUNED]},
        "bits": None,
        "precision": ["f32"],
        "distillation": {"steps": [0, STEPS], "temperature": [2.0], "weight": [1.0]},
    }
    evaluator = Evaluator.prepare(parse_study(data), say)
    subject = evaluator.subject
    read = {
        "rows": subject.held_out.rows,
        "calibration": subject.train.rows,
        "request": plain(evaluator.requests(subject)[0]),
    }
    for share in PRUNED:
        place = folder / f"pruned-{share}"
        if not (place / "manifest.json").is_file():
            values = {**evaluator.space.dense(), "sparsity/all": share, "distillation/steps": STEPS}
            evaluator.lower(evaluator.space.canonical(values), place)
        xml = str(place / "openvino_model.xml")
        yield {"kind": "pruned", "name": f"{share:.0%} pruned, distilled", "xml": xml, **read}


def plain(batch: Any) -> Json:
    """Return a batch as JSON."""
    return {name: values.tolist() for name, values in batch.items()}


def main(folder: Path) -> None:
    """Run the benchmark; NAIVE_PYTHON names an interpreter with NNCF, ONNX Runtime and torchao."""
    folder = folder / "recipes"
    folder.mkdir(exist_ok=True)
    run, points = searched(folder)
    evaluator = Evaluator.prepare(run.study, say)
    given = [*pruned(folder), *ours(run, points, evaluator)]
    subject = evaluator.subject
    subject.module.save_pretrained(folder / "dense")
    data = {
        "given": given,
        "rows": subject.held_out.rows,
        "calibration": subject.train.rows,
        "request": plain(evaluator.requests(subject)[0]),
    }
    (folder / "given.json").write_text(json.dumps(data))
    script = Path(__file__).with_name("by_hand.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    python = Path(os.environ["NAIVE_PYTHON"]).absolute()
    # ONNX Runtime leaves files of its own in the working folder.
    subprocess.run([python, script.absolute(), folder.absolute()], check=True, env=environment, cwd=folder)
    models = [read(path, subject.held_out.labels) for path in sorted((folder / "figures").glob("*.json"))]
    report(models, {own_name(run, point) for point in points})


def read(path: Path, labels: npt.NDArray[np.int64]) -> Model:
    """Return a model's figures."""
    found = json.loads(path.read_text())
    low, high = found["interval"]
    return Model(path.stem, found["size"], found["speed"], (low, high), np.array(found["predictions"]) == labels)


def report(models: list[Model], own: set[str]) -> None:
    """Write the table: every recipe, and the point of ours that stands beside it."""
    dense = next(model for model in models if "dense" in model.name)
    found, recipes = [m for m in models if m.name in own], [m for m in models if m.name not in own and m is not dense]
    # What is fast on one kind of processor is not on another.
    name = f"recipes-{extension()}"
    rows, alone, together = [], 0, 0
    for recipe in sorted(recipes, key=lambda model: -model.size):
        matching = [model for model in found if model.matches(recipe, len(recipes))]
        rows.append([recipe.name, *cells(recipe, dense)])
        if matching:
            best = max(matching, key=Model.accuracy)
            together += 1
            alone += any(model.matches(recipe) for model in matching)
            gain, error = best.gain(recipe)
            note = f"{100 * gain:+.2f} ± {100 * error:.2f}"
            rows.append([f"↳ {best.name}, against it {note}", *cells(best, dense)])
    rows.append([dense.name, *cells(dense, dense)])
    text = f"""
Speed is the ratio to the dense fp32 OpenVINO model, interleaved, one thread, batch 1, 32 tokens; accuracy is that on
the {len(dense.right)} held-out reviews, in points against dense with the paired 95 % interval. Below each recipe stands
the most accurate point of our front (found on two cores in {TIME}) that is at least as small, as fast and, within the
intervals, as accurate: for {together} of {len(recipes)} recipes if all intervals shall hold together (Bonferroni),
for {alone} by the interval of each alone, which is the one given. All were measured in one run.

![size, speed and accuracy of all]({name}.png)

{chr(10).join(goal(found, dense, *asked) for asked in GOALS)}
"""
    groups = {"recipes by hand": recipes, "dense": [dense], f"front for {RUNTIME}": found}
    draw({group: [place(model, dense) for model in models] for group, models in groups.items()}, FOLDER / f"{name}.png")
    write(name, "One front against recipes by hand", text, ("model", "MB", "speed", "accuracy against dense"), rows)


def place(model: Model, dense: Model) -> Place:
    """Return where a model stands in the picture."""
    return model.size / 1e6, model.speed, 100 * model.gain(dense)[0]


def goal(found: list[Model], dense: Model, smaller: float, faster: float, loss: float) -> str:
    """Say how accurate the best of the models is that are so much smaller and faster."""
    asked = f"At least {smaller:g} times smaller and {faster:g} times faster for {loss:g} points: "
    able = [model for model in found if model.size * smaller <= dense.size and model.speed >= faster]
    if not able:
        return f"{asked}no point is so small and fast.\n"
    best = max(able, key=Model.accuracy)
    megabytes, speed, accuracy = cells(best, dense)
    return f"{asked}{best.name} has {megabytes} MB, {speed} times the speed and {accuracy} points.\n"


def cells(model: Model, dense: Model) -> list[str]:
    """Return a model's cells of the table."""
    gain, error = model.gain(dense)
    low, high = model.interval
    accuracy = f"{100 * gain:+.2f} ± {100 * error:.2f}" if model is not dense else f"{100 * model.accuracy():.2f} %"
    return [f"{model.size / 1e6:.1f}", f"{model.speed:.2f} ({low:.2f} to {high:.2f})", accuracy]
