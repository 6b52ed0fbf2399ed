"""The coordinator alone: artifacts are made up, decisions and records are real."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slimfront.search.begun import mark_of
from slimfront.search.coordinator import Coordinator
from slimfront.search.prediction import Predictor
from slimfront.search.racing import LOGITS
from slimfront.search.records import Records
from slimfront.search.run import Run
from slimfront.search.samplers import SAMPLERS, Observation, Problem, Sampler
from slimfront.search.trial import Trial
from slimfront.spaces.domain import Value
from slimfront.spaces.space import Space
from slimfront.spaces.structure import walk
from slimfront.studies.compressed import Capabilities
from slimfront.studies.errors import TooManyFailures
from slimfront.studies.limits import parse_limit
from slimfront.studies.reader import parse_study
from slimfront.studies.space import BitsSpec, DistillationSpec, SpaceSpec

from tests.conftest import example_inputs, make_encoder
from tests.search.prediction_of import predictor_of

OBJECTIVES = {
    "size": {"unit": "byte", "direction": "minimize"},
    "latency": {"unit": "ms", "direction": "minimize"},
    "accuracy": {"unit": "fraction", "direction": "maximize"},
}
UNITS = {name: entry["unit"] for name, entry in OBJECTIVES.items()}
ANATOMY = walk(make_encoder("bert"), example_inputs())
SPACE = Space(
    SpaceSpec(bits=BitsSpec(levels=(8, 32), granularity="role")),
    ANATOMY,
    Capabilities((4, 8, 32), (64, 32), ("f32",)),
)
Make = Callable[..., Coordinator]


class Stubborn(Sampler):
    """Suggests the dense model again and again."""

    def suggest(self, problem: Problem, history: Sequence[Observation], seed: int) -> dict[str, Value]:
        return dict(SPACE.dense())


def outcome(configuration: Mapping[str, Value]) -> dict[str, Any]:
    bits = [value for value in configuration.values() if isinstance(value, int)]
    values = {"size": float(sum(bits)), "latency": sum(bits) / 10, "accuracy": 0.8 - 1 / sum(bits)}
    measured = {n: {"value": v, "unit": UNITS[n], "interval": None, "steer": v} for n, v in values.items()}
    return {"measurements": measured, "files": {}}


@pytest.fixture
def make(tmp_path: Path, study_data: Callable[..., dict[str, Any]]) -> Make:
    def build(
        sampler: Sampler | None = None,
        folder: str = "run",
        space: Space = SPACE,
        predictor: Predictor | None = None,
        track: Callable[[Trial], None] = lambda _trial: None,
        deadline: float | None = None,
        **search: Any,
    ) -> Coordinator:
        run = Run.begin(tmp_path / folder, parse_study(study_data("bert", **search)))
        records = Records(run.folder, create=True)
        records.begin("study", OBJECTIVES)
        limits = {"accuracy": parse_limit("accuracy", ">= dense - 0.01", "fraction", "x")}
        chosen = sampler or SAMPLERS.get("random", where="x")()
        return Coordinator(run, records, space, chosen, limits, deadline, lambda _progress: None, predictor, track)

    return build


def drive(coordinator: Coordinator, most: int = 1000) -> list[Mapping[str, Value]]:
    found = []
    while len(found) < most and (task := coordinator.next_task()) is not None:
        found.append(task["configuration"])
        coordinator.finish(task["number"], outcome(task["configuration"]))
    return found


def test_dense_and_uniform_come_first_and_nothing_twice(make: Make) -> None:
    found = [SPACE.canonical(values) for values in drive(make(trials=20))]
    assert found[: len(SPACE.uniform())] == SPACE.uniform()
    assert len(found) == 20 == len(set(found))


def test_duplicates_are_answered_and_the_fourth_is_a_neighbour(make: Make, tmp_path: Path) -> None:
    first = len(SPACE.uniform())
    drive(make(Stubborn(), trials=first + 2))
    trials = Records(tmp_path / "run").trials()
    kinds = [(trial.kind, trial.cached_from) for trial in trials[first:]]
    answered = [("sampled", 0)] * 3
    assert kinds == [*answered, ("neighbour", None), *answered, ("neighbour", None)]
    assert trials[first].measurements == trials[0].measurements


def test_a_search_ends_when_every_point_was_visited(make: Make) -> None:
    spec = SpaceSpec(bits=BitsSpec(levels=(4, 8), granularity="all"), precision=("bf16",))
    space = Space(spec, ANATOMY, Capabilities((4, 8, 32), (64, 32), ("f32", "bf16")))
    found = drive(make(SAMPLERS.get("random", where="x")(), space=space, trials=10_000))
    assert len(set(map(space.canonical, found))) == space.points == len(found) == 6


def test_continued_search_equals_an_undisturbed_one(make: Make, tmp_path: Path) -> None:
    drive(make(SAMPLERS.get("tpe", where="x")(), "whole", trials=16))
    rng = random.Random(0)
    while True:
        coordinator = make(SAMPLERS.get("tpe", where="x")(), "cut", trials=16)
        left = drive(coordinator, most=rng.randint(1, 4))
        if not left:
            break
        coordinator.next_task()  # taken by a process that dies
        # A trial is given up after its second start: finish it in the next round.
        drive(make(SAMPLERS.get("tpe", where="x")(), "cut", trials=16), most=1)
    lists = [
        [(t.configuration, t.seed, dict(t.measurements)) for t in Records(tmp_path / f).trials()]
        for f in ("whole", "cut")
    ]
    assert lists[0] == lists[1]


def test_constraints_are_relative_to_the_dense_model(make: Make, tmp_path: Path) -> None:
    drive(make(trials=12))
    dense, *others = Records(tmp_path / "run").trials()
    for trial in others:
        assert trial.feasible == (trial.value("accuracy") >= dense.value("accuracy") - 0.01)


def test_too_many_failures_end_the_search(make: Make) -> None:
    coordinator = make(trials=20, failures=0.1)
    drive(coordinator, most=1)
    with pytest.raises(TooManyFailures, match="MemoryError"):
        for _ in range(20):
            task = coordinator.next_task()
            assert task is not None
            coordinator.finish(task["number"], {"error": "MemoryError", "message": "too large"})
    assert coordinator.next_task() is None


def test_a_failing_dense_model_ends_it_at_once(make: Make) -> None:
    coordinator = make(trials=20)
    task = coordinator.next_task()
    assert task is not None
    with pytest.raises(TooManyFailures, match="the dense model itself failed: ValueError: x"):
        coordinator.finish(task["number"], {"error": "ValueError", "message": "x"})


def test_a_budget_of_cpu_time_ends_the_search(make: Make, tmp_path: Path) -> None:
    coordinator = make(trials=1000, budget="30s")
    shares = []
    while (task := coordinator.next_task()) is not None:
        coordinator.finish(task["number"], {**outcome(task["configuration"]), "cpu": {"total": 4.0}})
        shares.append(coordinator.progress().share)
    # Of the thousand trials nearly none is done, yet so much of the search is over.
    assert shares == pytest.approx([4 / 30, 8 / 30, 12 / 30, 16 / 30, 20 / 30, 24 / 30, 28 / 30, 1.0])
    assert coordinator.progress().remaining == 0.0 and coordinator.progress().limit == "CPU budget"
    assert len(Records(tmp_path / "run").trials()) == 8
    assert make(trials=1000, budget="30s").next_task() is None
    assert make(trials=1000, budget="34s").next_task() is not None


def test_in_the_last_third_of_time_or_budget_what_was_found_is_distilled_further(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing goes on before, for there are too few for a place; a number of trials closes nothing."""
    spec = SpaceSpec(
        bits=BitsSpec(levels=(8, 32), granularity="role"), distillation=DistillationSpec(steps=(0, 10, 30))
    )
    space = Space(spec, ANATOMY, Capabilities((8, 32), (64, 32), ("f32",)))
    now = [100.0]
    monkeypatch.setattr("slimfront.search.coordinator.time", SimpleNamespace(monotonic=lambda: now[0]))

    def steps(**search: Any) -> list[Value]:
        coordinator, found = make(space=space, reduction_factor=100, **search), []
        while len(found) < 9 and (task := coordinator.next_task()) is not None:
            found.append(task["configuration"]["distillation/steps"])
            bits = sum(v for n, v in task["configuration"].items() if n.startswith("bits/") and isinstance(v, int))
            told = outcome({"bits": bits, "steps": found[-1]})
            coordinator.finish(task["number"], {**told, "cpu": {"total": 5.0}})
            now[0] += 7.0
        return found

    assert not any(steps(trials=9, folder="trials"))
    for name in ("budget", "time"):
        end: dict[str, Any] = {"deadline": now[0] + 62.0} if name == "time" else {"budget": "44s"}
        ended = steps(trials=1000, folder=name, **end)
        assert len(ended) == 9 and not any(ended[:6]) and all(ended[6:]), name


