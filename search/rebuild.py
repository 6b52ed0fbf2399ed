"""Makes the artifact of a recorded trial once more and compares it with what was measured."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimfront.search.lock import differences
from slimfront.search.records import Records, Trial
from slimfront.search.remote import Remote, WorkerDied
from slimfront.search.run import Run
from slimfront.studies.errors import RecordsError, SlimfrontError, StudyError
from slimfront.studies.schema import Study

Json = dict[str, Any]


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
    task = {"do": "rebuild", "configuration": dict(trial.configuration), "folder": str(folder)}
    answer = answered(run.study, run.folder / "logs" / "rebuild.log", task)
    require_same(answer, trial.number, trial.files, Records(run.folder).lock(), folder)
    return dict(answer["files"])


def answered(study: Study, log: Path, task: Json) -> Json:
    """Return what a fresh worker process answers to a task.

    Args:
        study: The study.
        log: A file for whatever the process prints.
        task: See :meth:`slimfront.search.worker.Server.serve`.

    Raises:
        SlimfrontError: the task cannot be done.
    """
    remote = Remote(study.model_dump(mode="json"), log)
    try:
        answer = remote.ask(task)
    except WorkerDied as death:
        raise SlimfrontError("the worker died", given=str(death)) from death
    finally:
        remote.kill()
    if "error" in answer:
        failure = SlimfrontError("the artifact cannot be made", given=answer["message"])
        if answer["exit_code"] != failure.exit_code:
            failure = SlimfrontError(answer["message"])
            failure.exit_code = int(answer["exit_code"])
        raise failure
    return answer


def require_same(answer: Json, number: int, files: Mapping[str, str], lock: Json, folder: Path) -> None:
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
