"""Progress on standard error: bars and the best points on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from slimfront.search.inspect.table import times
from slimfront.search.launching import Listener
from slimfront.search.standing import Progress as SearchProgress
from slimfront.search.trial import Trial
from slimfront.studies.limits import readable

EVERY_S = 5.0


class Bars(Progress):
    """A bar, and under it whatever ``below`` is."""

    below: RenderableType = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is drawn."""
        yield self.make_tasks_table(self.tasks)
        if self.below:
            yield self.below


class Display:
    """Shows what a search tells; use it as a context.

    Args:
        console: Where to; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self._live = console.is_terminal
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            BarColumn(bar_width=12),
            TextColumn("{task.percentage:>3.0f} %{task.fields[limit]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=not self._live,
            transient=True,
        )
        self._task = self._bars.add_task("starting", total=1.0, left="", limit="")
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
        told = f"trial {progress.done} of {max(progress.done, progress.trials)}"
        extra = [f"{progress.cached} answered from the records"] if progress.cached else []
        extra += [f"{progress.stopped} stopped early"] if progress.stopped else []
        extra += [f"{progress.failed} failed"] if progress.failed else []
        left = f"{_duration(progress.remaining)} left" if progress.remaining is not None else ""
        limit = "" if progress.limit == "trials" else f" of the {progress.limit}"
        if self._live:
            self._bars.below = front_so_far(progress, extra)
            self._show(told, progress.share, left, limit)
        else:
            best = f": {progress.best}" if progress.best else ""
            self._show(", ".join([told, *extra, *([left] if left else [])]) + best, progress.share, limit=limit)

    def _show(self, text: str, share: float, left: str = "", limit: str = "") -> None:
        stage = text.split(",")[0].split(" of ")[0].rstrip("0123456789 ")
        left = left or self._left(stage, share)
        if self._live:
            if stage != self._stage:
                self._bars.reset(self._task, description=text, left=left, limit=limit)
            self._bars.update(self._task, description=text, completed=min(share, 1.0), left=left, limit=limit)
        elif stage != self._stage or share >= 1 or time.monotonic() - self._said > EVERY_S:
            print(f"{text} ({share:.0%}{limit}{left and f', {left}'})", file=sys.stderr, flush=True)
            self._said = time.monotonic()
        if stage != self._stage:
            self._began = time.monotonic(), share
        self._stage = stage

    def _left(self, stage: str, share: float) -> str:
        """Return the time that a stage is still going to take at its pace so far, where that can be told."""
        spent, done = time.monotonic() - self._began[0], share - self._began[1]
        if stage != self._stage or spent < EVERY_S or done <= 0 or share >= 1 or stage.startswith("trial"):
            return ""
        return f"{_duration(spent * (1 - share) / done)} left"


def front_so_far(progress: SearchProgress, counts: Iterable[str]) -> RenderableType:
    """Return a table of the best points so far, each against the dense model, or nothing before there is one."""
    dense = progress.dense
    if dense is None:
        return ""
    bounds = f", within {' and '.join(progress.limits)}" if progress.limits else ""
    said = "; ".join([*counts, progress.best])
    if not progress.leaders:
        return f"{said}; nothing but the dense model so far{bounds}"
    table = Table(title=f"best points so far{bounds}", caption=said, title_justify="left", caption_justify="left")
    for name in ("trial", *progress.objectives):
        table.add_column(name, justify="right")
    for trial in progress.leaders:
        cells = [_against(trial, dense, name, str(entry["unit"])) for name, entry in progress.objectives.items()]
        table.add_row(str(trial.number), *cells)
    return table


def _against(trial: Trial, dense: Trial, name: str, unit: str) -> str:
    """Return a value, and how it compares with the dense model's."""
    value, base = trial.value(name), dense.value(name)
    change = f" ({100 * (value - base):+.1f} points)" if unit == "fraction" else times(value, base)
    return readable(value, unit) + change


def _duration(seconds: float) -> str:
    """Return a duration in the unit in which people count it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
