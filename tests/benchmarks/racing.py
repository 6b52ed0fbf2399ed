"""Racing, simulated on real answers: how many sentences it spares, what it costs in hypervolume, whom it drops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from slimfront.search.box import Box
from slimfront.search.front import non_dominated
from slimfront.search.launching import check_names
from slimfront.search.racing import Race, Rival, chunks
from slimfront.spaces.configuration import Configuration
from slimfront.studies.schema import Study

from tests.benchmarks.material import Material, quickstart
from tests.benchmarks.table import write

SEARCHES, CANDIDATES = 1000, 60
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Candidate:
    """A configuration with its predicted size and latency and its answer to every sentence."""

    size: float
    latency: float
    correct: Bools

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())


def answers(material: Material, folder: Path, configurations: Sequence[Configuration]) -> list[Candidate]:
    """Return candidates whose answers were really given, by the artifacts."""
    evaluator = material.evaluator
    told = material.predictor.predict(configurations)
    labels, found = evaluator.subject.search.labels, []
    for number, configuration in enumerate(configurations):
        place = folder / f"{configuration.sha256[:16]}.json"
        if not place.exists():
            evaluator.rebuild(configuration, number, folder / "artifact")
            (folder / "artifact" / "predictions.json").replace(place)
        right = np.array(json.loads(place.read_text())) == labels
        found.append(Candidate(float(told.size[number]), float(told.latency[number]), right))
    return found


@dataclass
class Outcome:
    """What one simulated search spent and kept."""

    sentences: int
    volume: float
    dropped: int
    members: int


def search(study: Study, box: Box, candidates: Sequence[Candidate], seed: int) -> Outcome:
    """Search the candidates in a random order, the dense model first."""
    rng = np.random.default_rng(seed)
    order = [0, *(1 + rng.permutation(len(candidates) - 1)).tolist()]
    margin = candidates[0].accuracy - check_names(study)["accuracy"].bound({"accuracy": candidates[0].accuracy})
    total, complete, read = len(candidates[0].correct), [0], 0
    for number in order[1:]:
        own = candidates[number]
        rivals = [Rival(0, candidates[0].correct, margin)]
        better = [
            n
            for n in complete
            if candidates[n].size <= own.size
            and candidates[n].latency <= own.latency
            and _feasible(candidates, n, margin)
        ]
        if better:
            best = max(better, key=lambda n: candidates[n].accuracy)
            rivals.insert(0, Rival(best, candidates[best].correct))
        race = Race(rivals, total, study.search.delta)
        sequence = rng.permutation(total)
        for part in chunks(total):
            race.update(sequence[part], own.correct[sequence[part]])
            read += len(sequence[part])
            if race.beaten_by() is not None:
                break
        else:
            complete.append(number)
    true = _front(candidates, range(len(candidates)), margin)
    return Outcome(read, _volume(box, candidates, complete, margin), len(set(true) - set(complete)), len(true))


def _feasible(candidates: Sequence[Candidate], number: int, margin: float) -> bool:
    return candidates[number].accuracy >= candidates[0].accuracy - margin - 1e-12


def _front(candidates: Sequence[Candidate], numbers: Sequence[int], margin: float) -> list[int]:
    numbers = [n for n in numbers if _feasible(candidates, n, margin)]
    rows = [[candidates[n].size, candidates[n].latency, -candidates[n].accuracy] for n in numbers]
    return [numbers[row] for row in non_dominated(np.array(rows))]


def _volume(box: Box, candidates: Sequence[Candidate], numbers: Sequence[int], margin: float) -> float:
    points = [candidates[n] for n in numbers if _feasible(candidates, n, margin)]
    return box.hypervolume([{"size": p.size, "latency": p.latency, "accuracy": p.accuracy} for p in points])


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    study = quickstart()
    material = Material(study)
    folder = folder / "racing"
    folder.mkdir(parents=True, exist_ok=True)
    uniform = [c for c in material.space.uniform() if not c.get("distillation/steps")]
    candidates = answers(material, folder, [*uniform, *material.draw(CANDIDATES, 2)])
    dense = {"size": candidates[0].size, "latency": candidates[0].latency, "accuracy": candidates[0].accuracy}
    directions = {"size": "minimize", "latency": "minimize", "accuracy": "maximize"}
    box = Box.of({name: {"direction": d} for name, d in directions.items()}, dense, check_names(study))
    found = [search(study, box, candidates, seed) for seed in range(SEARCHES)]
    everything = (len(candidates) - 1) * len(candidates[0].correct)
    margin = dense["accuracy"] - check_names(study)["accuracy"].bound(dense)
    whole = _volume(box, candidates, range(len(candidates)), margin)
    members, dropped = sum(one.members for one in found), sum(one.dropped for one in found)
    rows = [
        ["sentences spared", f"{100 * (1 - np.mean([one.sentences for one in found]) / everything):.1f} %"],
        ["hypervolume kept, mean", f"{100 * np.mean([one.volume for one in found]) / whole:.2f} %"],
        ["hypervolume kept, worst search", f"{100 * min(one.volume for one in found) / whole:.2f} %"],
        ["true front members dropped", f"{100 * dropped / members:.2f} % ({dropped} of {members})"],
        ["searches that dropped any", f"{100 * np.mean([one.dropped > 0 for one in found]):.1f} %"],
    ]
    text = f"""
{SEARCHES} simulated searches over the same {len(candidates)} configurations ({len(uniform)} uniform and
{CANDIDATES} random ones, none recovered), each in a random order of configurations and of sentences.
All answers are the artifacts' own. delta = {study.search.delta}: the chance, at most, that a trial which
belongs to the front is stopped.
"""
    write("racing", "Racing", text, ("what", "figure"), rows)
