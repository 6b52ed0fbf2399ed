"""The shipped study, prepared for benchmarks."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slimfront.search.evaluator import Evaluator
from slimfront.search.guide import follow, guide
from slimfront.search.prediction import Predictor
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.studies.reader import parse_study, read_study
from slimfront.studies.schema import Study

QUICKSTART = Path(__file__).parents[2] / "studies" / "quickstart.yaml"


def quickstart(space: Mapping[str, Any] | None = None, **search: Any) -> Study:
    """Return the shipped study with other settings; ``space`` replaces whole sections of the space."""
    data = read_study(QUICKSTART).model_dump(mode="json")
    data["search"] |= {"workers": 1, **search}
    data["space"] |= space or {}
    return parse_study(data)


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

    def draw(self, count: int, seed: int, recovery: bool = False) -> list[Configuration]:
        """Return random configurations, without recovery unless it is asked for."""
        rng, found = random.Random(seed), []
        dense = self.space.dense()
        while len(found) < count:
            values = {name: rng.choice(domain.values) for name, domain in self.space.domains.items()}
            if not recovery:
                values |= {name: dense[name] for name in values if name.startswith("distillation/")}
            configuration = self.space.canonical(values)
            if configuration not in found:
                found.append(configuration)
        return found
