"""Exports the measured files as they are: nothing is converted again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import ClassVar

from slimfront.objectives.artifact import MANIFEST, Artifact
from slimfront.search.answers import PREDICTIONS, TOKENIZER
from slimfront.search.export.card import Use
from slimfront.search.export.exporter import EXPORTERS, Exported, format_of
from slimfront.search.export.folder import Made, ModelFolder
from slimfront.search.rebuild import rebuild, recorded, sound
from slimfront.search.run import Run
from slimfront.studies.errors import StudyError


class MeasuredFiles(ModelFolder):
    """The artifact's own bytes.

    Attributes:
        used: What the model card says of it.
    """

    used: ClassVar[Use]

    def make(self, source: Exported, folder: Path) -> Made:
        """See :meth:`ModelFolder.make`."""
        if source.runtime != self.runtime:
            known = format_of(source.runtime)
            others = [name for name in EXPORTERS if EXPORTERS.get(name, where="--to").runtime is None]
            raise StudyError(
                "this run measured the files of another runtime",
                where="--to",
                given=self.format,
                allowed=", ".join((known, *others)),
                hint=f"export to {known}; or run 'slimfront remeasure {source.run.folder} --target {self.runtime}',"
                " and export with that --target",
            )
        trial = source.point.trial
        place = source.moved.artifact(trial) if source.moved else _artifact_folder(source.run, trial)
        artifact, own = Artifact.open(place), place / TOKENIZER
        for name in (*artifact.files, MANIFEST):
            shutil.copyfile(place / name, folder / name)
        tokenizer = own.read_text(encoding="utf-8") if own.is_file() else None
        return Made(artifact, tokenizer, json.loads((place / PREDICTIONS).read_text()))

    def use(self, folder: Path) -> Use:  # noqa: ARG002
        """See :meth:`ModelFolder.use`."""
        return self.used


def _artifact_folder(run: Run, number: int) -> Path:
    """Return a trial's artifact; one that was not kept is rebuilt and must equal what was measured."""
    trial, folder = recorded(run, number), run.artifact(number)
    if not sound(folder, trial):
        rebuild(run, trial, folder)
    return folder
