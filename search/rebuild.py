"""Makes the artifact of a recorded trial once more and compares it with what was measured."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slimfront.search.lock import differences
from slimfront.search.records import Records, Trial
from slimfront.search.remote import Remote, WorkerDied
from slimfront.search.run import Run
from slimfront.studies.errors import RecordsError, SlimfrontError, StudyError

Json = dict[str, Any]
Progress = Callable[[str, float], None]


def recorded(run: Run, number: int) -> Trial:
    """Return a trial whose artifact was measured.

    Raises:
        StudyError: there is no such trial, or it has no artifact.
    """
    trials = Records(run.folder).trials()
    found = next((trial for trial in trials if trial.number == number), None)
    if found is None or not found.files:
        numbers = [str(trial.number) for trial in trials if trial.files and trial.cached_from is None]
        shown = ", ".join(numbers[:24]) + (", …" if len(numbers) > 24 else "")
        state = f": it is {found.state}" + (" early" if found.state == "stopped" else "") if found else ""
        raise StudyError(
            f"no trial of this number was measured to its end{state}",
            where="--trial",
            given=number,
            allowed=shown,
            hint="choose one with 'slimfront inspect'",
        )
    return found


def rebuild(run: Run, trial: Trial, folder: Path) -> Json:
    """Make a trial's artifact in a fresh process and return the sums of its files, which equal the recorded ones.

    Args:
        run: The run.
        trial: One of its trials.
        folder: Where the artifact goes; nothing is left there when it is not the same.

    Raises:
        RecordsError: the artifact is another one; what differs here is named.
        SlimfrontError: it cannot be made.
    """
    with _worker(run) as remote:
        return _rebuilt(run, remote, trial, folder, True)


def rebuild_front(run: Run, progress: Progress) -> tuple[dict[int, Json], dict[int, RecordsError]]:
    """Make the artifacts of the dense model and of a front's points in one fresh process, and keep none.

    Args:
        run: The run.
        progress: Is told how far it is.

    Returns:
        By trial the sums of the files that equal the recorded ones, and the errors of those that do not.

    Raises:
        SlimfrontError: one cannot be made.
    """
    front = run.front()
    numbers = sorted({front.dense.trial, *(point.trial for point in front.points)})
    equal, other = dict[int, Json](), dict[int, RecordsError]()
    with _worker(run) as remote, tempfile.TemporaryDirectory() as scratch:
        for done, number in enumerate(numbers, 1):
            folder = Path(scratch) / "artifact"
            try:
                equal[number] = _rebuilt(run, remote, recorded(run, number), folder, False)
            except RecordsError as error:
                other[number] = error
            shutil.rmtree(folder, ignore_errors=True)
            progress("making the front's files once more", done / len(numbers))
    return equal, other


@contextlib.contextmanager
def _worker(run: Run) -> Iterator[Remote]:
    remote = Remote(run.study.model_dump(mode="json"), run.folder / "logs" / "rebuild.log")
    try:
        yield remote
    finally:
        remote.kill()


def _rebuilt(run: Run, remote: Remote, trial: Trial, folder: Path, predictions: bool) -> Json:
    task = {"do": "rebuild", "folder": str(folder), "predictions": predictions}
    try:
        answer = remote.ask({**task, "configuration": dict(trial.configuration)})
    except WorkerDied as death:
        raise SlimfrontError("the worker died", given=str(death)) from death
    if "error" in answer:
        raise SlimfrontError("the artifact cannot be rebuilt", given=answer["message"])
    if answer["files"] != dict(trial.files):
        shutil.rmtree(folder, ignore_errors=True)
        found = differences(Records(run.folder).lock(), answer["lock"])
        raise RecordsError(
            "the rebuilt artifact is not the one that was measured",
            where=f"trial {trial.number}",
            given="; ".join(found) or str(answer["files"]),
            allowed=str(dict(trial.files)),
            hint="rebuild on the machine and with the versions of the search, or choose a point of the front",
        )
    return dict(answer["files"])
