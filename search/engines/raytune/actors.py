"""What runs inside Ray Tune: the actor that evaluates, and the searcher that stands for our records."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher
from slimfront.search.coordinator import Coordinator
from slimfront.search.failures import CRASHED
from slimfront.search.watch import Allowance, Watch
from slimfront.search.worker import Server, readable
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import Study

Json = dict[str, Any]
# The one number that Ray insists on; what was measured is in the answer.
METRIC = "finished"


@dataclass
class Desk:
    """Where a search's tasks are handed out. Ray pickles and copies its searchers: they know the desk by name alone.

    Attributes:
        coordinator: The search.
        tasks: What each of Ray's trials evaluates.
        failure: What ended the search, or None.
    """

    coordinator: Coordinator
    tasks: dict[str, Json] = field(default_factory=dict)
    failure: BaseException | None = None


DESKS: dict[str, Desk] = {}


class Told(Searcher):  # type: ignore[misc]
    """Hands a coordinator's tasks to Ray Tune, and its answers back.

    Args:
        name: The desk's name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._name = name

    def suggest(self, trial_id: str) -> Any:
        """Return the next task, nothing while there is none, or that there will be none."""
        desk = DESKS[self._name]
        task = None if desk.failure else desk.coordinator.task_now()
        if task is None:
            over = desk.failure is not None or desk.coordinator.over
            return Searcher.FINISHED if over else None
        desk.tasks[trial_id] = task
        return {"task": task}

    def on_trial_complete(self, trial_id: str, result: Json | None = None, error: bool = False) -> None:
        """Record an answer; an actor that died costs its trial."""
        desk = DESKS[self._name]
        task = desk.tasks.pop(trial_id)
        answer = json.loads(result["answer"]) if result and not error else _last_words(task)
        try:
            desk.coordinator.finish(int(task["number"]), answer)
        except BaseException as failure:
            desk.failure = failure

    def on_trial_result(self, trial_id: str, result: Json) -> None:
        """Do nothing: there is one result."""

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the records have it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""


class Evaluation(tune.Trainable):  # type: ignore[misc]
    """Evaluates tasks of a coordinator, one a trial, with a model that is loaded once."""

    def setup(self, config: Json, study: Json, place: str, logs: str) -> None:
        """Get ready to load the study.

        Args:
            config: The first task.
            study: The study as JSON.
            place: The folder in which the command was given.
            logs: Where everything goes that libraries print.
        """
        if Path(place).is_dir():
            os.chdir(place)
        self._task = config["task"]
        Path(logs).mkdir(parents=True, exist_ok=True)
        log = os.open(Path(logs) / f"ray-{os.getpid()}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        self._log, self._allowance = Path(logs) / f"ray-{os.getpid()}.log", Allowance.of(parse_study(study).search)
        self._study: Json = study
        # Loaded with the first task: Ray gives the task of an actor that is still starting to the next one that is
        # free, and ends the first. One that loaded here, as long as a trial takes, would for ever be starting; so it
        # is only beside trials shorter than the start of a process.
        self._server: Server | None = None

    def reset_config(self, new_config: Json) -> bool:
        """Take another task: the model stays, unless a trial has spoilt it."""
        self._task = new_config["task"]
        return self._server is None or not self._server.leaving

    def step(self) -> Json:
        """Evaluate the task."""
        with Watch(os.getpid(), self._allowance, self._log, self._end):
            self._server = self._server or _served(self._study)
            server = self._server
            answer = server.result(lambda: readable(server.do(self._task)))
        return {METRIC: 1, "answer": json.dumps(answer), tune.result.DONE: True}

    def _end(self, kind: str, message: str) -> None:
        """End this actor, after it has told why."""
        _words(self._task).write_text(json.dumps({"error": kind, "message": message}))
        os.kill(os.getpid(), signal.SIGKILL)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Keep nothing: a trial that was interrupted is evaluated again."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Read nothing."""


class Measured(tune.Trainable):  # type: ignore[misc]
    """A trainable for Ray's own search algorithms: a configuration in, the objectives' values out.

    ``tune.Tuner(tune.with_parameters(Measured, study="study.yaml"), param_space=param_space("study.yaml"), …)``; each
    objective of the study is a metric. Nothing is recorded: the front is Ray's to keep.
    """

    def setup(self, config: Json, study: Any) -> None:
        """Load the study and measure the dense model.

        Args:
            config: Values by parameter.
            study: The study, or its file with an absolute path.
        """
        from slimfront.studies.reader import read_study

        known = study if isinstance(study, Study) else read_study(study)
        self._server, self._values = _served(known.model_dump(mode="json")), config
        self._folder = Path(tempfile.mkdtemp(prefix="slimfront-"))
        found = self._evaluated(self._server.evaluator.space.dense(), "dense", {})
        self._dense = {name: entry["value"] for name, entry in found["measurements"].items()}

    def reset_config(self, new_config: Json) -> bool:
        """Take another configuration: the model stays."""
        self._values = new_config
        return True

    def step(self) -> Json:
        """Measure the configuration."""
        found = self._evaluated(self._values, "trial", self._dense)
        values = {name: entry["value"] for name, entry in found["measurements"].items()}
        return {**values, tune.result.DONE: True}

    def _evaluated(self, values: Json, name: str, dense: Json) -> Json:
        task = {
            "do": "evaluate",
            "configuration": dict(self._server.evaluator.space.canonical(values)),
            "seed": 0,
            "folder": str(self._folder / name),
            "dense": dense,
            "dense_folder": str(self._folder / "dense"),
            "dense_files": {},
            "cost": 1.0,
            "bar": None,
            "others": [],
        }
        return self._server.serve(task)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Keep nothing."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Read nothing."""


def param_space(study: Any) -> Json:
    """Return a study's space as Ray Tune takes it.

    Args:
        study: The study, or its file.

    Raises:
        StudyError: something in it is wrong.
    """
    from slimfront.search.plan import check
    from slimfront.spaces.domain import to_ray
    from slimfront.studies.reader import read_study

    known = study if isinstance(study, Study) else read_study(study)
    return to_ray(check(known)[2].free)


def _words(task: Json) -> Path:
    """Return where an actor that was ended writes why."""
    return Path(task["folder"]).with_suffix(".ended")


def _last_words(task: Json) -> Json:
    """Return what became of a task whose actor ended."""
    path = _words(task)
    if not path.is_file():
        return {"error": CRASHED, "message": "Ray's actor ended"}
    found: Json = json.loads(path.read_text())
    path.unlink()
    return found


def _served(study: Json) -> Server:
    server = Server(sys.stderr)
    server.prepare({"study": parse_study(study).model_dump(mode="json"), "guide": False})
    return server
