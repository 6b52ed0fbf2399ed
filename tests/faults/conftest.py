"""A small search that goes on within this process, and searches of trials that take no time."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from slimfront.search.engines import ENGINES
from slimfront.search.launching import launch
from slimfront.search.preparation import lay_space
from slimfront.spaces.structure import walk
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import Study

from tests.conftest import example_inputs, make_encoder
from tests.faults.processes import Trivial, workers
from tests.faults.searching import IN_PROCESS, InProcess, found
from tests.faults.trivial import BAD, GUIDE, PACE
from tests.search.prediction_of import predictor_of

TRIALS = 7


@pytest.fixture(scope="package", autouse=True)
def _engine() -> Iterator[None]:
    """Add the engine of these tests to those that there are, for them alone."""
    with pytest.MonkeyPatch.context() as patch:
        assert IN_PROCESS not in ENGINES.names()
        patch.setitem(ENGINES._members, IN_PROCESS, InProcess)
        yield


# Of the package, as the engine is: what lives for the session would be made before it.
@pytest.fixture(scope="package")
def study(study_data: Callable[..., dict[str, Any]]) -> Study:
    data = study_data("bert", trials=TRIALS, engine=IN_PROCESS, delta=0.0)
    return parse_study({**data, "objectives": ["size", "accuracy"]})


@pytest.fixture(scope="package")
def undisturbed(study: Study, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What a search on a large disk finds; it fills the cache."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    launch(study, folder)
    return found(folder)


@pytest.fixture(scope="session")
def trivial_study(
    tmp_path_factory: pytest.TempPathFactory, study_data: Callable[..., dict[str, Any]]
) -> Iterator[Callable[..., Trivial]]:
    """Return a function that makes a study of trivial trials."""
    root = tmp_path_factory.mktemp("trivial")
    data = study_data("bert", sampler="random")
    data["space"]["sparsity"]["granularity"] = data["space"]["bits"]["granularity"] = "layer"
    anatomy = walk(make_encoder("bert"), example_inputs())
    _, space = lay_space(parse_study(data), anatomy)
    tables = predictor_of(space.domains, "distillation/steps").tables
    told = {"anatomy": anatomy.to_json(), "tables": tables.to_json(), "lock": {"weights": "none"}}
    (root / "guide.json").write_text(json.dumps(told))

    def make(folder: str, name: str = "small", **search: Any) -> Trivial:
        path = root / f"{folder}.yaml"
        path.write_text(json.dumps({**data, "name": name, "search": {**data["search"], **search}}))
        (root / folder).mkdir()
        return Trivial(path, root / folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(GUIDE, str(root / "guide.json"))
        yield make
        for process in workers():
            os.kill(process, signal.SIGKILL)


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets the seconds of a trial."""
    return lambda seconds: monkeypatch.setenv(PACE, str(seconds))


@pytest.fixture
def misbehave(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int | str, str]], None]:
    """Return a function that tells trials by number, and the ``tournament``, how to misbehave."""
    return lambda bad: monkeypatch.setenv(BAD, json.dumps(bad))
