"""Makes the artifact of a recorded trial once more and compares it with what was measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable
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
    remote = Remote(
        run.study.model_dump(mode="json"), run.folder / "logs" / "rebuild.log", Allowance.of(run.study.search)
    )
    try:
        answer = remote.ask({"do": "rebuild", "configuration": dict(trial.configuration), "folder": str(folder)})
    except WorkerDied as death:
        raise SlimfrontError("the worker died", given=str(death)) from death
    finally:
        remote.kill()
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


def mend(run: Run, engine: Engine, progress: Callable[[str, float], None]) -> None:
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
        answer = engine.ask({"do": "rebuild", "configuration": dict(trial.configuration), "folder": str(folder)})
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
