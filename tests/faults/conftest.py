"""A small search that goes on within this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from slimfront.search.launching import launch
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import Study

from tests.faults.searching import found

TRIALS = 7


@pytest.fixture(scope="session")
def study(study_data: Callable[..., dict[str, Any]]) -> Study:
    data = study_data("bert", trials=TRIALS, engine="in-process", delta=0.0)
    return parse_study({**data, "objectives": ["size", "accuracy"]})


@pytest.fixture(scope="session")
def undisturbed(study: Study, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What a search on a large disk finds; it fills the cache."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    launch(study, folder)
    return found(folder)
