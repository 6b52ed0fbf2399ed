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
from slimfront.search.export.exporter import Exported, Exporter, format_of, read_record, write_record
from slimfront.studies.cache import file_sha256
from slimfront.studies.data import load_splits
from slimfront.studies.errors import RecordsError, StudyError
from slimfront.studies.models import load_tokenizer
from slimfront.studies.renumbering import with_backend

Json = dict[str, Any]
# Either may be left out of what is passed on.
EXAMPLES, CARD = "examples.jsonl", "README.md"


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
        tokenizer.save_pretrained(str(folder))
        splits = load_splits(study.data)
        record = {
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
        }
        if source.examples:
            rows = zip(splits.search.texts, splits.search.labels, source.predictions, strict=True)
            lines = [json.dumps({"text": text, "label": label, "prediction": p}) for text, label, p in rows]
            (folder / EXAMPLES).write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / CARD).write_text(model_card(source, splits.labels, self.use), encoding="utf-8")
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


def _require_equal(what: str, found: object, recorded: object, folder: Path) -> None:
    if found != recorded:
        raise RecordsError(
            f"{what}: not what was recorded",
            where=str(folder),
            given=found,
            allowed=str(recorded),
            hint="export the point again; on another kind of processor the arithmetic itself may differ",
        )
