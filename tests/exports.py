"""What every exporter must keep."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from slimfront.search.export import EXPORTERS
from slimfront.search.export.exporter import read_record, write_record
from slimfront.search.run import Run
from slimfront.studies.errors import RecordsError, StudyError


def require_that_an_export_equals_its_record(name: str, which: str, run: Path, folder: Path) -> None:
    """Export a point and verify it; then damage what was exported.

    Args:
        name: The format.
        which: ``knee``, or ``dominated``: a point whose files were not kept.
        run: A finished run of the format's target.
        folder: An empty folder.
    """
    front = Run.open(run).front()
    chosen = {point.trial for point in front.points} | {front.dense.trial}
    point = front.pick("knee")
    if which == "dominated":
        point = next(p for p in front.everything if p.trial not in chosen)
    out = point.export(folder / "out", to=name)
    exporter = EXPORTERS.get(name, where="x")()
    found = exporter.verify(out)
    assert found["bytes"] == point.values["size"] and found["accuracy"] == point.values["accuracy"]
    files = json.loads((out / "manifest.json").read_text())["files"]
    assert sum((out / file).stat().st_size for file in files) == point.values["size"]
    assert "## Use" in (out / "README.md").read_text()
    rows = (out / "examples.jsonl").read_text().splitlines()
    first = json.loads(rows[0])
    first["prediction"] = 1 - first["prediction"]
    (out / "examples.jsonl").write_text("\n".join([json.dumps(first), *rows[1:]]) + "\n")
    with pytest.raises(RecordsError, match=r"examples\.jsonl"):
        exporter.verify(out)
    # As if the model answered otherwise here.
    write_record(out, read_record(out))
    with pytest.raises(RecordsError, match="predictions"):
        exporter.verify(out)
    with pytest.raises(StudyError, match="not empty"):
        point.export(out, to=name)
    tokenizer = out / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("[UNK]", "[UNX]", 1))
    with pytest.raises(RecordsError, match=r"tokenizer\.json"):
        exporter.verify(out)


def require_that_the_card_example_runs(run: Path, folder: Path) -> None:
    """Run the example of a model card in the exported folder."""
    out = Run.open(run).front().pick("smallest").export(folder / "out")
    code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    ran = subprocess.run([sys.executable, "-c", code], cwd=out, capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and ran.stdout.strip() in ("fresh", "rotten"), ran.stderr