def test_stagnation_ends_the_search_but_not_before_the_uniform_settings(make: Make, tmp_path: Path) -> None:
    def flat(configuration: Mapping[str, Value]) -> dict[str, Any]:
        values = {"size": 100.0, "latency": 1.0, "accuracy": 0.8}
        measured = {n: {"value": v, "unit": UNITS[n], "interval": None, "steer": v} for n, v in values.items()}
        return {"measurements": measured, "files": {}}

    coordinator = make(trials=1000, patience=5)
    while (task := coordinator.next_task()) is not None:
        coordinator.finish(task["number"], flat(task["configuration"]))
    count = len(Records(tmp_path / "run").trials())
    assert len(SPACE.uniform()) < count <= max(len(SPACE.uniform()) + 1, 7)


def test_the_remaining_time_is_told(make: Make) -> None:
    coordinator = make(trials=10)
    assert coordinator.progress().remaining is None
    drive(coordinator, most=4)
    told = coordinator.progress()
    assert told.remaining is not None and 0 <= told.remaining < 60 and (told.done, told.trials) == (4, 10)
    assert "front of" in told.best and (told.share, told.limit) == (0.4, "trials")
    late = make(trials=10, folder="late", deadline=time.monotonic() - 1).progress()
    assert (late.share, late.limit) == (1.0, "time")


