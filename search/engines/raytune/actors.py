"""What runs inside Ray Tune: the actor that evaluates, and the searcher that stands for our records."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher
from slimfront.search.coordinator import Coordinator
from slimfront.search.worker import Server
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
        numbers: The trial that each of Ray's trials evaluates.
        failure: What ended the search, or None.
    """

    coordinator: Coordinator
    numbers: dict[str, int] = field(default_factory=dict)
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
        desk.numbers[trial_id] = int(task["number"])
        return {"task": task}

    def on_trial_complete(self, trial_id: str, result: Json | None = None, error: bool = False) -> None:
        """Record an answer; an actor that died costs its trial."""
        desk = DESKS[self._name]
        number = desk.numbers.pop(trial_id)
        answer = json.loads(result["answer"]) if result and not error else None
        try:
            desk.coordinator.finish(number, answer or {"error": "crashed", "message": "Ray's actor ended"})
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
        """Load the study.

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
        self._server = _served(study)

    def reset_config(self, new_config: Json) -> bool:
        """Take another task: the model stays."""
        self._task = new_config["task"]
        return True

    def step(self) -> Json:
        """Evaluate the task."""
        answer = self._server.result(lambda: self._server.serve(self._task))
        return {METRIC: 1, "answer": json.dumps(answer, allow_nan=False), tune.result.DONE: True}

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


def _served(study: Json) -> Server:
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    server = Server(sys.stderr)
    server.prepare({"study": parse_study(study).model_dump(mode="json"), "guide": False})
    return server
