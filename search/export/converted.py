"""Formats that are made of a point's compressed weights, whatever the target of its run."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from slimfront.objectives.artifact import Artifact
from slimfront.search.answers import TOKENIZER
from slimfront.search.export.exporter import EXPORTERS, Exported
from slimfront.search.export.folder import Made, ModelFolder
from slimfront.search.lock import lock
from slimfront.search.rebuild import answered, recorded, require_made
from slimfront.spaces.assembly import assembled
from slimfront.spaces.draft import Draft
from slimfront.studies.compressed import CompressedModel
from torch import nn

if TYPE_CHECKING:
    from slimfront.search.evaluator import Evaluator
    from slimfront.spaces.configuration import Configuration

Json = dict[str, Any]


@dataclass(frozen=True)
class Compressed:
    """A compressed model, as a format is given it.

    Attributes:
        dense: The dense module.
        draft: What was made of it.
        model: The weights.
        example: A small real batch, ``(rows, tokens)`` each.
        max_tokens: Longer texts are cut.
    """

    dense: nn.Module
    draft: Draft
    model: CompressedModel
    example: Mapping[str, torch.Tensor]
    max_tokens: int

    @cached_property
    def module(self) -> nn.Module:
        """The module in floats, from which all that is removed is really gone."""
        return assembled(self.dense, self.draft, self.model.tensors)


class Converted(ModelFolder):
    """Files that the search did not measure: they are made in a worker, and then measured."""

    @abstractmethod
    def convert(self, compressed: Compressed, folder: Path) -> list[str]:
        """Write the files of a compressed model into an empty folder and return their names.

        Raises:
            StudyError: the format cannot hold this model.
            MissingError: a package that writes the format is not installed.
        """

    def options(self, compressed: Compressed) -> Json:  # noqa: ARG002
        """Return what else must be known to load the files."""
        return {}

    def make(self, source: Exported, folder: Path) -> Made:
        """See :meth:`ModelFolder.make`.

        The worker makes the artifact of the run's target as well: where it is the one that was measured, so are the
        weights.

        Raises:
            RecordsError: it is another one; what differs here is named.
        """
        run, trial = source.run, recorded(source.run, source.point.trial)
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) / "artifact"
            task = {"do": "convert", "configuration": dict(trial.configuration), "folder": str(place)}
            task |= {"to": self.format, "out": str(folder.resolve())}
            answer = answered(run.study, run.folder / "logs" / "rebuild.log", task)
            require_made(answer, trial.number, trial.files, run.records().lock(), place)
            own = place / TOKENIZER
            tokenizer = own.read_text(encoding="utf-8") if own.is_file() else None
        return Made(Artifact.open(folder), tokenizer, None)


def convert(evaluator: Evaluator, configuration: Configuration, place: Path, to: str, folder: Path) -> Json:
    """Write a configuration's artifact, and its model in another format; return the artifact's sums and the lock.

    Args:
        evaluator: Makes the compressed model.
        configuration: The point.
        place: Where the artifact goes.
        to: The format.
        folder: An empty folder for the model.

    Raises:
        StudyError: the format cannot hold this model.
    """
    exporter = EXPORTERS.get(to, where="--to")()
    assert isinstance(exporter, Converted)
    model = evaluator.compress(configuration)
    artifact = evaluator.write(configuration, model, place)
    subject, draft = evaluator.subject, evaluator.space.draft(evaluator.scores, configuration)
    example = evaluator.reader(configuration).example()
    compressed = Compressed(subject.module, draft, model, example, subject.max_tokens)
    names = exporter.convert(compressed, folder)
    Artifact.seal(folder, names, to, {"threads": evaluator.study.target.threads, **exporter.options(compressed)})
    return {"files": dict(artifact.files), "lock": lock(evaluator)}