def test_trials_that_were_stopped_are_told_and_counted(make: Make, tmp_path: Path) -> None:
    coordinator = make(trials=6)
    for number in range(6):
        task = coordinator.next_task()
        assert task is not None
        told = outcome(task["configuration"])
        coordinator.finish(number, {**told, "stopped": {"by": 0, "bound": 0.5}} if number > 2 else told)
    assert (coordinator.progress().stopped, coordinator.progress().done) == (3, 6)
    states = [trial.state for trial in Records(tmp_path / "run").trials()]
    assert states == ["complete"] * 3 + ["stopped"] * 3


def test_logits_of_complete_trials_outlive_their_artifacts_and_are_handed_on(make: Make, tmp_path: Path) -> None:
    coordinator, artifacts = make(trials=6), tmp_path / "run" / "artifacts"
    for number in range(5):
        task = coordinator.next_task()
        assert task is not None
        known = [tmp_path / "run" / "logits" / f"trial-{n:05d}.safetensors" for n in range(1, min(number, 3))]
        assert task["others"] == [str(path) for path in known] and all(path.is_file() for path in known)
        folder = artifacts / f"trial-{number:05d}"
        folder.mkdir(parents=True)
        (folder / LOGITS).write_bytes(b"logits")
        told = outcome(task["configuration"])
        # The third one is stopped: it has answers to some of the sentences only.
        coordinator.finish(number, {**told, "stopped": {"by": 0, "bound": 0.5}} if number == 3 else told)
    assert not list(artifacts.rglob(LOGITS))


