"""What a user meets when something is wrong, and the commands that need no search."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slimfront.search.run import Run

from tests.commands import checked, forked, slimfront

StudyFile = Callable[..., Path]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, study_data: Callable[..., dict[str, Any]]) -> Path:
    root = tmp_path_factory.mktemp("cli")
    (root / "study.yaml").write_text(json.dumps(study_data("bert", trials=3)))
    done = forked("launch", root / "study.yaml", "--run", root / "run")
    assert done.returncode == 0, done.stderr
    assert "front of" in done.stdout and "slimfront export" in done.stderr
    return root / "run"


def refused(code: int, *arguments: object) -> str:
    done = forked(*arguments)
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stdout == "" and "Traceback" not in done.stderr
    return done.stderr


def copy(run: Path, to: Path) -> Path:
    with sqlite3.connect(run / "records.sqlite3") as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    shutil.copytree(run, to)
    return to


def test_help_is_quick_and_lists_every_command() -> None:
    done = slimfront("--help")
    assert done.returncode == 0
    for command in ("launch", "inspect", "export", "verify", "validate", "plan", "doctor"):
        assert command in done.stdout
    imported = [sys.executable, "-X", "importtime", "-m", "slimfront.search.cli", "--help"]
    loaded = subprocess.run(imported, capture_output=True, text=True, check=True).stderr
    assert not any(f"{heavy}\n" in loaded for heavy in ("torch", "openvino", "transformers", "optuna"))


def test_doctor_names_what_is_there() -> None:
    done = slimfront("doctor")
    assert (
        done.returncode == 0
        and "openvino" in done.stdout
        and "onnxruntime 1." in done.stdout
        and re.search(r"^processor .*: .*\w", done.stdout, re.MULTILINE)
        and "packs 2, 3, 4, 6, 8-static, 8, 16, 32 bits" in done.stdout
    )


@pytest.mark.parametrize("command", ["inspect", "export", "verify"])
def test_a_folder_that_is_not_there(command: str, run: Path, tmp_path: Path) -> None:
    extra = ("--out", tmp_path / "out") if command == "export" else ()
    error = refused(2, command, run.with_name("rum"), *extra)
    assert "rum" in error and (command == "verify" or f"did you mean {run}?" in error)


def test_wrong_options(run: Path, tmp_path: Path, study_file: StudyFile) -> None:
    assert "knee, balanced" in refused(2, "inspect", run, "--pick", "knie")
    assert "size=1,latency=2" in refused(2, "inspect", run, "--weights", "size")
    both = ("--pick", "knee", "--weights", "size=1")
    assert "leave one out" in refused(2, "export", run, *both, "--out", tmp_path / "x")
    assert "--compare" in refused(2, "inspect", run, "--compare", "dense", "knie")
    assert "nearest" in refused(1, "inspect", run, "--where", "size <= 1 B")
    assert "--plot" in refused(2, "inspect", run, "--plot", tmp_path / "x.doc")
    assert "openvino" in refused(2, "export", run, "--to", "openvno", "--out", tmp_path / "x")
    assert "--trial" in refused(2, "export", run, "--trial", 99, "--out", tmp_path / "x")
    assert "--sampler" in refused(2, "launch", study_file(), "--sampler", "tpee")
    assert "--timeout" in refused(2, "launch", study_file(), "--timeout", "soon")
    assert "holds something else" in refused(2, "launch", study_file(), "--run", tmp_path)
    assert "No such option" in refused(2, "launch", study_file(), "--trails", 3)


@pytest.mark.parametrize("file", ["records.sqlite3", "study.json"])
@pytest.mark.parametrize("how", ["torn", "gone"])
def test_a_damaged_run(file: str, how: str, run: Path, tmp_path: Path) -> None:
    victim = copy(run, tmp_path / "run") / file
    if how == "gone":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 3])
    error = refused(2 if (file, how) == ("study.json", "gone") else 4, "inspect", tmp_path / "run")
    assert file in error and "next:" in error


def test_a_damaged_artifact_is_made_again(run: Path, tmp_path: Path) -> None:
    """The records say what its bytes must be, so that an export can only be the model that was measured."""
    damaged = copy(run, tmp_path / "run") / "artifacts" / "trial-00000" / "openvino_model.bin"
    data = bytearray(damaged.read_bytes())
    data[1000] ^= 1
    damaged.write_bytes(data)
    done = forked("export", tmp_path / "run", "--trial", 0, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    done = forked("verify", tmp_path / "out")
    assert done.returncode == 0 and checked("verify", done.stdout)["examples"] == 80


def test_plots_are_pictures(run: Path, tmp_path: Path) -> None:
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        path = tmp_path / f"front{suffix}"
        assert forked("inspect", run, "--plot", path).returncode == 0
        assert path.read_bytes().startswith(start) and path.stat().st_size > 5000


def test_timeout_ends_with_what_is_there(study_file: StudyFile, tmp_path: Path) -> None:
    command = ("launch", study_file("bert", trials=500), "--run", tmp_path / "run", "--timeout")
    early = forked(*command, "1s")
    assert early.returncode == 1 and "time is up: 0 of 500 trials after" in early.stderr, early.stderr
    # All is prepared by now.
    done = forked(*command, "15s")
    assert done.returncode == 0 and "time is up: " in done.stderr, done.stderr
    document = checked("inspect", forked("inspect", tmp_path / "run", "--json").stdout)
    assert 0 < document["trials"]["complete"] < 500 and document["front"]


def test_the_folder_of_a_run_continues_it(run: Path, tmp_path: Path) -> None:
    before = Run.open(copy(run, tmp_path / "run")).records().trials()
    done = forked("launch", tmp_path / "run", "--trials", len(before) + 1)
    assert done.returncode == 0 and f"front of {tmp_path / 'run'}" in done.stdout, done.stderr
    after = Run.open(tmp_path / "run").records().trials()
    assert after[: len(before)] == before and len(after) > len(before)


def test_places_that_cannot_be_written_are_named(run: Path, tmp_path: Path) -> None:
    for option in ("--html", "--plot"):
        assert "No such file" in refused(2, "inspect", run, option, tmp_path / "nowhere" / "a.png")
    (tmp_path / "file").write_text("")
    assert "file" in refused(2, "export", run, "--pick", "knee", "--out", tmp_path / "file" / "out")
