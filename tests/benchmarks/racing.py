"""Racing, simulated on real answers: how many sentences it spares, what it costs in hypervolume, whom it drops."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from slimfront.objectives.sessions.session import read, reading_batch
from slimfront.search.box import Box
from slimfront.search.choosing import SURELY
from slimfront.search.coordinator import REFERENCES
from slimfront.search.front import non_dominated
from slimfront.search.naming import check_names
from slimfront.search.racing import Bar, Race
from slimfront.spaces.configuration import Configuration
from slimfront.studies.encoding import Encoded
from slimfront.studies.schema import Study

from tests.benchmarks.material import SENTENCES, Material, quickstart
from tests.benchmarks.table import write

SEARCHES, CANDIDATES = 1000, 60
Logits = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidate:
    """A configuration with its predicted size and latency and its logits on every sentence."""

    size: float
    latency: float
    logits: Logits
    accuracy: float


def answers(material: Material, folder: Path, configurations: Sequence[Configuration]) -> list[Candidate]:
    """Return candidates whose answers were really given, by the artifacts."""
    evaluator, found = material.evaluator, []
    told, examples = material.predictor.predict(configurations), evaluator.subject.search
    sentences = examples.fingerprint()[:16]
    for number, configuration in enumerate(configurations):
        place = folder / f"{configuration.sha256[:16]}-{sentences}.npy"
        if not place.exists():
            session = evaluator.runtime.load(evaluator.lower(configuration, folder / "artifact"))
            logits = read(session, examples, groups_of(material.study, examples))
            np.save(place, np.stack([logits[index] for index in range(len(examples))]))
            print(f"  {number + 1} of {len(configurations)}", file=sys.stderr, flush=True)
        answer = np.load(place)
        accuracy = float((answer.argmax(axis=1) == examples.labels).mean())
        found.append(Candidate(float(told.size[number]), float(told.latency[number]), answer, accuracy))
    return found


@dataclass
class Outcome:
    """What one simulated search spent and kept."""

    sentences: int
    volume: float
    dropped: int
    members: int
    stopped: int
    missed: int
    beaten: int


def search(
    study: Study,
    box: Box,
    candidates: Sequence[Candidate],
    labels: Ints,
    groups: Sequence[Sequence[int]],
    first: int,
    surely: float,
    seed: int,
) -> Outcome:
    """Search as a run does: the dense model, the other uniform settings, then the rest in a random order."""
    rng = np.random.default_rng(seed)
    most = margin(study, candidates)
    bound = Bar(0, candidates[0].accuracy - most)
    complete, read, stopped, missed, beaten = [0], 0, 0, 0, 0
    for number in [*range(1, first), *(first + rng.permutation(len(candidates) - first)).tolist()]:
        own = candidates[number]
        bars = [
            Bar(n, candidates[n].accuracy)
            for n in complete
            if candidates[n].size <= own.size and candidates[n].latency <= own.latency * surely
        ]
        bar = max([bound, *bars], key=lambda bar: bar.accuracy)
        known = dict.fromkeys([*complete[1:][-REFERENCES:], *([bar.trial] if bar.trial else [])])
        others = [candidates[n].logits for n in known]
        race = Race(candidates[0].logits, labels, study.search.delta, int(rng.integers(2**31)), others, groups)
        told: list[int] = []

        def answer(positions: Sequence[int], told: list[int] = told, own: Candidate = own) -> Logits:
            told.extend(positions)
            return own.logits[list(positions)]

        beaten += own.accuracy < bar.accuracy
        if race.run(answer, bar):
            stopped += len(told) < len(labels)
            missed += own.accuracy > race.upper_bound() + 1e-9
        else:
            complete.append(number)
        read += len(told)
    true = front(candidates, range(len(candidates)), most)
    kept = volume(box, candidates, complete, most)
    return Outcome(read, kept, len(set(true) - set(complete)), len(true), stopped, missed, beaten)


def groups_of(study: Study, examples: Encoded) -> list[list[int]]:
    """Return the sentences that are read at once."""
    return examples.partition(reading_batch(study.target.runtime, study.target.batch))


def margin(study: Study, candidates: Sequence[Candidate]) -> float:
    """Return how much accuracy the study lets be lost; the dense model is the first candidate."""
    dense = candidates[0].accuracy
    return dense - check_names(study)["accuracy"].bound({"accuracy": dense})


def feasible(candidates: Sequence[Candidate], number: int, most: float) -> bool:
    """Return whether a candidate keeps the constraint, which lets so much accuracy be lost at most."""
    return candidates[number].accuracy >= candidates[0].accuracy - most - 1e-12


def front(candidates: Sequence[Candidate], numbers: Sequence[int], most: float) -> list[int]:
    """Return those of some candidates that keep the constraint and that no other one beats."""
    numbers = [n for n in numbers if feasible(candidates, n, most)]
    rows = [[candidates[n].size, candidates[n].latency, -candidates[n].accuracy] for n in numbers]
    return [numbers[row] for row in non_dominated(np.array(rows))]


def volume(box: Box, candidates: Sequence[Candidate], numbers: Sequence[int], most: float) -> float:
    """Return the hypervolume of those of some candidates that keep the constraint."""
    points = [candidates[n] for n in numbers if feasible(candidates, n, most)]
    return box.hypervolume([{"size": p.size, "latency": p.latency, "accuracy": p.accuracy} for p in points])


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    study = quickstart(sentences=SENTENCES)
    material = Material(study)
    folder = folder / "racing"
    folder.mkdir(parents=True, exist_ok=True)
    uniform = [c for c in material.space.uniform() if not c.get("distillation/steps")]
    candidates = answers(material, folder, [*uniform, *material.draw(CANDIDATES, 2)])
    examples = material.evaluator.subject.search
    labels, groups = examples.labels, groups_of(study, examples)
    dense = {"size": candidates[0].size, "latency": candidates[0].latency, "accuracy": candidates[0].accuracy}
    directions = {"size": "minimize", "latency": "minimize", "accuracy": "maximize"}
    box = Box.of({name: {"direction": d} for name, d in directions.items()}, dense, check_names(study))
    spread = material.predictor.tables.spread
    one_search = partial(search, study, box, candidates, labels, groups, len(uniform), 1 - SURELY * spread)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        found = list(pool.map(one_search, range(SEARCHES), chunksize=20))
    everything = (len(candidates) - 1) * len(labels)
    whole = volume(box, candidates, range(len(candidates)), margin(study, candidates))
    members, dropped = sum(one.members for one in found), sum(one.dropped for one in found)
    beaten = float(np.mean([one.beaten for one in found])) / (len(candidates) - 1)
    stopped, missed = sum(one.stopped for one in found), sum(one.missed for one in found)
    rows = [
        ["sentences spared", f"{100 * (1 - np.mean([one.sentences for one in found]) / everything):.1f} %"],
        ["candidates that are beaten, of which something can be spared", f"{100 * beaten:.1f} %"],
        ["hypervolume kept, mean", f"{100 * np.mean([one.volume for one in found]) / whole:.2f} %"],
        ["hypervolume kept, worst search", f"{100 * min(one.volume for one in found) / whole:.2f} %"],
        ["true front members dropped", f"{100 * dropped / members:.2f} % ({dropped} of {members})"],
        ["searches that dropped any", f"{100 * np.mean([one.dropped > 0 for one in found]):.1f} %"],
        ["candidates stopped before all was read", f"{100 * stopped / len(found) / (len(candidates) - 1):.1f} %"],
        ["of those, truly above the bound that was stated", f"{100 * missed / stopped:.2f} %"],
    ]
    text = f"""
{SEARCHES} simulated searches over the same {len(candidates)} configurations ({len(uniform)} uniform ones first, as in a
run, then {CANDIDATES} random ones, none recovered), the random ones and the sentences in another order each time.
All answers are the artifacts' own; latencies are the predicted ones, whose error is {100 * spread:.0f} %.
The {len(labels)} sentences are read in groups of {len(groups[0])}. delta = {study.search.delta}: the chance, at most,
that a trial which belongs to the front is stopped.
"""
    write("racing", "Racing", text, ("what", "figure"), rows)
