"""The shipped study, prepared for benchmarks."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slimfront.search.coordinator import Coordinator
from slimfront.search.engines import ENGINES
from slimfront.search.evaluator import Evaluator
from slimfront.search.guide import follow, guide
from slimfront.search.launching import with_settings
from slimfront.search.naming import check_names
from slimfront.search.prediction import Predictor
from slimfront.search.preparation import objectives_of
from slimfront.search.records import Records
from slimfront.search.run import Run
from slimfront.search.samplers import SAMPLERS
from slimfront.search.trial import Trial
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Value
from slimfront.spaces.space import Space
from slimfront.studies.cache import digest
from slimfront.studies.reader import dump_study, parse_study, read_study
from slimfront.studies.schema import Study

QUICKSTART = Path(__file__).parents[2] / "studies" / "quickstart.yaml"
# As many as the shipped study has in its search split.
SENTENCES = 2500


def quickstart(space: Mapping[str, Any] | None = None, sentences: int = 1000, **search: Any) -> Study:
    """Return the shipped study with other settings, without shared recovery, all blocks and the whole vocabulary kept.

    Splits and steps are those with which the first tables were measured.

    Args:
        space: Replaces whole sections of the space.
        sentences: Sentences of the search split.
        search: Replaces keys of the section ``search``.
    """
    data = read_study(QUICKSTART).model_dump(mode="json")
    data["recovery"], data["space"]["depth"], data["space"]["vocabulary"] = None, None, None
    data["data"]["splits"]["search"] = sentences
    data["space"]["distillation"] |= {"steps": [0, 80], "learning_rate": [1e-4]}
    data["search"] |= {"workers": 1, "reduction_factor": None, **search}
    data["space"] |= space or {}
    return parse_study(data)


def held_out_accuracy(evaluator: Evaluator, configuration: Configuration, folder: Path) -> float:
    """Return the held-out accuracy of a configuration's artifact, which lies in a folder already."""
    dense = folder.parent / f"{folder.name}-dense"
    if not dense.is_dir():
        evaluator.lower(evaluator.space.dense(), dense)
    return float(evaluator.held_out(configuration, folder, dense)["accuracy"]["value"])


def say(text: str, share: float) -> None:
    """Show progress."""
    if share >= 1:
        print(f"  {text}: done", file=sys.stderr, flush=True)


@dataclass
class Material:
    """A study with everything that its trials share."""

    study: Study

    @cached_property
    def evaluator(self) -> Evaluator:
        return Evaluator.prepare(self.study, say)

    @cached_property
    def told(self) -> dict[str, Any]:
        return guide(self.evaluator, say)

    @cached_property
    def space(self) -> Space:
        return follow(self.study, self.told)[0]

    @cached_property
    def predictor(self) -> Predictor:
        return follow(self.study, self.told)[1]

    def draw(self, count: int, seed: int, spread: bool = False) -> list[Configuration]:
        """Return random configurations without recovery.

        Args:
            count: How many.
            seed: Of the draw.
            spread: Whether each has a strength of its own, around which its levels lie, instead of levels that are
                all equally likely: those crowd at the mean of every objective.
        """
        rng, dense = random.Random(seed), self.space.dense()
        found: list[Configuration] = []
        while len(found) < count:
            strength = rng.random()
            values = {}
            for name, domain in self.space.domains.items():
                place = min(1.0, max(0.0, rng.gauss(strength, 0.25))) if spread else rng.random()
                values[name] = domain.values[min(len(domain.values) - 1, int(place * len(domain.values)))]
            values |= {name: dense[name] for name in values if name.startswith("distillation/")}
            configuration = self.space.canonical(values)
            if configuration not in found:
                found.append(configuration)
        return found


@dataclass
class Workplace:
    """One worker process that serves any number of searches of one study, which may differ in their section ``search``.

    Attributes:
        study: The study.
        folder: Where run folders go.
    """

    study: Study
    folder: Path

    def __post_init__(self) -> None:
        # What an earlier benchmark left behind counts only if its study was the same.
        self.folder = self.folder / digest(self.study.model_dump(mode="json"))[:12]
        self._engine = ENGINES.get("optuna", where="engine")(Run.begin(self.folder / "worker", self.study))
        self.space, self.predictor = follow(self.study, self._engine.prepare(say))

    def search(
        self,
        name: str,
        listener: Callable[[Coordinator], None] = lambda _coordinator: None,
        fixed: Mapping[str, Value] | None = None,
        **settings: Any,
    ) -> list[Trial]:
        """Search until the settings say stop, or go on with a search of that name, and return its trials.

        Args:
            name: Name of the run folder.
            listener: Called after each trial.
            fixed: Parameters that are not searched.
            settings: Keys of the section ``search``.
        """
        study = with_settings(self.study, settings)
        spec = study.space.model_copy(update={"fixed": dict(fixed or {})})
        space = Space(spec, self.space.anatomy, self.space.capabilities) if fixed else self.space
        folder = self.folder / name
        (folder / "artifacts").mkdir(parents=True, exist_ok=True)
        (folder / "study.json").write_text(dump_study(study))
        run, records = Run.open(folder), Records(folder, create=True)
        objectives = {name: objective.entry() for name, objective in objectives_of(study).items()}
        records.begin(study.name, objectives)
        sampler = SAMPLERS.get(study.search.sampler, where="sampler")()
        told: list[Coordinator] = []

        def report(_progress: object) -> None:
            listener(told[0])

        coordinator = Coordinator(run, records, space, sampler, check_names(study), None, report, self.predictor)
        told.append(coordinator)
        self._engine.search(coordinator)
        return records.trials()

    def close(self) -> None:
        self._engine.close()
