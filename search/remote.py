"""The coordinator's end of a worker process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slimfront.studies.errors import SlimfrontError

Json = dict[str, Any]
Progress = Callable[[str, float], None]


_waiting: list[subprocess.Popen[str]] = []


class WorkerDied(Exception):
    """The worker's process ended in the middle of a task."""


def warm_up() -> None:
    """Start the process of the worker that will be prepared first: it imports its libraries while this one does."""
    _waiting.append(_spawn({}))


def cool_down() -> None:
    """End a process that was started early and that nobody needed."""
    while _waiting:
        _waiting.pop().kill()


def _spawn(more: dict[str, str]) -> subprocess.Popen[str]:
    # Where its log goes the process is told in its first line.
    return subprocess.Popen(
        [sys.executable, "-m", "slimfront.search.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false", **more},
        start_new_session=True,
    )


class Remote:
    """A worker process that is started on the first task.

    Args:
        study: The study as JSON.
        log: A file for whatever the process prints.
    """

    def __init__(self, study: Json, log: Path) -> None:
        self._study, self._log = study, log
        self._process: subprocess.Popen[str] | None = None

    def prepare(self, progress: Progress) -> Json:
        """Start the process with a guide to the model and return it; see :func:`slimfront.search.guide.guide`.

        Args:
            progress: Called with a text and the finished share.

        Raises:
            WorkerDied: the process ended.
            SlimfrontError: the worker could not load the study.
        """
        told: Json = self._start(True, progress)["guide"]
        return told

    def ask(self, task: Json) -> Json:
        """Return the worker's answer to a task.

        Raises:
            WorkerDied: the process ended; the next task starts another.
            SlimfrontError: the worker could not load the study.
        """
        if self._process is None or self._process.poll() is not None:
            self._start(False, lambda _text, _share: None)
        return self._exchange(task)

    def _start(self, guide: bool, progress: Progress) -> Json:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        # One thread per process: several would fight over the cores of the other workers.
        waiting = _waiting.pop() if guide and _waiting else None
        self._process = waiting or _spawn({} if guide else {"OMP_NUM_THREADS": "1"})
        answer = self._exchange({"study": self._study, "guide": guide, "log": str(self._log.resolve())}, progress)
        if "error" in answer:
            failure = SlimfrontError(answer["message"])
            failure.exit_code = int(answer["exit_code"])
            raise failure
        return answer

    def _exchange(self, message: Json, progress: Progress = lambda _text, _share: None) -> Json:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(message, allow_nan=False) + "\n")
            process.stdin.flush()
            while (line := process.stdout.readline()).startswith('{"progress"'):
                if line.endswith("\n"):
                    progress(*json.loads(line)["progress"])
        except (BrokenPipeError, ValueError, OSError) as error:
            raise WorkerDied(str(error)) from error
        if not line.endswith("\n"):
            raise WorkerDied(f"exit status {process.wait()}; see {self._log}")
        answer: Json = json.loads(line)
        return answer

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
