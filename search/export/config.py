"""Exports what a point was made of, without weights: enough to make its files once more."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimfront.objectives.artifact import Artifact
from slimfront.search.export.card import written
from slimfront.search.export.exporter import EXPORTERS, Exported, Exporter, write_record
from slimfront.search.export.folder import CARD, record_of, require_equal
from slimfront.search.rebuild import answered, recorded, require_made
from slimfront.studies.errors import RecordsError, StudyError
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import Study

Json = dict[str, Any]
FILE = "configuration.json"
EXAMPLE = """\
```python
from pathlib import Path

from slimfront.search.export.config import Recipe

recipe = Recipe.read(Path("."))  # this folder
files = recipe.make(Path("model"))
print(files)
```"""
VERIFY = """\
`slimfront verify .` makes the files in a fresh process and compares their SHA-256 sums with those that were measured.
It needs the model and the data that the study in `configuration.json` names."""
TOLD = """\
This folder holds no weights: the study, the configuration, and a lock of all that the files depended on. The same
versions and processor make the same files of it; where they come out otherwise it says what differs."""


@dataclass(frozen=True)
class Recipe:
    """What a point was made of.

    Attributes:
        study: The study that was searched.
        trial: The point's number.
        configuration: What was tried.
        files: SHA-256 of each file that was measured.
        lock: What they depended on.
    """

    study: Study
    trial: int
    configuration: Json
    files: dict[str, str]
    lock: Json

    @classmethod
    def read(cls, folder: Path) -> Recipe:
        """Read an exported folder.

        Raises:
            RecordsError: it is damaged.
        """
        Artifact.open(folder)
        path = folder / FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            study = parse_study(data["study"], str(path))
            files = {str(name): str(total) for name, total in data["files"].items()}
            return cls(study, int(data["trial"]), dict(data["configuration"]), files, dict(data["lock"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, StudyError) as error:
            raise RecordsError(
                "the export is damaged", where=str(path), given=str(error), hint="export the point again"
            ) from None

    def make(self, folder: Path) -> dict[str, str]:
        """Make the files in a fresh process and return their sums, which equal those that were measured.

        Args:
            folder: A new folder for the files; nothing is left there when they are others.

        Raises:
            RecordsError: the files are others; what differs here is named.
            SlimfrontError: they cannot be made.
        """
        task = {"do": "rebuild", "configuration": self.configuration, "predictions": False}
        task |= {"folder": str(folder.resolve())}
        with tempfile.TemporaryDirectory() as scratch:
            answer = answered(self.study, Path(scratch) / "worker.log", task)
        require_made(answer, self.trial, self.files, self.lock, folder)
        return dict(answer["files"])


@EXPORTERS.register("config")
class ConfigExporter(Exporter):
    """A configuration and the lock of what its files depended on, as JSON."""

    def export(self, source: Exported, folder: Path) -> None:
        """See :meth:`Exporter.export`."""
        trial, record = recorded(source.run, source.point.trial), record_of(source, "config")
        recipe = {
            "schema_version": 1,
            "study": source.run.study.model_dump(mode="json"),
            "trial": trial.number,
            "configuration": record["configuration"],
            "files": dict(trial.files),
            "lock": record["lock"],
        }
        (folder / FILE).write_text(json.dumps(recipe, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        record["exported"] = {"size": Artifact.seal(folder, [FILE], "config", {}).size()}
        card = written(source, "config", "slimfront", (), {"files": TOLD}, EXAMPLE, VERIFY)
        (folder / CARD).write_text(card, encoding="utf-8")
        write_record(folder, record)

    def verify(self, folder: Path) -> Json:
        """See :meth:`Exporter.verify`: the files are made again, by this folder alone, and their sums compared."""
        recipe = Recipe.read(folder)
        with tempfile.TemporaryDirectory() as scratch:
            made = recipe.make(Path(scratch) / "artifact")
        size = (folder / FILE).stat().st_size
        require_equal("files", made, recipe.files, folder)
        return {"bytes": size, "examples": 0, "files": made}
