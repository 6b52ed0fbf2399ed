"""Makes the artifact of a recorded trial once more and compares it with what was measured."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from slimfront.search.lock import differences
from slimfront.search.records import Records, Trial
from slimfront.search.remote import Remote, WorkerDied
from slimfront.search.run import Run
from slimfront.studies.errors import RecordsError, SlimfrontError, StudyError

Json = dict[str, Any]


def recorded(run: Run, number: int, where: str = "--trial") -> Trial:
    """Return a trial whose artifact was measured; ``where`` its number was given is told where there is none.

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
    remote = Remote(run.study.model_dump(mode="json"), run.folder / "logs" / "rebuild.log")
    try:
        answer = remote.ask({"do": "rebuild", "configuration": dict(trial.configuration), "folder": str(folder)})
    except WorkerDied as death:
        raise SlimfrontError("the worker died", given=str(death)) from death
    finally:
        remote.kill()
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
