"""What every exported model has beside its own files: tokenizer, record, examples and model card."""

from __future__ import annotations

import json
import subprocess
import sys
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from slimfront.objectives.download import downloaded
from slimfront.objectives.runtimes.artifact import Artifact
from slimfront.search.export.card import Use, model_card
from slimfront.search.export.exporter import RECORD, Exported, Exporter
from slimfront.search.records import Records
from slimfront.studies.cache import file_sha256
from slimfront.studies.data import Splits, load_splits
from slimfront.studies.errors import RecordsError
from slimfront.studies.models import load_tokenizer
from slimfront.studies.renumbering import with_backend

Json = dict[str, Any]
EXAMPLES, CARD = "examples.jsonl", "README.md"
# Sentences of a batch where files are read that the search did not measure: they compute in floats, whatever the batch.
AT_ONCE = 32


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
    """

    format: ClassVar[str]

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
        tokens = [Path(path) for path in tokenizer.save_pretrained(str(folder)) if Path(path).is_file()]
        splits = load_splits(study.data)
        record = {
            **record_of(source, self.format),
            "labels": list(splits.labels),
            "max_tokens": study.model.max_tokens,
            "batch": AT_ONCE if made.predictions is None else study.target.batch,
            "tokenizer": {path.name: file_sha256(path) for path in tokens},
        }
        write_record(record, folder)
        if made.predictions is not None:
            _write_examples(splits, made.predictions, folder)
        else:
            _write_examples(splits, [-1] * len(splits.search.texts), folder)
            fresh = self._run(folder)
            record["exported"] = {"size": made.artifact.size(), "accuracy": fresh["accuracy"]}
            write_record(record, folder)
            _write_examples(splits, fresh["predictions"], folder)
        if not source.examples:
            (folder / EXAMPLES).unlink()
        (folder / CARD).write_text(model_card(source, record, made.artifact, self.use(folder)), encoding="utf-8")

    def verify(self, folder: Path) -> Json:
        """See :meth:`Exporter.verify`; without examples only the files are compared."""
        artifact = Artifact.open(folder)
        values, tokens = _recorded(folder / RECORD)
        for name, total in tokens.items():
            path = folder / Path(name).name
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
            raise RecordsError(
                "the exported model does not run", where=str(folder), given=process.stderr.strip()[-400:]
            )
        fresh: Json = json.loads(process.stdout.splitlines()[-1])
        return fresh


def record_of(source: Exported, to: str) -> Json:
    """Return what the record of every format tells: the point as the search measured it."""
    point = source.point
    return {
        "schema_version": 1,
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
        "lock": Records(source.run.folder).lock(),
    }


def write_record(record: Json, folder: Path) -> None:
    """Write the record that the folder is verified against."""
    (folder / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _write_examples(splits: Splits, predictions: list[int], folder: Path) -> None:
    rows = zip(splits.search.texts, splits.search.labels, predictions, strict=True)
    lines = [json.dumps({"text": text, "label": label, "prediction": p}) for text, label, p in rows]
    (folder / EXAMPLES).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _recorded(path: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Return the recorded values of the files, and the sums of the tokenizer's."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        values = {str(name): float(value) for name, value in record.get("exported", record["values"]).items()}
        return values, {str(name): str(total) for name, total in record.get("tokenizer", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordsError(
            "the export's record is damaged", where=str(path), given=str(error), hint="export the point again"
        ) from None


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
