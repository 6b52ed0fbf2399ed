"""The exporters' contract, and the export and verification of a point."""

from __future__ import annotations

import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from slimfront.objectives.artifact import MANIFEST
from slimfront.objectives.runtimes import RUNTIMES
from slimfront.search.front import Front, Point
from slimfront.search.rebuild import recorded
from slimfront.search.remeasured import MovedFront
from slimfront.search.run import Run
from slimfront.studies.cache import digest, folder_sums
from slimfront.studies.errors import RecordsError, StudyError, nearest
from slimfront.studies.registry import Registry

Json = dict[str, Any]
RECORD, VERSION = "record.json", 2


@dataclass(frozen=True)
class Exported:
    """What an exporter is given.

    Attributes:
        run: The run.
        front: Its front.
        point: The point to export.
        examples: Whether the search split's texts go along, so that the export can be verified anywhere.
        lock: What the files depend on.
        moved: The front on the runtime to which it was moved; None where it is that of the search.
    """

    run: Run
    front: Front
    point: Point
    examples: bool
    lock: Mapping[str, Any]
    moved: MovedFront | None = None

    @property
    def runtime(self) -> str:
        """The target whose files were measured."""
        return self.moved.target if self.moved else self.run.study.target.runtime


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


def export(
    run: Path, trial: int, out: Path, to: str | None = None, examples: bool = True, target: str | None = None
) -> Path:
    """Export a trial of a run.

    Args:
        run: The run folder.
        trial: The trial's number.
        out: The folder to write, empty or new.
        to: The format; None is that of the run's target.
        examples: Whether the search split's texts go along for verification.
        target: The runtime to which the front was moved; None is that of the run.

    Raises:
        StudyError: the trial or the format does not exist, or ``out`` is not empty.
    """
    opened = Run.open(run)
    moved = moved_front(opened, target)
    exporter = EXPORTERS.get(format_of(target or opened.study.target.runtime) if to is None else to, where="--to")()
    front, lock = (moved.front, moved.lock) if moved else (opened.front(), opened.records().lock())
    point = next((p for p in front.everything if p.trial == trial), None)
    if point is None and moved:
        known = ", ".join(str(p.trial) for p in front.everything)
        hint = "choose one of those"
        raise StudyError("this trial was not moved", where="--trial", given=trial, allowed=known, hint=hint)
    if point is None:
        hint = f"export trial {recorded(opened, trial).cached_from}"
        raise StudyError("this trial repeats an earlier one", where="--trial", given=trial, hint=hint)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StudyError("the folder is not empty", where="--out", given=str(out), hint="name an empty or a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        exporter.export(Exported(opened, front, point, examples, lock, moved), scratch)
        if out.exists():
            out.rmdir()
        scratch.chmod(0o755)
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out


def moved_front(run: Run, target: str | None) -> MovedFront | None:
    """Return a run's front on the runtime to which it was moved, or None where that is the run's own.

    Raises:
        StudyError: there is no such runtime, or the front was not moved there.
    """
    if target is None or target == run.study.target.runtime:
        return None
    RUNTIMES.get(target, where="--target")
    return MovedFront.open(run, target)


def format_of(runtime: str) -> str:
    """Return the format of a target's own files."""
    return next(name for name in EXPORTERS if EXPORTERS.get(name, where="--to").runtime == runtime)


def verify(folder: Path) -> Json:
    """Verify an exported folder against its record; see :meth:`Exporter.verify`.

    Raises:
        StudyError: this is no exported folder.
        RecordsError: its record is damaged.
    """
    if not (folder / RECORD).is_file():
        near = nearest(folder.name, [path.parent.name for path in folder.parent.glob(f"*/{RECORD}")])
        raise StudyError(
            "this is not an exported folder",
            where=str(folder),
            allowed=f"a folder with {RECORD}",
            hint=f"did you mean {folder.parent / near}?" if near else "name what 'slimfront export --out' wrote",
        )
    name = str(read_record(folder)["format"])
    return EXPORTERS.get(name, where=f"{folder / RECORD}: format")().verify(folder)


def write_record(folder: Path, record: Json) -> None:
    """Write an export's record with its own sum, and with those of all files but the artifact's."""
    own = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    sums = {name: total for name, total in folder_sums(folder).items() if name not in (*own, MANIFEST, RECORD)}
    data = {**record, "schema_version": VERSION, "files": sums}
    text = json.dumps({**data, "sha256": digest(data)}, indent=1, sort_keys=True, allow_nan=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> Json:
    """Return the record of an exported folder; those of the first version have no sum.

    Raises:
        RecordsError: it is damaged.
    """
    path = folder / RECORD
    try:
        data: Json = json.loads(path.read_text(encoding="utf-8"))
        total = data.pop("sha256", None)
        if data["schema_version"] not in (1, VERSION) or (data["schema_version"] > 1 and total != digest(data)):
            raise ValueError("its own sum differs")
        # What is compared, and how it is read.
        return {
            "files": data.get("tokenizer", {}),
            **data,
            "format": str(data["format"]),
            "values": dict(data["exported" if "exported" in data else "values"]),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordsError(
            "the export's record is damaged",
            where=str(path),
            given=f"no {error}" if isinstance(error, KeyError) else str(error),
            hint="export the point again",
        ) from None
