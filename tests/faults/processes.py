"""Searches whose trials take no time, each in a process of its own. With ``SLIMFRONT_FAULTS`` all faults are tried."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from slimfront.search import remote
from slimfront.search.records import Records
from slimfront.search.trial import Trial
from slimfront.studies.errors import RecordsError

from tests.faults.mutations import SCALE
from tests.faults.trivial import GUIDE

ALL = SCALE >= 1
WORKER = "tests.faults.trivial"


@dataclass(frozen=True)
class Trivial:
    """A study of trivial trials.

    Attributes:
        study: Its file.
        runs: Where run folders go.
    """

    study: Path
    runs: Path

    def start(self, run: str, *options: object) -> int:
        """Start its search in a fork of this process, which has imported the libraries already; return the id."""
        child = os.fork()
        if child:
            return child
        try:
            os.setsid()
            # Until the command listens, the signal ends this process, whose Python is somewhere in these tests.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            null = os.open(os.devnull, os.O_RDWR)
            log = os.open(self.runs / f"{run}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            for own, file in ((0, null), (1, log), (2, log)):
                os.dup2(file, own)
            sys.stdout, sys.stderr = (os.fdopen(own, "w", encoding="utf-8", closefd=False) for own in (1, 2))
            remote.WORKER = WORKER
            sys.argv = ["slimfront", "launch", str(self.study), "--run", str(self.runs / run), *map(str, options)]
            from slimfront.search.cli import main

            main()
        finally:
            os._exit(99)

    def launch(self, run: str, *options: object) -> int:
        """Search to the end; return the exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.start(run, *options), 0)[1])

    def trials(self, run: str) -> list[Trial]:
        """Return the trials in a run's records; none where it was ended before there were any."""
        try:
            return Records(self.runs / run).trials()
        except RecordsError as error:
            if "no records" in str(error) or "no study" in str(error):
                return []
            raise

    def list(self, run: str) -> list[tuple[Any, ...]]:
        """Return what a seed must repeat."""
        return [(t.number, t.state, t.configuration, t.measurements) for t in self.trials(run)]

    def told(self, run: str) -> str:
        """Return what the commands on a run have printed."""
        return (self.runs / f"{run}.log").read_text()


def workers() -> list[int]:
    """Return the ids of all trivial workers that run, but for those of tests that run beside these."""
    found = [p for p in psutil.process_iter(["cmdline", "status"]) if WORKER in (p.info["cmdline"] or ())]
    return [p.pid for p in found if p.info["status"] != psutil.STATUS_ZOMBIE and _own(p)]


def _own(process: psutil.Process) -> bool:
    try:
        return bool(process.environ().get(GUIDE) == os.environ[GUIDE])
    except psutil.Error:
        return False


def wait_for(condition: Callable[[], bool], most: float = 60.0) -> bool:
    """Wait until a condition holds; return whether it does."""
    deadline = time.monotonic() + most
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds
