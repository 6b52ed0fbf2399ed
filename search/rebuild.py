"""Makes the artifact of a recorded trial once more and compares it with what was measured."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from slimfront.objectives.artifact import Artifact
from slimfront.search.answers import PREDICTIONS
from slimfront.search.engines import Engine
from slimfront.search.failures import WorkerDied
from slimfront.search.lock import differences
from slimfront.search.remote import Remote
from slimfront.search.run import Run
from slimfront.search.trial import Trial, finished
from slimfront.search.watch import Allowance
from slimfront.studies.cache import file_sha256
from slimfront.studies.errors import RecordsError, SlimfrontError, StudyError
from slimfront.studies.schema import Study

Json = dict[str, Any]
Progress = Callable[[str, float], None]
ENDS = {"failed": "failed", "stopped": "was stopped early", "running": "has not finished"}


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
        state = f": it {ENDS.get(found.state, 'has no files')}" if found else ""
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
    with _worker(run.study, _log(run)) as remote:
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
    with _worker(run.study, _log(run)) as remote, tempfile.TemporaryDirectory() as scratch:
        for done, number in enumerate(numbers, 1):
            folder = Path(scratch) / "artifact"
            try:
                equal[number] = _rebuilt(run, remote, recorded(run, number), folder, False)
            except RecordsError as error:
                other[number] = error
            shutil.rmtree(folder, ignore_errors=True)
            progress("making the front's files once more", done / len(numbers))
    return equal, other


def answered(study: Study, log: Path, task: Json) -> Json:
    """Return what a fresh worker process answers to a task.

    Args:
        study: The study.
        log: A file for whatever the process prints.
        task: See :meth:`slimfront.search.worker.Server.serve`.

    Raises:
        SlimfrontError: the task cannot be done.
    """
    with _worker(study, log) as remote:
        return _asked(remote, task)


def _log(run: Run) -> Path:
    return run.folder / "logs" / "rebuild.log"


@contextlib.contextmanager
def _worker(study: Study, log: Path) -> Iterator[Remote]:
    remote = Remote(study.model_dump(mode="json"), log, Allowance.of(study.search))
    try:
        yield remote
    finally:
        remote.kill()


def _asked(remote: Remote, task: Json) -> Json:
    try:
        answer = remote.ask(task)
    except WorkerDied as death:
        raise SlimfrontError(f"the worker died: {death.kind}", given=str(death)) from death
    if "error" in answer:
        failure = SlimfrontError("the artifact cannot be made", given=answer["message"])
        if answer["exit_code"] != failure.exit_code:
            failure = SlimfrontError(answer["message"])
            failure.exit_code = int(answer["exit_code"])
        raise failure
    return answer


def _rebuilt(run: Run, remote: Remote, trial: Trial, folder: Path, predictions: bool) -> Json:
    task = {"do": "rebuild", "folder": str(folder), "predictions": predictions}
    answer = _asked(remote, {**task, "configuration": dict(trial.configuration)})
    require_made(answer, trial.number, trial.files, run.records().lock(), folder)
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
    records = run.records()
    if not finished(records.trials()):
        return
    front = run.front()
    # Read after the front: another search may add to shared records.
    trials = {trial.number: trial for trial in records.trials()}
    kept = dict.fromkeys([front.dense.trial, *(point.trial for point in front.points)])
    damaged = [trials[number] for number in kept if not sound(run.artifact(number), trials[number])]
    for number, trial in enumerate(damaged):
        folder = run.artifact(trial.number)
        task = {"do": "rebuild", "folder": str(folder), "predictions": True}
        answer = engine.ask({**task, "configuration": dict(trial.configuration)})
        require_made(answer, trial.number, trial.files, records.lock(), folder)
        progress("making damaged files once more", (number + 1) / len(damaged))


def require_made(answer: Json, number: int, files: Mapping[str, str], lock: Json, folder: Path) -> None:
    """Require that a worker made the very files that were measured; ``folder`` is removed where it did not.

    Args:
        answer: The worker's.
        number: The trial's number.
        files: The sums that were recorded.
        lock: What they depended on.
        folder: Where the worker put its files.

    Raises:
        RecordsError: the files are others; what differs here is named.
    """
    if answer["files"] == dict(files):
        return
    shutil.rmtree(folder, ignore_errors=True)
    raise RecordsError(
        "the rebuilt artifact is not the one that was measured",
        where=f"trial {number}",
        given="; ".join(differences(lock, answer["lock"])) or str(answer["files"]),
        allowed=str(dict(files)),
        hint="rebuild on the machine and with the versions of the search, or choose a point of the front",
    )
