"""What every exported model has beside its own files: tokenizer, record, examples and model card."""

from __future__ import annotations

import json
import subprocess
import sys
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from slimfront.objectives.artifact import Artifact
from slimfront.objectives.download import downloaded
from slimfront.objectives.sessions.session import reading_batch
from slimfront.search.export.card import Use, model_card
from slimfront.search.export.exporter import Exported, Exporter, read_record, write_record
from slimfront.studies.cache import file_sha256
from slimfront.studies.data import Splits, load_splits
from slimfront.studies.errors import MissingError, RecordsError, last_line
from slimfront.studies.models import load_tokenizer
from slimfront.studies.renumbering import with_backend

Json = dict[str, Any]
EXAMPLES, CARD = "examples.jsonl", "README.md"


@dataclass(frozen=True)
class Made:
    """What a format's own files need beside them.

    Attributes:
        artifact: The files, sealed.
        tokenizer: The state of the model's own tokenizer; None where it reads as the dense model does.
        predictions: Of the files on the search split, where they are known.
    """

    artifact: Artifact
    tokenizer: str | None
    predictions: list[int] | None


class ModelFolder(Exporter):
    """A model, ready to be run.

    Attributes:
        format: The format's name.
        batch: Sentences of a batch where files are read that the search did not measure: they compute in floats,
            whatever the batch.
    """

    format: ClassVar[str]
    batch: ClassVar[int] = 32

    @abstractmethod
    def make(self, source: Exported, folder: Path) -> Made:
        """Write and seal the files of the model into an empty folder.

        Raises:
            StudyError: the format cannot hold this point.
        """

    @abstractmethod
    def use(self, folder: Path) -> Use:
        """Return how the files in a folder are used."""

    def export(self, source: Exported, folder: Path) -> None:
        """See :meth:`Exporter.export`; files that the search did not measure are measured in a fresh process."""
        made, study = self.make(source, folder), source.run.study
        tokenizer = load_tokenizer(study.model)
        if made.tokenizer is not None:
            tokenizer = with_backend(tokenizer, made.tokenizer)
        tokenizer.save_pretrained(str(folder))
        splits = load_splits(study.data)
        record = {
            **record_of(source, self.format),
            "labels": list(splits.labels),
            "max_tokens": study.model.max_tokens,
            "batch": self.batch if made.predictions is None else reading_batch(source.runtime, study.target.batch),
        }
        if made.predictions is not None:
            _write_examples(splits, made.predictions, folder)
        else:
            _write_examples(splits, [-1] * len(splits.search.texts), folder)
            write_record(folder, record)
            fresh = self._run(folder)
            record["exported"] = {"size": made.artifact.size(), "accuracy": fresh["accuracy"]}
            _write_examples(splits, fresh["predictions"], folder)
        if not source.examples:
            (folder / EXAMPLES).unlink()
        (folder / CARD).write_text(model_card(source, record, made.artifact, self.use(folder)), encoding="utf-8")
        write_record(folder, record)

    def verify(self, folder: Path) -> Json:
        """See :meth:`Exporter.verify`; without examples only the files are compared."""
        artifact = Artifact.open(folder)
        record = read_record(folder)
        values = record["values"]
        for name, total in record["files"].items():
            # Names are the record's: none may lead elsewhere.
            path = folder / Path(name).name
            if name in (EXAMPLES, CARD) and not path.exists():
                continue
            require_equal(name, file_sha256(path) if path.is_file() else "no such file", total, folder)
        found: Json = {"bytes": artifact.size(), "examples": 0}
        if "size" in values:
            require_equal("bytes", artifact.size(), values["size"], folder)
        if "download" in values:
            require_equal("bytes to download", downloaded(artifact), values["download"], folder)
        if not (folder / EXAMPLES).is_file():
            return found
        fresh = self._run(folder)
        require_equal("predictions that differ", fresh["different"], 0, folder)
        if "accuracy" in values:
            require_equal("accuracy", fresh["accuracy"], values["accuracy"], folder)
        return {**found, "examples": fresh["examples"], "accuracy": fresh["accuracy"]}

    def _run(self, folder: Path) -> Json:
        """Run a folder over its own examples in a fresh process; see :func:`slimfront.search.export.fresh.reading`."""
        program = f"slimfront.search.export.fresh.{self.format.replace('-', '_')}"
        process = subprocess.run(
            [sys.executable, "-m", program, str(folder)], capture_output=True, text=True, check=False
        )
        if process.returncode:
            last = last_line(process.stderr, process.returncode)
            if last.startswith("ModuleNotFoundError"):
                hint = f"install what {folder / CARD} names"
                raise MissingError("what runs this model is not installed", where=str(folder), given=last, hint=hint)
            raise RecordsError("the exported model does not run", where=str(folder), given=last, hint="export it again")
        fresh: Json = json.loads(process.stdout.splitlines()[-1])
        return fresh


def record_of(source: Exported, to: str) -> Json:
    """Return what the record of every format tells: the point as the search measured it."""
    point = source.point
    return {
        "format": to,
        "study": source.run.study.name,
        "trial": point.trial,
        "values": dict(point.values),
        "intervals": {name: list(pair) for name, pair in point.intervals.items()},
        "held_out": dict(point.held_out),
        "changes": dict(point.changes),
        "final": dict(point.final),
        "dense": dict(source.front.dense.values),
        "configuration": dict(point.configuration),
        "lock": dict(source.lock),
    }


def _write_examples(splits: Splits, predictions: list[int], folder: Path) -> None:
    rows = zip(splits.search.texts, splits.search.labels, predictions, strict=True)
    lines = [json.dumps({"text": text, "label": label, "prediction": p}) for text, label, p in rows]
    (folder / EXAMPLES).write_text("\n".join(lines) + "\n", encoding="utf-8")


def require_equal(what: str, found: object, recorded: object, folder: Path) -> None:
    """Require that something is what was recorded.

    Raises:
        RecordsError: it is not.
    """
    if found != recorded:
        raise RecordsError(
            f"{what}: not what was recorded",
            where=str(folder),
            given=found,
            allowed=str(recorded),
            hint="export the point again; on another kind of processor the arithmetic itself may differ",
        )
