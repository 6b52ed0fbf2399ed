"""Progress on standard error: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from slimfront.search.coordinator import Progress as SearchProgress
from slimfront.search.launching import Listener

EVERY_S = 5.0


class Display:
    """Shows what a search tells; use it as a context."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._live = console.is_terminal
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._live,
        )
        self._task = self._bars.add_task("starting", total=1.0)
        self._said, self._stage = 0.0, ""
        self._began = (time.monotonic(), 0.0)

    def __enter__(self) -> Listener:
        self._bars.start()
        return Listener(self._show, self._trial)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def _trial(self, progress: SearchProgress) -> None:
        extra = f", {progress.cached} answered from the records" if progress.cached else ""
        extra += f", {progress.stopped} stopped early" if progress.stopped else ""
        extra += f", {progress.failed} failed" if progress.failed else ""
        extra += f", {_duration(progress.remaining)} left" if progress.remaining is not None else ""
        best = f": {progress.best}" if progress.best else ""
        self._show(f"trial {progress.done} of {progress.trials}{extra}{best}", progress.done / progress.trials)

    def _show(self, text: str, share: float) -> None:
        stage = text.split(",")[0].split(" of ")[0].rstrip("0123456789 ")
        if self._live:
            if stage != self._stage:
                self._bars.reset(self._task)
            self._bars.update(self._task, description=text, completed=min(share, 1.0))
        elif stage != self._stage or share >= 1 or time.monotonic() - self._said > EVERY_S:
            print(f"{text} ({share:.0%}{self._left(stage, share)})", file=sys.stderr, flush=True)
            self._said = time.monotonic()
        if stage != self._stage:
            self._began = time.monotonic(), share
        self._stage = stage

    def _left(self, stage: str, share: float) -> str:
        """Return the time that a stage is still going to take at its pace so far, where that can be told."""
        spent, done = time.monotonic() - self._began[0], share - self._began[1]
        if stage != self._stage or spent < EVERY_S or done <= 0 or share >= 1 or stage.startswith("trial"):
            return ""
        return f", {_duration(spent * (1 - share) / done)} left"


def _duration(seconds: float) -> str:
    """Return a duration in the unit in which people count it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
