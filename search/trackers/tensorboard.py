"""TensorBoard: event files in the run folder."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from slimfront.search.front import Front
from slimfront.search.run import Run
from slimfront.search.trackers.tracker import TRACKERS, Tracker, measured
from slimfront.search.trial import Trial

FOLDER, SEARCH, PREFIX = "tensorboard", "search", "trial-"


@TRACKERS.register("tensorboard")
class TensorBoard(Tracker):
    """Objectives and hypervolume by trial, and each configuration as a session of the hyperparameters' page.

    A session needs a folder of its own, which also tells which trials are shown. Events are written through at once,
    without the usual writer's background thread, which would keep a full disk to itself.
    """

    package = "tensorboardX"
    install = "tensorboardX"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._folder = run.folder / FOLDER
        self._series: Any = None

    def begin(self) -> Collection[int]:
        """See :meth:`Tracker.begin`."""
        self._series = _writer(self._folder / SEARCH)
        return {int(path.name.removeprefix(PREFIX)) for path in self._folder.glob(f"{PREFIX}*")}

    def trial(self, trial: Trial, hypervolume: float) -> None:
        """See :meth:`Tracker.trial`."""
        from tensorboardX.summary import hparams, scalar

        values = measured(trial)
        series = {"hypervolume": hypervolume, **{f"objective/{name}": value for name, value in values.items()}}
        _write(self._series, [scalar(name, value) for name, value in series.items()], trial.number)
        results = {f"result/{name}": value for name, value in values.items()}
        settings = {**trial.configuration, "state": trial.state, "kind": trial.kind}
        session = _writer(self._folder / f"{PREFIX}{trial.number:05d}")
        shown = [*hparams(settings, results), *(scalar(name, value) for name, value in results.items())]
        _write(session, shown, trial.number)
        session.close()

    def end(self, front: Front | None) -> None:  # noqa: ARG002
        """See :meth:`Tracker.end`."""
        self._series.close()


def _writer(folder: Path) -> Any:
    from tensorboardX.event_file_writer import EventsWriter

    folder.mkdir(parents=True, exist_ok=True)
    # The name alone tells seconds: a search that goes on within one would write over what is there.
    return EventsWriter(str(folder / "events"), f".{time.time_ns()}")


def _write(writer: Any, summaries: Iterable[Any], step: int) -> None:
    from tensorboardX.proto.event_pb2 import Event

    for summary in summaries:
        writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))
    writer.flush()
