"""What a user does after a disk has damaged something: every command refuses it, or makes it again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slimfront.search.records import Records
from slimfront.search.run import STUDY, Run
from slimfront.search.storage import FILE

from tests.commands import Done, forked
from tests.faults.mutations import mutants

pytestmark = pytest.mark.slow


def damage(path: Path, seed: int = 0) -> None:
    """Turn a bit in the middle of a file."""
    data = path.read_bytes()
    place = len(data) // 2 + seed
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


def refused(done: Done, name: str) -> None:
    assert done.returncode == 4 and name in done.stderr and "Traceback" not in done.stderr, done.stderr


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, study_data: Callable[..., dict[str, Any]]) -> Path:
    path = tmp_path_factory.mktemp("commands") / "study.yaml"
    path.write_text(json.dumps(study_data("bert", trials=8)))
    return path


@pytest.fixture(scope="module")
def finished(study: Path) -> Path:
    done = forked("launch", study, "--run", study.parent / "run")
    assert done.returncode == 0, done.stderr
    return study.parent / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_records(run: Path, study: Path) -> None:
    # Reading brings the log into the file.
    shown, whole = forked("inspect", run, "--json").stdout, (run / FILE).read_bytes()
    for number, (_, data) in enumerate(mutants(whole, 12, 7)):
        (run / FILE).write_bytes(data)
        for command in (("inspect", run, "--json"), ("launch", study, "--run", run, "--trials", 8)):
            done = forked(*command)
            if done.returncode == 4:
                refused(done, FILE)
            else:
                assert done.returncode == 0, (number, done.stderr)
                assert command[0] == "launch" or done.stdout == shown, number
        for left in run.glob(f"{FILE}-*"):
            left.unlink()


def test_study(run: Path, study: Path) -> None:
    damage(run / STUDY)
    for command in (("inspect", run), ("launch", study, "--run", run), ("rebuild", run, "--trial", 0)):
        refused(forked(*command), STUDY)


def test_artifacts_are_made_again(run: Path, study: Path, tmp_path: Path) -> None:
    front = Run.open(run).front()
    before = {t.number: t for t in Records(run).trials()}
    folder = Run.open(run).artifact(front.dense.trial)
    whole = (folder / "openvino_model.bin").read_bytes()
    damage(folder / "openvino_model.bin")
    refused(forked("remeasure", run), "openvino_model.bin")
    done = forked("launch", study, "--run", run, "--trials", 10)
    assert done.returncode == 0, done.stderr
    assert (folder / "openvino_model.bin").read_bytes() == whole
    after = {t.number: t for t in Records(run).trials()}
    assert len(after) >= 10 and {number: after[number] for number in before} == before
    damage(folder / "openvino_model.bin")
    done = forked("export", run, "--trial", front.dense.trial, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "openvino_model.bin").read_bytes() == whole
    assert forked("verify", tmp_path / "out").returncode == 0
    for name in ("openvino_model.bin", "record.json", "examples.jsonl", "tokenizer.json", "README.md", "manifest.json"):
        kept = (tmp_path / "out" / name).read_bytes()
        damage(tmp_path / "out" / name)
        refused(forked("verify", tmp_path / "out"), name)
        (tmp_path / "out" / name).write_bytes(kept)
    assert forked("verify", tmp_path / "out").returncode == 0
