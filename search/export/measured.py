"""Exports the measured files as they are, with tokenizer, model card, record and verification examples."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

from slimfront.objectives.download import downloaded
from slimfront.objectives.runtimes.artifact import MANIFEST, Artifact
from slimfront.search.evaluator import TOKENIZER
from slimfront.search.export.card import Use, model_card
from slimfront.search.export.exporter import RECORD, Exported, Exporter, format_of
from slimfront.studies.cache import file_sha256
from slimfront.studies.data import load_splits
from slimfront.studies.errors import RecordsError, StudyError
from slimfront.studies.models import load_tokenizer
from slimfront.studies.renumbering import with_backend

Json = dict[str, Any]
EXAMPLES = "examples.jsonl"


class MeasuredFiles(Exporter):
    """The artifact's own bytes: nothing is converted again.

    Attributes:
        format: The format's name.
        use: What the model card says of it.
    """

    format: ClassVar[str]
    use: ClassVar[Use]

    def export(self, source: Exported, folder: Path) -> None:
        """See :meth:`Exporter.export`."""
        if source.artifact.runtime != self.runtime:
            known = format_of(source.artifact.runtime)
            raise StudyError(
                "this run measured the files of another runtime",
                where="--to",
                given=self.format,
                allowed=known,
                hint=f"move the front with 'slimfront remeasure --target {self.runtime}' and export with that --target,"
                f" search the study with it, or export to {known}",
            )
        for name in (*source.artifact.files, MANIFEST):
            shutil.copyfile(source.artifact.folder / name, folder / name)
        study = source.run.study
        tokenizer, own = load_tokenizer(study.model), source.artifact.folder / TOKENIZER
        if own.is_file():
            tokenizer = with_backend(tokenizer, own.read_text(encoding="utf-8"))
        tokens = [Path(path) for path in tokenizer.save_pretrained(str(folder)) if Path(path).is_file()]
        splits = load_splits(study.data)
        record = {
            "schema_version": 1,
            "format": self.format,
            "study": study.name,
            "trial": source.point.trial,
            "values": dict(source.point.values),
            "intervals": {name: list(pair) for name, pair in source.point.intervals.items()},
            "held_out": dict(source.point.held_out),
            "changes": dict(source.point.changes),
            "final": dict(source.point.final),
            "dense": dict(source.front.dense.values),
            "configuration": dict(source.point.configuration),
            "labels": list(splits.labels),
            "max_tokens": study.model.max_tokens,
            "batch": study.target.batch,
            "lock": dict(source.lock),
            "tokenizer": {path.name: file_sha256(path) for path in tokens},
        }
        (folder / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        if source.examples:
            rows = zip(splits.search.texts, splits.search.labels, source.predictions, strict=True)
            lines = [json.dumps({"text": text, "label": label, "prediction": p}) for text, label, p in rows]
            (folder / EXAMPLES).write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(model_card(source, splits.labels, self.use), encoding="utf-8")

    def verify(self, folder: Path) -> Json:
        """See :meth:`Exporter.verify`; without examples only the files are compared."""
        artifact = Artifact.open(folder)
        values, tokens = _recorded(folder / RECORD)
        for name, total in tokens.items():
            path = folder / Path(name).name
            _require_equal(name, file_sha256(path) if path.is_file() else "no such file", total, folder)
        found: Json = {"bytes": artifact.size(), "examples": 0}
        if "size" in values:
            _require_equal("bytes", artifact.size(), values["size"], folder)
        if "download" in values:
            _require_equal("bytes to download", downloaded(artifact), values["download"], folder)
        if not (folder / EXAMPLES).is_file():
            return found
        process = subprocess.run(
            [sys.executable, "-m", f"slimfront.search.export.fresh.{self.format}", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise RecordsError(
                "the exported model does not run", where=str(folder), given=process.stderr.strip()[-400:]
            )
        fresh = json.loads(process.stdout.splitlines()[-1])
        _require_equal("predictions that differ", fresh["different"], 0, folder)
        if "accuracy" in values:
            _require_equal("accuracy", fresh["accuracy"], values["accuracy"], folder)
        return {**found, "examples": fresh["examples"], "accuracy": fresh["accuracy"]}


def _recorded(path: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Return the recorded values, and the sums of the tokenizer's files."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        values = {str(name): float(value) for name, value in record["values"].items()}
        return values, {str(name): str(total) for name, total in record.get("tokenizer", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordsError(
            "the export's record is damaged", where=str(path), given=str(error), hint="export the point again"
        ) from None


def _require_equal(what: str, found: object, recorded: object, folder: Path) -> None:
    if found != recorded:
        raise RecordsError(
            f"{what}: not what was recorded",
            where=str(folder),
            given=found,
            allowed=str(recorded),
            hint="export the point again; on another kind of processor the arithmetic itself may differ",
        )
