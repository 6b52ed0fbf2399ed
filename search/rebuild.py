"""Makes the artifact of a recorded trial once more and compares it with what was measured."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slimfront.objectives.runtimes.artifact import Artifact
from slimfront.search.engines import Engine
from slimfront.search.evaluator import PREDICTIONS
from slimfront.search.failures import WorkerDied
from slimfront.search.lock import differences
from slimfront.search.remote import Remote
from slimfront.search.run import Run
from slimfront.search.trial import Trial
from slimfront.search.watch import Allowance
from slimfront.studies.cache import file_sha256
from slimfront.studies.errors import RecordsError, SlimfrontError, StudyError

Json = dict[str, Any]
Progress = Callable[[str, float], None]


def recorded(run: Run, number: int, where: str = "--trial") -> Trial:
    """Return a trial whose artifact was measured; ``where`` its number was given is told where there is none.

    Raises:
        StudyError: there is no such trial, or it has no artifact.
    """
    trials = run.records().trials()
    found = next((trial for trial in trials if trial.number == number), None)
    if found is None or not found.files:
        numbers = [str(trial.number) for trial in trials if trial.files and trial.cached_from is None]
        shown = ", ".join(numbers[:24]) + (", …" if len(numbers) > 24 else "")
        state = f": it is {found.state}" + (" early" if found.state == "stopped" else "") if found else ""
        raise StudyError(
            f"no trial of this number was measured to its end{state}",
            where=where,
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
    study, log = run.study.model_dump(mode="json"), run.folder / "logs" / "rebuild.log"
    remote = Remote(study, log, Allowance.of(run.study.search))
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
    require_equal(run, trial, folder, answer)
    return dict(answer["files"])


def sound(folder: Path, trial: Trial) -> bool:
    """Return whether a folder holds a trial's artifact as it was measured, and what an export needs beside it."""
    try:
        artifact = Artifact.open(folder)
    except RecordsError:
        return False
    beside = trial.details.get("beside", {})
    # Names are from the records: none may lead elsewhere.
    whole = all(
        Path(name).name == name and (folder / name).is_file() and file_sha256(folder / name) == total
        for name, total in beside.items()
    )
    return whole and (folder / PREDICTIONS).is_file() and dict(artifact.files) == dict(trial.files)


def mend(run: Run, engine: Engine, progress: Progress) -> None:
    """Make the artifacts of the dense model and of the front once more where they are damaged or gone.

    Raises:
        RecordsError: what was made is not what was measured.
    """
    trials = {trial.number: trial for trial in run.records().trials()}
    if not any(trial.state == "complete" for trial in trials.values()):
        return
    front = run.front()
    kept = dict.fromkeys([front.dense.trial, *(point.trial for point in front.points)])
    damaged = [trials[number] for number in kept if not sound(run.artifact(number), trials[number])]
    for number, trial in enumerate(damaged):
        folder = run.artifact(trial.number)
        task = {"do": "rebuild", "folder": str(folder), "predictions": True}
        answer = engine.ask({**task, "configuration": dict(trial.configuration)})
        require_equal(run, trial, folder, answer)
        progress("making damaged files once more", (number + 1) / len(damaged))


def require_equal(run: Run, trial: Trial, folder: Path, answer: Json) -> None:
    """Compare the files that a worker made with those that were measured; others are removed.

    Raises:
        RecordsError: they differ; what differs here is named.
    """
    if answer["files"] != dict(trial.files):
        shutil.rmtree(folder, ignore_errors=True)
        found = differences(run.records().lock(), answer["lock"])
        raise RecordsError(
            "the rebuilt artifact is not the one that was measured",
            where=f"trial {trial.number}",
            given="; ".join(found) or str(answer["files"]),
            allowed=str(dict(trial.files)),
            hint="rebuild on the machine and with the versions of the search, or choose a point of the front",
        )
