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
from slimfront.studies.errors import MissingError, RecordsError, StudyError

from tests.commands import forked


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
    # The batch in which its predictions were made.
    assert json.loads((out / "record.json").read_text())["batch"] == {"openvino": 8}.get(name, 1)
    found = exporter.verify(out)
    assert found["bytes"] == point.values["size"] and found["accuracy"] == point.values["accuracy"]
    files = json.loads((out / "manifest.json").read_text())["files"]
    assert sum((out / file).stat().st_size for file in files) == point.values["size"]
    assert "## Use" in (out / "README.md").read_text()
    (folder / "hidden").mkdir()
    (folder / "hidden" / "transformers.py").write_text("raise ModuleNotFoundError('No module named transformers')")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(MissingError, match=r"(?s)transformers.*README\.md"):
        patch.setenv("PYTHONPATH", str(folder / "hidden"))
        exporter.verify(out)
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
    _require_that_the_example_runs(Run.open(run).front().pick("smallest").export(folder / "out"))


def _require_that_the_example_runs(out: Path) -> None:
    code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    ran = subprocess.run([sys.executable, "-c", code], cwd=out, capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and ran.stdout.strip() in ("fresh", "rotten"), ran.stderr


def require_that_a_conversion_equals_its_record(name: str, run: Path, folder: Path) -> None:
    """Export a point in a format that the search did not measure, verify it, use it, and damage it.

    Args:
        name: The format.
        run: A finished run of any target.
        folder: An empty folder.
    """
    point = Run.open(run).front().pick("smallest")
    done = forked("export", run, "--trial", point.trial, "--to", name, "--out", folder / "out")
    assert done.returncode == 0, done.stderr
    out, record = folder / "out", json.loads((folder / "out" / "record.json").read_text())
    sealed = json.loads((out / "manifest.json").read_text())["files"]
    exported = record["exported"]
    assert record["values"] == point.values and record["format"] == name
    assert exported["size"] == sum((out / file).stat().st_size for file in sealed) < 0.8 * record["dense"]["size"]
    # The same weights, but for the rounding of activations.
    assert abs(exported["accuracy"] - point.values["accuracy"]) < 0.05
    checked = forked("verify", out)
    assert checked.returncode == 0, checked.stderr
    found = json.loads(checked.stdout)
    assert found | {"bytes": exported["size"], "examples": 80, "accuracy": exported["accuracy"]} == found
    card = (out / "README.md").read_text()
    assert f"**{exported['accuracy']:.4f}**, {exported['accuracy'] - point.values['accuracy']:+.4f}" in card
    _require_that_the_example_runs(out)
    weights = next(out / file for file in sealed if not file.endswith((".json", ".py")))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    damaged = forked("verify", out)
    assert damaged.returncode == 4 and "not what was measured" in damaged.stderr
