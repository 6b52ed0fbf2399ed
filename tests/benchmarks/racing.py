"""Racing, simulated on real answers: how many sentences it spares, what it costs in hypervolume, whom it drops."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
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

# Simulated searches by the number of random candidates: as many as the shipped study has trials, and as hours of it.
SEARCHES = {60: 1000, 240: 250, 480: 100}
Logits = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidate:
    """A configuration with its predicted size and latency and its logits on every sentence."""

    size: float
    latency: float
    logits: Logits
    accuracy: float


@cache
def shared() -> Material:
    """Return the material of this process."""
    return Material(quickstart(sentences=SENTENCES))


def answer(folder: Path, configuration: Configuration) -> Logits:
    """Return the logits that a configuration's artifact really gives, ``(sentences, classes)``, and keep them."""
    evaluator = shared().evaluator
    examples = evaluator.subject.search
    place = folder / f"{configuration.sha256[:16]}-{examples.fingerprint()[:16]}.npy"
    if not place.exists():
        with tempfile.TemporaryDirectory() as scratch:
            session = evaluator.runtime.load(evaluator.lower(configuration, Path(scratch) / "artifact"))
        told = read(session, examples, groups_of(shared().study, examples))
        unfinished = folder / f"{place.stem}-{os.getpid()}.tmp.npy"
        np.save(unfinished, np.stack([told[index] for index in range(len(examples))]))
        unfinished.rename(place)
    logits: Logits = np.load(place)
    return logits


def gather(folder: Path, configurations: Sequence[Configuration]) -> list[Candidate]:
    """Return candidates whose answers were really given, by the artifacts."""
    labels, found = shared().evaluator.subject.search.labels, []
    told = shared().predictor.predict(configurations)
    with pool() as workers:
        for number, logits in enumerate(workers.map(partial(answer, folder), configurations)):
            accuracy = float((logits.argmax(axis=1) == labels).mean())
            found.append(Candidate(float(told.size[number]), float(told.latency[number]), logits, accuracy))
            print(f"  {number + 1} of {len(configurations)}", file=sys.stderr, flush=True)
    return found


def pool() -> ProcessPoolExecutor:
    """Return a process for each core."""
    return ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn"))


@dataclass
class Outcome:
    """What one simulated search spent and kept; shares are of what it would have without races."""

    sentences: float
    volume: float
    dropped: int
    members: int
    stopped: int
    missed: int
    beaten: int
    trials: int


def search(
    study: Study,
    box: Box,
    candidates: Sequence[Candidate],
    labels: Ints,
    groups: Sequence[Sequence[int]],
    first: int,
    surely: float,
    length: int,
    seed: int,
) -> Outcome:
    """Search as a run does: the dense model, the other uniform settings, then some of the rest in a random order."""
    rng = np.random.default_rng(seed)
    drawn = [*range(first), *(first + rng.permutation(len(candidates) - first)[:length]).tolist()]
    most = margin(study, candidates)
    bound = Bar(0, candidates[0].accuracy - most)
    complete, read, stopped, missed, beaten = [0], 0, 0, 0, 0
    for number in drawn[1:]:
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

        def tell(positions: Sequence[int], told: list[int] = told, own: Candidate = own) -> Logits:
            told.extend(positions)
            return own.logits[list(positions)]

        beaten += own.accuracy < bar.accuracy
        if race.run(tell, bar):
            stopped += len(told) < len(labels)
            missed += own.accuracy > race.upper_bound() + 1e-9
        else:
            complete.append(number)
        read += len(told)
    true = front(candidates, drawn, most)
    kept = volume(box, candidates, complete, most) / volume(box, candidates, drawn, most)
    trials = len(drawn) - 1
    spent = read / trials / len(labels)
    return Outcome(spent, kept, len(set(true) - set(complete)), len(true), stopped, missed, beaten, trials)


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


def figures(found: Sequence[Outcome]) -> list[str]:
    """Return the column of some searches of one length."""
    members, dropped = sum(one.members for one in found), sum(one.dropped for one in found)
    stopped, missed = sum(one.stopped for one in found), sum(one.missed for one in found)
    trials, beaten = sum(one.trials for one in found), sum(one.beaten for one in found)
    return [
        f"{100 * (1 - np.mean([one.sentences for one in found])):.1f} %",
        f"{100 * beaten / trials:.1f} %",
        f"{100 * np.mean([one.volume for one in found]):.2f} %",
        f"{100 * min(one.volume for one in found):.2f} %",
        f"{100 * dropped / members:.2f} % ({dropped} of {members})",
        f"{100 * np.mean([one.dropped > 0 for one in found]):.1f} %",
        f"{100 * stopped / trials:.1f} %",
        f"{100 * missed / max(1, stopped):.2f} %",
    ]


ROWS = (
    "sentences spared",
    "candidates that are beaten, of which something can be spared",
    "hypervolume kept, mean",
    "hypervolume kept, worst search",
    "true front members dropped",
    "searches that dropped any",
    "candidates stopped before all was read",
    "of those, truly above the bound that was stated",
)


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    material, folder = shared(), folder / "racing"
    study = material.study
    folder.mkdir(parents=True, exist_ok=True)
    uniform = [c for c in material.space.uniform() if not c.get("distillation/steps")]
    candidates = gather(folder, [*uniform, *material.draw(max(SEARCHES), 2)])
    examples = material.evaluator.subject.search
    labels, groups = examples.labels, groups_of(study, examples)
    dense = {"size": candidates[0].size, "latency": candidates[0].latency, "accuracy": candidates[0].accuracy}
    directions = {"size": "minimize", "latency": "minimize", "accuracy": "maximize"}
    box = Box.of({name: {"direction": d} for name, d in directions.items()}, dense, check_names(study))
    spread = material.predictor.tables.spread
    columns = []
    with pool() as workers:
        for length, count in SEARCHES.items():
            one_search = partial(
                search, study, box, candidates, labels, groups, len(uniform), 1 - SURELY * spread, length
            )
            columns.append(figures(list(workers.map(one_search, range(count), chunksize=10))))
            print(f"  searches of {length}: done", file=sys.stderr, flush=True)
    text = f"""
{", ".join(map(str, SEARCHES.values()))} simulated searches: the {len(uniform)} uniform configurations first, as
in a run, then random ones, drawn from {max(SEARCHES)} (none recovered), these and the sentences in another order each
time: where all are drawn, the searches differ in their order alone.
All answers are the artifacts' own; latencies are the predicted ones, whose error is {100 * spread:.1f} %.
The {len(labels)} sentences are read in groups of {len(groups[0])}. delta = {study.search.delta}: the chance, at most,
that a trial which belongs to the front is stopped.
"""
    header = ("what", *(f"{length} random candidates" for length in SEARCHES))
    write("racing", "Racing", text, header, [list(row) for row in zip(ROWS, *columns, strict=True)])
