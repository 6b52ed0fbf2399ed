"""Times some models in the same rounds, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.rest import at_rest
from slimfront.objectives.sessions.session import SESSIONS, Session, load, run_all
from slimfront.objectives.stopwatch import Times, undisturbed
from slimfront.studies.encoding import Requests, widths
from slimfront.studies.errors import SlimfrontError, last_line

Json = dict[str, Any]
NO_LABEL = -1


@dataclass(frozen=True)
class Entrant:
    """A model that takes part.

    Attributes:
        folder: Where its artifact is.
        requests: What it is timed on.
        questions: What it is asked afterwards.
    """

    folder: Path
    requests: Requests
    questions: Requests = ()


@dataclass(frozen=True)
class Occasion:
    """What was found in one process.

    Attributes:
        times: Milliseconds of each model in each round, ``(models, rounds)``.
        tokens: How many tokens the requests of each model have.
        conditions: What bore on the times.
    """

    times: Times
    tokens: tuple[list[int], ...]
    conditions: Json

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Occasion:
        """Return what a process told."""
        return cls(np.array(told["times"], dtype=np.float64), tuple(told["tokens"]), dict(told["conditions"]))

    @property
    def rest(self) -> float:
        """The milliseconds of the dense model while hardly anything disturbed it."""
        return undisturbed(self.times[0])


def occasion(entrants: Sequence[Entrant], rest: float, patience: float, seconds: float, least: int) -> Json:
    """Time some models in a fresh process, which waits a while for the machine to come to rest.

    Where memory lies differs from one process to the next, and hardly within one.

    Args:
        entrants: The models; the first one is what others are compared with.
        rest: Its milliseconds at rest, or infinite, where they are not known.
        patience: Seconds after which nothing is waited for.
        seconds: Time after which no further round begins.
        least: Rounds that are run in any case.

    Returns:
        What an :class:`Occasion` is made of, and as ``answers`` the labels that each model gave to its questions.

    Raises:
        SlimfrontError: an artifact is missing or damaged, or the process failed.
    """
    models = [
        {"folder": str(one.folder), "requests": _written(one.requests), "questions": _written(one.questions)}
        for one in entrants
    ]
    task = {"models": models, "seconds": seconds, "least": least, "patience": patience}
    task |= {"rest": rest} if np.isfinite(rest) else {}
    command = [sys.executable, "-m", "slimfront.search.occasion"]
    done = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, check=False)
    if done.returncode:
        last = last_line(done.stderr, done.returncode)
        raise SlimfrontError("the models could not be timed in a process of their own", given=last)
    found: Json = json.loads(done.stdout)
    if "message" in found:
        failure = SlimfrontError(found["message"])
        failure.exit_code = int(found["exit_code"])
        raise failure
    return found


def _written(requests: Requests) -> list[Json]:
    return [{name: rows.tolist() for name, rows in batch.items()} for batch in requests]


def _read(written: list[Json]) -> Requests:
    return tuple({name: np.array(rows, dtype=np.int64) for name, rows in batch.items()} for batch in written)


def _loaded(artifacts: Sequence[Artifact]) -> list[Session]:
    """Load artifacts of one runtime, side by side where it can: nothing is timed yet."""
    if not SESSIONS.get(artifacts[0].runtime, where="artifact").side_by_side:
        return [load(artifact) for artifact in artifacts]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(load, artifacts))


def _labels(logits: npt.NDArray[np.float32]) -> list[int]:
    """Return the label of each row ``(rows, classes)``: no label there is where they are not finite."""
    found: list[int] = np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), NO_LABEL).tolist()
    return found


def main() -> None:
    """Read a task from standard input and write what was found to standard output."""
    # Whatever libraries print goes elsewhere.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        found = _done(json.loads(sys.stdin.read()))
    except SlimfrontError as error:
        found = {"message": str(error), "exit_code": error.exit_code}
    json.dump(found, out, allow_nan=False)
    out.flush()


def _done(task: Json) -> Json:
    sessions = _loaded([Artifact.open(Path(model["folder"])) for model in task["models"]])
    requests = [_read(model["requests"]) for model in task["models"]]
    runs = [partial(run_all, session, asked) for session, asked in zip(sessions, requests, strict=True)]
    threads, rest = sessions[0].threads, task.get("rest", float("inf"))
    times, around = at_rest(runs, threads, rest, task["patience"], task["seconds"], task["least"])
    answers = [
        [label for batch in _read(model["questions"]) for label in _labels(session.run(batch))]
        for session, model in zip(sessions, task["models"], strict=True)
    ]
    tokens = [widths(asked) for asked in requests]
    return {"times": times.tolist(), "tokens": tokens, "conditions": around, "answers": answers}


if __name__ == "__main__":
    main()
