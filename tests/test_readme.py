"""What the README tells its readers to type does what it says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from slimfront.search.records import Records

from tests.commands import forked

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
# Lines that are not run here, by what is in them, and where they are tried instead.
ELSEWHERE = {
    "make quickstart": "by hand: it takes a quarter of an hour",
    "make test": "runs this",
    "pip install": "the Makefile installs with the same constraints and extras",
    "--address": "tests/faults/test_cluster.py",
    "--storage": "tests/faults/test_server.py",
    "launch my-study.yaml --target": "below, for it takes a minute; tests/contracts/test_targets.py searches for each",
    "optuna-dashboard": "tests/contracts/test_search.py asks its server for the front",
}


def lines() -> Iterator[str]:
    """Yield the commands of all shell blocks, without comments."""
    for kind, block in BLOCKS:
        if kind == "sh":
            yield from (shlex.join(words) for words in map(_words, block.splitlines()) if words)


def _words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, encoder_folder: Callable[[str], Path], reviews: Path
) -> Iterator[Path]:
    """A folder with the files that the README speaks of: small ones, in a study of few trials."""
    root = tmp_path_factory.mktemp("reader")
    shutil.copytree(encoder_folder("bert"), root / "my-classifier")
    text = reviews.read_text().replace("text,label,film", "sentence,sentiment,author", 1)
    (root / "reviews.csv").write_text(text)
    parse = YAML(typ="safe").load
    (own,) = (parse(block) for kind, block in BLOCKS if kind == "yaml")
    study: dict[str, Any] = parse((ROOT / "studies" / "quickstart.yaml").read_text())
    model = {"path": "my-classifier", "max_tokens": 16}
    study |= own | {"model": model, "recovery": None, "target": {"tokens": 12}}
    study["space"]["distillation"]["steps"] = [0, 2, 4]
    study["space"]["bits"]["granularity"] = study["space"]["sparsity"]["granularity"] = "role"
    # Each is timed before the first trial, on every target.
    study["space"]["sparsity"]["levels"] = study["space"]["vocabulary"]["levels"] = [0.0, 0.5]
    # What all targets pack: the front moves.
    study["space"]["bits"]["levels"] = [4, 8, 32]
    study["constraints"], study["search"]["trials"], study["search"]["workers"] = {}, 8, 1
    (root / "my-study.yaml").write_text(json.dumps(study))
    yield root


def typed(line: str, place: Path) -> None:
    """Run a line in a folder."""
    words = _words(line)
    assert words[0] == "slimfront"
    if words[1] == "launch":
        command = [sys.executable, "-m", "slimfront.search.cli", *words[1:]]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=400)
    else:
        end = words.index(">") if ">" in words else len(words)
        done = forked(*words[1:end], cwd=place)
        if words[end:]:
            (place / words[end + 1]).write_text(done.stdout)
    assert done.returncode == 0, (line, done.stderr)


def _complete(place: Path) -> int:
    """Return a trial that can be exported, where that of the README cannot."""
    trials = Records(place / "runs" / "my-study").trials() if (place / "runs").is_dir() else []
    return max((trial.number for trial in trials if trial.state == "complete"), default=0)


def test_every_command_runs(place: Path) -> None:
    left = dict(ELSEWHERE)
    for line in lines():
        if other := next((part for part in ELSEWHERE if part in line), ""):
            left.pop(other, None)
            continue
        typed(line.replace("--trial 27", f"--trial {_complete(place)}"), place)
    assert not left, f"these are not in the README: {left}"
    assert {"reviews.yaml", "front.csv", "front.svg", "report.html"} <= {path.name for path in place.iterdir()}
    runs = {path.name for path in (place / "runs").iterdir()}
    assert runs == {"my-study"}
    assert (place / "hub" / "config.json").is_file() and (place / "deploy" / "manifest.json").is_file()


@pytest.mark.slow
def test_every_target_is_searched_for(place: Path) -> None:
    found = [line for line in lines() if "launch my-study.yaml --target" in line]
    for line in found:
        typed(line, place)
        assert (place / "runs" / f"my-study-{_words(line)[-1]}" / "report.html").is_file()
    assert len(found) == 2


def test_the_python_example_runs(place: Path) -> None:
    (code,) = (block for kind, block in BLOCKS if kind == "python" and "from slimfront.search import launch" in block)
    ours = code.replace("studies/quickstart.yaml", "my-study.yaml")
    assert ours != code
    done = subprocess.run([sys.executable, "-c", ours], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and (place / "deploy-again" / "manifest.json").is_file(), done.stderr


@pytest.mark.slow
def test_the_example_for_ray_runs(place: Path) -> None:
    (code,) = (block for kind, block in BLOCKS if kind == "python" and "from ray import tune" in block)
    ours = code.replace("/data/my-study.yaml", str(place / "my-study.yaml")).replace("num_samples=100", "num_samples=2")
    done = subprocess.run([sys.executable, "-c", ours], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    titles = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall("^#+ (.+)$", text, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in titles, target
        elif "://" not in target:
            assert (ROOT / target).exists(), target
