"""A search inside this process: real models, files and records, and no seconds for starting workers."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from slimfront.search.coordinator import Coordinator
from slimfront.search.engines import Engine
from slimfront.search.exits import _told
from slimfront.search.launching import launch
from slimfront.search.records import Records
from slimfront.search.run import Run
from slimfront.search.trial import Trial
from slimfront.search.worker import Server
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Domain
from slimfront.studies.cache import digest
from slimfront.studies.errors import SlimfrontError, explained
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import Study

Json = dict[str, Any]
IN_PROCESS = "in-process"
UNITS = {"size": "byte", "latency": "ms", "accuracy": "fraction"}
DOMAINS = {f"bits/layer.{number}": Domain((32, 8, 4)) for number in range(12)}


class InProcess(Engine):
    """Evaluates one task after the other."""

    # What was prepared for a study: a hundred searches of one study need it once.
    prepared: ClassVar[dict[str, tuple[Server, Json]]] = {}

    def __init__(self, run: Run) -> None:
        self._study, self._server = run.study.model_dump(mode="json"), Server(io.StringIO())

    def prepare(self, progress: Callable[[str, float], None]) -> Json:
        key = digest(self._study)
        if key not in self.prepared:
            found = self._answer(lambda: self._server.prepare({"study": self._study, "guide": True}))
            self.prepared[key] = self._server, found["guide"]
        self._server, told = self.prepared[key]
        return told

    def search(self, coordinator: Coordinator) -> None:
        while (task := coordinator.next_task()) is not None:
            coordinator.finish(int(task["number"]), self._server.result(lambda task=task: self._server.serve(task)))  # type: ignore[misc]

    def ask(self, task: Json) -> Json:
        return self._answer(lambda: self._server.serve(task))

    def _answer(self, work: Callable[[], Json]) -> Json:
        answer = self._server.result(work)
        if "error" in answer:
            failure = SlimfrontError(str(answer["message"]))
            failure.exit_code = int(answer["exit_code"])
            raise failure
        return answer

    def close(self) -> None:
        pass


def measured(number: int) -> Json:
    """Return a made-up outcome in the form of a real one."""
    values = {"size": 90e6 / (1 + number % 7), "latency": 9.1 - number / 16, "accuracy": 0.83 - 0.001 * (number % 11)}
    entries = {
        name: {"value": value, "unit": UNITS[name], "interval": [value * 0.99, value * 1.01], "steer": value}
        for name, value in values.items()
    }
    return {
        "measurements": entries,
        "files": {"model.bin": f"{number:064x}"},
        "divergence": 0.01 * number,
        "cpu": {"total": 1.5},
        "predicted": {name: value * 1.02 for name, value in values.items()},
    }


def made_up_run(folder: Path, study: Mapping[str, Any], trials: int = 40) -> Run:
    """Write a run folder whose records hold many trials in all states, without measuring any."""
    run, records = Run.begin(folder, parse_study(dict(study))), Records(folder, create=True)
    direction = {"accuracy": "maximize"}
    records.begin("small", {n: {"unit": u, "direction": direction.get(n, "minimize")} for n, u in UNITS.items()})
    records.set_lock({"torch": "2", "dense weights": "0" * 64})
    for number in range(trials):
        values = {name: (32, 8, 4)[(number + place) % 3] for place, name in enumerate(DOMAINS)}
        kind = "dense" if number == 0 else "sampled"
        trial = records.start(number, Configuration(values), DOMAINS, kind, 100 + number)
        if number == trials - 1:
            break
        if number % 9 == 5:
            records.fail(trial, "MemoryError: too large")
        else:
            stopped = {"stopped": {"by": 0, "bound": 0.7}} if number % 9 == 7 else {}
            records.complete(trial, {**measured(number), **stopped}, {"accuracy": -0.01})
    again = {"value": 0.8, "change": {"value": 0.0, "interval": [-0.01, 0.01], "p": 1.0}}
    for number in (0, 1, 2):
        records.hold_out(number, {"accuracy": again})
    records.finish_tournament({1: {"value": 3.0, "interval": [2.9, 3.1], "conditions": {"load": 0.1}}})
    return run


def found(folder: Path) -> list[tuple[Any, ...]]:
    return [brief(trial) for trial in Records(folder).trials() if trial.state != "running"]


def brief(trial: Trial) -> tuple[Any, ...]:
    return (trial.number, trial.state, trial.configuration, trial.value("size"), trial.value("accuracy"), trial.files)


def code_of(study: Study, folder: Path, cold: bool = False) -> int:
    """Search, and return the exit code with which the command line would end."""
    if cold:
        InProcess.prepared.clear()
    try:
        launch(study, folder)
    except Exception as error:
        return _told(explained(error))
    return 0