def test_the_logits_of_the_trial_that_is_to_be_beaten_are_handed_on_however_old(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimfront.search.coordinator.REFERENCES", 1)
    predictor = predictor_of(SPACE.domains)
    coordinator = make(SAMPLERS.get("random", where="x")(), trials=24, predictor=predictor)
    beside, clock = set(), random.Random(0)
    while (task := coordinator.next_task()) is not None:
        told, rival = outcome(task["configuration"]), task["bar"]["trial"] if task["bar"] else 0
        others = [int(Path(path).stem.partition("-")[2]) for path in task["others"]]
        # The dense model's own are in the cache.
        assert not rival or rival in others
        assert len(others) <= 2
        beside |= {rival} & set(others[1:])
        accuracy = 0.8 + clock.random() / 100
        told["measurements"]["accuracy"] |= {"value": accuracy, "steer": accuracy}
        steer = float(predictor.predict([task["configuration"]]).latency[0])
        told["measurements"]["latency"] |= {"value": steer, "steer": steer}
        folder = tmp_path / "run" / "artifacts" / f"trial-{task['number']:05d}"
        folder.mkdir(parents=True)
        if task["number"]:
            (folder / LOGITS).write_bytes(b"logits")
        coordinator.finish(task["number"], told)
    assert beside


def raced(coordinator: Coordinator, predictor: Predictor, clock: random.Random, most: int = 1000) -> int:
    """Answer tasks as a worker does that stops whatever misses its bar; the clock is noisy. Return how many."""
    count = 0
    while count < most and (task := coordinator.next_task()) is not None:
        told = outcome(task["configuration"])
        steer = float(predictor.predict([task["configuration"]]).latency[0])
        # Fewer bits are no sure loss here, so that large models are beaten by smaller ones.
        accuracy = 0.8 + random.Random(str(sorted(task["configuration"].items()))).random() / 100
        told["measurements"]["accuracy"] |= {"value": accuracy, "steer": accuracy}
        told["measurements"]["latency"] |= {"value": steer * clock.uniform(0.5, 2), "steer": steer}
        bar = task["bar"]
        stopped = {"stopped": {"by": bar["trial"], "bound": accuracy}} if bar and accuracy < bar["accuracy"] else {}
        coordinator.finish(task["number"], {**told, **stopped})
        count += 1
    return count


def test_a_raced_search_that_was_cut_equals_an_undisturbed_one(make: Make, tmp_path: Path) -> None:
    predictor = predictor_of(SPACE.domains)
    settings = {"predictor": predictor, "trials": 24, "predicted": 2}
    raced(make(SAMPLERS.get("random", where="x")(), "whole", **settings), predictor, random.Random(0))
    rng, clock = random.Random(1), random.Random(2)
    while True:
        coordinator = make(SAMPLERS.get("random", where="x")(), "cut", **settings)
        if not raced(coordinator, predictor, clock, most=rng.randint(2, 6)):
            break
        coordinator.next_task()  # taken by a process that dies
    lists = [
        [(t.configuration, t.state, t.details.get("stopped")) for t in Records(tmp_path / name).trials()]
        for name in ("whole", "cut")
    ]
    assert lists[0] == lists[1] and {state for _, state, _ in lists[0]} == {"complete", "stopped"}


def test_every_finished_trial_is_told_once_in_each_search(make: Make, tmp_path: Path) -> None:
    first: list[Trial] = []
    coordinator = make(Stubborn(), trials=12, track=first.append)
    drive(coordinator, most=5)
    task = coordinator.next_task()
    # Duplicates are answered before a task is handed out.
    assert task is not None and [trial.number for trial in first] == list(range(task["number"]))
    coordinator.finish(task["number"], {"error": "MemoryError", "message": "too large"})
    coordinator.next_task()  # taken by a process that dies
    again: list[Trial] = []
    drive(make(Stubborn(), trials=12, track=again.append))
    recorded = Records(tmp_path / "run").trials()
    assert again == recorded and again[: len(first)] == first
    assert {trial.state for trial in again} == {"complete", "failed"}
    assert any(trial.cached_from is not None for trial in again)


def test_a_search_that_is_stopped_counts_no_attempt(make: Make, tmp_path: Path) -> None:
    """However often somebody stops a search in the middle of a trial, that trial is still tried."""
    drive(make(trials=4), most=2)
    for _ in range(3):
        coordinator = make(trials=4)
        task = coordinator.next_task()
        assert task is not None and task["number"] == 2
        coordinator.close()
    drive(make(trials=4))
    trials = Records(tmp_path / "run").trials()
    assert [(trial.state, trial.attempts) for trial in trials] == [("complete", 1)] * 4
    # Nor does one count whose worker outlived its coordinator: it has taken away the trial's mark.
    for _ in range(3):
        assert make(trials=5).next_task() is not None
    # What was left twice with all that was at it is not begun a third time.
    mark = mark_of(tmp_path / "run" / "artifacts" / "trial-00004")
    mark.touch()
    assert make(trials=5).next_task() is not None and not mark.exists()
    mark.touch()
    drive(make(trials=5))
    assert "left unfinished 2 times" in str(Records(tmp_path / "run").trials()[4].error)
