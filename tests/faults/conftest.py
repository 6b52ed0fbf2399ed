"""A study whose trials take no time, and commands on it. With ``SLIMFRONT_FAULTS`` set all faults are tried."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from slimfront.search import remote
from slimfront.search.preparation import lay_space
from slimfront.search.records import Records
from slimfront.search.trial import Trial
from slimfront.spaces.structure import walk
from slimfront.studies.errors import RecordsError
from slimfront.studies.reader import parse_study

from tests.conftest import example_inputs, make_encoder
from tests.faults.trivial import BAD, GUIDE, PACE
from tests.search.prediction_of import predictor_of

ALL = bool(os.environ.get("SLIMFRONT_FAULTS"))
WORKER = "tests.faults.trivial"


def share(count: int, least: int = 1) -> int:
    """Return how many of ``count`` faults are tried: all, or about a tenth."""
    return count if ALL else max(least, count // 10)


@dataclass(frozen=True)
class Trivial:
    """A study of trivial trials.

    Attributes:
        study: Its file.
        runs: Where run folders go.
    """

    study: Path
    runs: Path

    def start(self, run: str, *options: object) -> int:
        """Start its search in a fork of this process, which has imported the libraries already; return the id."""
        child = os.fork()
        if child:
            return child
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            log = os.open(self.runs / f"{run}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            for own, file in ((0, null), (1, log), (2, log)):
                os.dup2(file, own)
            sys.stdout, sys.stderr = (os.fdopen(own, "w", encoding="utf-8", closefd=False) for own in (1, 2))
            sys.argv = ["slimfront", "launch", str(self.study), "--run", str(self.runs / run), *map(str, options)]
            from slimfront.search.cli import main

            main()
        finally:
            os._exit(99)

    def launch(self, run: str, *options: object) -> int:
        """Search to the end; return the exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.start(run, *options), 0)[1])

    def trials(self, run: str) -> list[Trial]:
        """Return the trials in a run's records; none where it was ended before there were any."""
        try:
            return Records(self.runs / run).trials()
        except RecordsError as error:
            if "no records" in str(error) or "no study" in str(error):
                return []
            raise

    def list(self, run: str) -> list[tuple[Any, ...]]:
        """Return what a seed must repeat."""
        return [(t.number, t.state, t.configuration, t.measurements) for t in self.trials(run)]

    def told(self, run: str) -> str:
        """Return what the commands on a run have printed."""
        return (self.runs / f"{run}.log").read_text()


def workers() -> list[int]:
    """Return the ids of all trivial workers that run."""
    found = psutil.process_iter(["cmdline", "status"])
    return [p.pid for p in found if WORKER in (p.info["cmdline"] or ()) and p.info["status"] != psutil.STATUS_ZOMBIE]


def wait_for(condition: Callable[[], bool], most: float = 60.0) -> bool:
    """Wait until a condition holds; return whether it does."""
    deadline = time.monotonic() + most
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


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
        patch.setattr(remote, "WORKER", WORKER)
        patch.setenv(GUIDE, str(root / "guide.json"))
        yield make
    for process in workers():
        os.kill(process, signal.SIGKILL)


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets the seconds of a trial."""
    return lambda seconds: monkeypatch.setenv(PACE, str(seconds))


@pytest.fixture
def misbehave(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, str]], None]:
    """Return a function that tells trials by number how to misbehave."""
    return lambda bad: monkeypatch.setenv(BAD, json.dumps(bad))
