"""The coordinator's end of a worker process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimfront.search.failures import CRASHED, WorkerDied
from slimfront.studies.errors import SlimfrontError

if TYPE_CHECKING:
    # Read late: a first process is started while this one still imports its libraries.
    from slimfront.search.watch import Allowance

Json = dict[str, Any]
Progress = Callable[[str, float], None]
WORKER = "slimfront.search.worker"

_waiting: list[subprocess.Popen[str]] = []


def warm_up() -> None:
    """Start the process of the worker that will be prepared first: it imports its libraries while this one does."""
    _waiting.append(_spawn({}))


def cool_down() -> None:
    """End a process that was started early and that nobody needed."""
    while _waiting:
        _end(_waiting.pop())


def _spawn(more: dict[str, str]) -> subprocess.Popen[str]:
    # Where its log goes the process is told in its first line.
    return subprocess.Popen(
        [sys.executable, "-m", WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false", **more},
        start_new_session=True,
    )


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a process with everything that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[str]) -> int:
    """Kill a process, unless it has ended, and return its exit status."""
    _kill(process)
    return process.wait()


def _told(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


class Remote:
    """A worker process that is started on the first task.

    Args:
        study: The study as JSON.
        log: A file for whatever the process prints.
        allowance: What one task may take.

    Attributes:
        answered: How many tasks the process has answered.
    """

    def __init__(self, study: Json, log: Path, allowance: Allowance) -> None:
        self._study, self._log, self._allowance = study, log, allowance
        self._process: subprocess.Popen[str] | None = None
        self.answered = 0

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
            WorkerDied: the process ended, or was ended, for it took more than it may; the next task starts another.
            SlimfrontError: the worker could not load the study.
        """
        from slimfront.search.watch import Watch

        if self._process is None or self._process.poll() is not None:
            self._start(False, lambda _text, _share: None)
        process = self._process
        assert process is not None
        with Watch(process.pid, self._allowance, self._log, lambda _kind, _message: _kill(process)) as watch:
            try:
                answer = self._exchange(task)
            except WorkerDied as death:
                if watch.verdict is None:
                    raise
                raise WorkerDied(*watch.verdict) from death
        self.answered += 1
        if answer.pop("leaving", False):
            self.kill()
        return answer

    def _start(self, guide: bool, progress: Progress) -> Json:
        self.answered = 0
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
            answer: Json = json.loads(line) if line.endswith("\n") else {}
        except (OSError, ValueError) as error:
            raise WorkerDied(CRASHED, f"{_told(_end(process))}; {error}; see {self._log}") from error
        if not answer:
            raise WorkerDied(CRASHED, f"{_told(_end(process))}; see {self._log}")
        return answer

    def kill(self) -> None:
        """End the process at once, with everything that it started."""
        if self._process is not None:
            _end(self._process)
