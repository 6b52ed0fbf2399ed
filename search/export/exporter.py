"""The exporters' contract, and the export and verification of a point."""

from __future__ import annotations

import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from slimfront.search.front import Front, Point
from slimfront.search.rebuild import recorded
from slimfront.search.run import Run
from slimfront.studies.errors import StudyError
from slimfront.studies.registry import Registry

Json = dict[str, Any]
RECORD = "record.json"


@dataclass(frozen=True)
class Exported:
    """What an exporter is given.

    Attributes:
        run: The run.
        front: Its front.
        point: The point to export.
        examples: Whether the search split's texts go along, so that the export can be verified anywhere.
    """

    run: Run
    front: Front
    point: Point
    examples: bool


class Exporter(ABC):
    """Writes a point in one format.

    Attributes:
        runtime: The target whose artifacts it writes; None where it makes files of its own, whatever the target.
    """

    runtime: ClassVar[str | None] = None

    @abstractmethod
    def export(self, source: Exported, folder: Path) -> None:
        """Write the deployable files into an empty folder.

        Raises:
            StudyError: the format cannot hold this point.
        """

    @abstractmethod
    def verify(self, folder: Path) -> Json:
        """Load ``folder`` alone in a fresh process and compare it with its record.

        Returns:
            What was compared: ``bytes``, ``accuracy``, ``examples``.

        Raises:
            RecordsError: something is not what was recorded.
        """


EXPORTERS: Registry[Exporter] = Registry("export format", "slimfront.search.export")


def export(run: Path, trial: int, out: Path, to: str | None = None, examples: bool = True) -> Path:
    """Export a trial of a run.

    Args:
        run: The run folder.
        trial: The trial's number.
        out: The folder to write, empty or new.
        to: The format; None is that of the run's target.
        examples: Whether the search split's texts go along for verification.

    Raises:
        StudyError: the trial or the format does not exist, or ``out`` is not empty.
    """
    opened = Run.open(run)
    exporter = EXPORTERS.get(format_of(opened.study.target.runtime) if to is None else to, where="--to")()
    front = opened.front()
    point = next((p for p in front.everything if p.trial == trial), None)
    if point is None:
        recorded(opened, trial)
        raise StudyError("this trial repeats an earlier one", where="--trial", given=trial, hint="export that one")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StudyError("the folder is not empty", where="--out", given=str(out), hint="name an empty or a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        exporter.export(Exported(opened, front, point, examples), scratch)
        if out.exists():
            out.rmdir()
        scratch.chmod(0o755)
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out


def format_of(runtime: str) -> str:
    """Return the format of a target's own files."""
    return next(name for name in EXPORTERS if EXPORTERS.get(name, where="--to").runtime == runtime)


def verify(folder: Path) -> Json:
    """Verify an exported folder against its record; see :meth:`Exporter.verify`.

    Raises:
        StudyError: this is no exported folder.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        name = str(record["format"])
    except (OSError, ValueError, KeyError, TypeError):
        raise StudyError(
            "this is not an exported folder",
            where=str(folder),
            allowed=f"a folder with {RECORD}",
            hint="name what 'slimfront export --out' wrote",
        ) from None
    return EXPORTERS.get(name, where=f"{folder / RECORD}: format")().verify(folder)
