"""MLflow: a run for the search, with a run nested in it for each trial."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from slimfront.search.front import Front, Point
from slimfront.search.inspect.data import as_csv
from slimfront.search.run import Run, settled, write_atomically
from slimfront.search.trackers.tracker import TRACKERS, Tracker, measured
from slimfront.search.trial import Trial

# Where a run folder keeps which of MLflow's runs is its own.
FILE = "mlflow.json"
PARENT, TRIAL, FRONT = "mlflow.parentRunId", "slimfront.trial", "slimfront.front"
# What MLflow takes at most: parameters in one request, and characters of a value.
PARAMETERS, CHARACTERS, PAGE = 100, 6000, 1000


@TRACKERS.register("mlflow")
class MLflow(Tracker):
    """Runs in the experiment of the study's name, on the server that MLflow's own environment names.

    The parent has the hypervolume and the objectives by trial, and in the end the report and the front's table; each
    trial's run has its configuration and what was measured, and the files of the model if it is of the front.
    """

    package = "mlflow"
    install = "slimfront[mlflow]"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._client: Any = None
        self._experiment, self._parent = "", ""
        self._children: dict[int, str] = {}
        self._shipped: set[int] = set()

    def begin(self) -> Collection[int]:
        """See :meth:`Tracker.begin`."""
        # It would print a link for every run; standard output is for data.
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
        # Not without being asked for.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        self._client = MlflowClient()
        name = self.run.study.name
        experiment = self._client.get_experiment_by_name(name)
        self._experiment = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._parent = self._known_parent() or self._new_parent()
        self._client.update_run(self._parent, status="RUNNING")
        for child in self._nested():
            # What a search that was killed had shown in part is shown anew.
            if child.info.status == "RUNNING":
                self._client.delete_run(child.info.run_id)
                continue
            number = int(child.data.tags[TRIAL])
            self._children[number] = child.info.run_id
            if FRONT in child.data.tags:
                self._shipped.add(number)
        return frozenset(self._children)

    def trial(self, trial: Trial, hypervolume: float) -> None:
        """See :meth:`Tracker.trial`."""
        values, told = measured(trial), {"state": trial.state, "kind": trial.kind}
        told |= {"error": trial.error} if trial.error else {}
        told |= {"cached_from": str(trial.cached_from)} if trial.cached_from is not None else {}
        tags = {PARENT: self._parent, TRIAL: str(trial.number)}
        tags |= {f"slimfront.{name}": value[:CHARACTERS] for name, value in told.items()}
        child = self._client.create_run(self._experiment, tags=tags, run_name=str(trial.number)).info.run_id
        self._log(child, trial.number, values, trial.configuration)
        self._log(self._parent, trial.number, {"hypervolume": hypervolume, **values})
        self._client.set_terminated(child, "FAILED" if trial.state == "failed" else "FINISHED")
        self._children[trial.number] = child

    def end(self, front: Front | None) -> None:
        """See :meth:`Tracker.end`."""
        if front is not None:
            self._client.log_artifact(self._parent, str(self.run.folder / "report.html"))
            if front.points:
                self._client.log_text(self._parent, as_csv(front, front.points), "front.csv")
            for point in front.points:
                self._ship(point)
            for number in self._shipped - {point.trial for point in front.points}:
                self._client.set_tag(self._children[number], FRONT, "false")
        self._client.set_terminated(self._parent, "KILLED" if front is None else "FINISHED")

    def _known_parent(self) -> str | None:
        """Return the run that this run folder has on this server already, if it is still there."""
        from mlflow.exceptions import MlflowException

        path = self.run.folder / FILE
        if not path.is_file():
            return None
        try:
            found = self._client.get_run(json.loads(path.read_text(encoding="utf-8"))["run"]).info
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return str(found.run_id) if found.lifecycle_stage == "active" else None

    def _new_parent(self) -> str:
        parent = self._client.create_run(self._experiment, run_name=self.run.folder.resolve().name).info.run_id
        write_atomically(self.run.folder / FILE, json.dumps({"run": parent}))
        self._log(parent, 0, {}, settled(self.run.study))
        return str(parent)

    def _nested(self) -> Iterator[Any]:
        """Yield the runs of trials that the parent has."""
        token, filters = None, f"tags.`{PARENT}` = '{self._parent}'"
        while True:
            page = self._client.search_runs([self._experiment], filters, max_results=PAGE, page_token=token)
            yield from (run for run in page if TRIAL in run.data.tags)
            token = page.token
            if not token:
                return

    def _log(
        self, run: str, step: int, metrics: Mapping[str, float], parameters: Mapping[str, Any] | None = None
    ) -> None:
        from mlflow.entities import Metric, Param

        now, texts = int(time.time() * 1000), {name: str(value) for name, value in (parameters or {}).items()}
        told = [Param(name, text[:CHARACTERS]) for name, text in texts.items()]
        self._client.log_batch(run, [Metric(name, value, now, step) for name, value in metrics.items()])
        for start in range(0, len(told), PARAMETERS):
            self._client.log_batch(run, params=told[start : start + PARAMETERS])

    def _ship(self, point: Point) -> None:
        """Add to a trial's run what was measured again and the files of the model, once."""
        if point.trial in self._shipped:
            return
        child = self._children[point.trial]
        again = {f"held_out/{name}": value for name, value in point.held_out.items()}
        again |= {f"final/{name}": float(entry["value"]) for name, entry in point.final.items()}
        self._log(child, point.trial, again)
        self._client.log_artifacts(child, str(self.run.artifact(point.trial)), "model")
        self._client.set_tag(child, FRONT, "true")
        self._shipped.add(point.trial)
