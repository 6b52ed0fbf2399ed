"""Whole small searches: what every engine and exporter must keep, on models that nobody prepared."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slimfront.search.rebuild import rebuild
from slimfront.search.records import Records
from slimfront.search.run import Run, only_coordinator
from slimfront.search.sums import sealed
from slimfront.studies.cache import file_sha256
from slimfront.studies.errors import NoFeasiblePoint, RecordsError, StudyError

from tests.commands import checked, forked
from tests.exports import (
    require_that_a_conversion_equals_its_record,
    require_that_an_export_equals_its_record,
    require_that_the_card_example_runs,
)

StudyFile = Callable[..., Path]


def outcomes(folder: Path) -> list[tuple[Any, ...]]:
    """Return what a seed must repeat: configurations, sizes and accuracies."""
    return [
        (t.number, t.state, t.configuration, t.value("size"), t.value("accuracy")) for t in Records(folder).trials()
    ]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory, study_data: Callable[..., dict[str, Any]]) -> Path:
    root = tmp_path_factory.mktemp("search")
    data = study_data("distilbert", trials=14, sampler="tpe")
    data["space"]["bits"]["levels"] = [4, 8, "8-static", 32]
    (root / "study.yaml").write_text(json.dumps(data))
    done = forked("launch", root / "study.yaml", "--run", root / "run")
    assert done.returncode == 0, done.stderr
    return root / "run"


def test_front_document(finished_run: Path) -> None:
    shown = forked("inspect", finished_run, "--json")
    document = checked("inspect", shown.stdout)
    assert shown.returncode == 0 and "\x1b" not in shown.stdout
    counts = document["trials"]
    assert document["schema_version"] == 1 and counts["complete"] + counts["stopped_early"] == 14
    # So small a model is not surely faster when compressed: there is a volume where a point beats the dense model.
    dense = document["dense"]
    wins = [p for p in document["front"] if all(p[name] < dense[name] for name in ("size", "latency"))]
    assert 0 <= document["hypervolume"] <= 1 and (document["hypervolume"] > 0) == bool(wins)
    assert document["objectives"]["size"] == {"unit": "byte", "direction": "minimize"}
    for point in document["front"]:
        assert set(point["held_out"]) == {"accuracy"} and set(point["intervals"]) == {"latency", "accuracy"}
        low, high = point["intervals"]["latency"]
        assert low <= point["latency"] <= high
        change = point["changes"]["accuracy"]
        dense_held_out = point["held_out"]["accuracy"] - change["value"]
        assert change["interval"][0] <= change["value"] <= change["interval"][1] and 0 <= change["p"] <= 1
        assert 0.5 < dense_held_out < 1 and (point["trial"] == 0) == (not point["final"])
        if point["final"]:
            low, high = point["final"]["latency"]["interval"]
            assert (
                low <= point["final"]["latency"]["value"] <= high and "load" in point["final"]["latency"]["conditions"]
            )
    for one in document["front"]:
        for other in document["front"]:
            better = other["size"] <= one["size"] and other["latency"] <= one["latency"]
            strictly = other["size"] < one["size"] or other["latency"] < one["latency"]
            assert not (better and strictly and other["accuracy"] >= one["accuracy"])
    rows = forked("inspect", finished_run, "--csv").stdout.splitlines()
    assert len(rows) == len(document["front"]) + 1 and rows[0].startswith("trial,size,latency,accuracy,held_out/")
    assert "final/latency" in rows[0] and document["optimism"] is not None
    assert forked("inspect", finished_run, "--where", "size <= dense / 1000").returncode == 1
    assert forked("inspect", finished_run, "--where", "sise <= 3MB").returncode == 2
    assert "\x1b" not in forked("inspect", finished_run).stdout


def test_only_the_front_keeps_its_artifacts(finished_run: Path) -> None:
    front = Run.open(finished_run).front()
    kept = {path.name for path in (finished_run / "artifacts").glob("trial-*")}
    assert kept == {f"trial-{p.trial:05d}" for p in (*front.points, front.dense)}


@pytest.mark.parametrize("which", [pytest.param("knee", marks=pytest.mark.slow), "dominated"])
def test_export_equals_its_record(which: str, finished_run: Path, tmp_path: Path) -> None:
    require_that_an_export_equals_its_record("openvino", which, finished_run, tmp_path)


@pytest.mark.slow
def test_a_folder_for_transformers(finished_run: Path, tmp_path: Path) -> None:
    require_that_a_conversion_equals_its_record("transformers", finished_run, tmp_path)


@pytest.mark.slow
def test_a_configuration_makes_the_files_again(finished_run: Path, tmp_path: Path) -> None:
    point = Run.open(finished_run).front().pick("smallest")
    out = point.export(tmp_path / "out", to="config")
    code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    ran = subprocess.run([sys.executable, "-c", code], cwd=out, capture_output=True, text=True, check=False)
    trial = next(t for t in Records(finished_run).trials() if t.number == point.trial)
    assert ran.returncode == 0 and ran.stdout.strip() == str(dict(trial.files)), ran.stderr
    assert {name: file_sha256(out / "model" / name) for name in trial.files} == trial.files
    shutil.rmtree(out / "model")
    assert json.loads(forked("verify", out).stdout)["files"] == trial.files


def test_a_configuration_without_its_lock_is_refused(finished_run: Path, tmp_path: Path) -> None:
    out = Run.open(finished_run).front().pick("smallest").export(tmp_path / "out", to="config")
    recipe = json.loads((out / "configuration.json").read_text())
    assert recipe["configuration"] and recipe["lock"]["torch"] and recipe["study"]["target"]["runtime"] == "openvino"
    (out / "configuration.json").write_text(json.dumps({**recipe, "lock": {}}))
    damaged = forked("verify", out)
    assert damaged.returncode == 4 and "not what was measured" in damaged.stderr


@pytest.mark.parametrize("damage", [pytest.param("[]", marks=pytest.mark.slow), "[1,0", "flip"])
def test_damaged_predictions_are_made_again(damage: str, finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    point = Run.open(tmp_path / "run").front().pick("smallest")
    place = Run.open(tmp_path / "run").artifact(point.trial) / "predictions.json"
    before = json.loads(place.read_text())
    place.write_text(json.dumps([1 - before[0], *before[1:]]) if damage == "flip" else damage)
    out = point.export(tmp_path / "out")
    rows = [json.loads(line) for line in (out / "examples.jsonl").read_text().splitlines()]
    assert [row["prediction"] for row in rows] == before


def test_records_without_the_dense_trial_are_refused(finished_run: Path, tmp_path: Path) -> None:
    import sqlite3

    shutil.copytree(finished_run, tmp_path / "run")
    with sqlite3.connect(tmp_path / "run" / "records.sqlite3") as database:
        database.execute("delete from trials where number = 0")
    with pytest.raises(RecordsError, match="trial 0 is missing"):
        Run.open(tmp_path / "run").front()


def test_card_example_runs(finished_run: Path, tmp_path: Path) -> None:
    require_that_the_card_example_runs(finished_run, tmp_path)


def test_picks(finished_run: Path) -> None:
    front = Run.open(finished_run).front()
    assert front.pick("smallest").values["size"] == min(p.values["size"] for p in front.points)
    assert front.pick("most-accurate").values["accuracy"] == max(p.values["accuracy"] for p in front.points)
    assert front.pick("knee", where="size <= dense").values["size"] <= front.dense.values["size"]
    with pytest.raises(StudyError, match="pick"):
        front.pick("kneee")
    with pytest.raises(NoFeasiblePoint, match="nearest"):
        front.pick("knee", where="size <= 1 B")


def test_a_front_that_is_measured_anew(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In several heats, as a larger front would be.
    monkeypatch.setattr("slimfront.search.tournament.HEAT", 1)
    shutil.copytree(finished_run, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    before = run.front()
    other = next(point for point in before.points if point.trial != before.dense.trial)
    # As if this point had answered otherwise on the machine of the search.
    place = run.artifact(other.trial) / "predictions.json"
    place.write_text(json.dumps([1 - label for label in json.loads(place.read_text())]))
    done = forked("remeasure", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    found = checked("remeasure", done.stdout)
    assert found["recomputed"] == [other.trial] and found["machine"]
    known = {point.trial: point for point in (*before.points, before.dense)}
    assert set(found["left"]) == {p.trial for p in before.points} - {point["trial"] for point in found["front"]}
    for point in found["front"]:
        old = known[point["trial"]]
        assert point["size"] == old.values["size"] and point["accuracy"] == old.values["accuracy"]
        assert point["latency"] != old.values["latency"] and "latency" in point["intervals"]
    kept = [json.loads(path.read_text()) for path in run.folder.glob("remeasured-*.json")]
    assert kept == [found]
    records = Records(run.folder)
    # As if the study's file held other texts by now.
    lock = records.lock()
    records.study.set_user_attr("slimfront:lock", sealed("lock", {**lock, "search split": "0" * 64}))
    moved = forked("remeasure", tmp_path / "run")
    records.study.set_user_attr("slimfront:lock", sealed("lock", lock))
    assert moved.returncode == 4 and "not those of the search" in moved.stderr
    weights = run.artifact(other.trial) / "openvino_model.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    broken = forked("remeasure", tmp_path / "run")
    assert broken.returncode == 4 and "not what was measured" in broken.stderr


def test_a_trial_is_rebuilt_to_the_byte(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, records = Run.open(finished_run), Records(finished_run)
    # By a process of its own, in which sets have another order.
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    trial = next(t for t in records.trials() if t.state == "complete" and t.configuration.get("distillation/steps"))
    done = forked("rebuild", finished_run, "--trial", trial.number, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rebuilt = checked("rebuild", done.stdout)
    assert rebuilt == {"schema_version": 1, "trial": trial.number, "files": dict(trial.files)}
    assert {name: file_sha256(tmp_path / "out" / name) for name in trial.files} == trial.files
    assert forked("rebuild", finished_run, "--trial", trial.number, "--out", tmp_path / "out").returncode == 2
    assert "measured to its end" in forked("rebuild", finished_run, "--trial", 999).stderr
    front = Run.open(finished_run).front()
    assert forked("rebuild", finished_run, "--trial", trial.number, "--all").returncode == 2
    whole = forked("rebuild", finished_run, "--all")
    assert whole.returncode == 0, whole.stderr
    told = json.loads(whole.stdout)
    assert {int(number) for number in told["equal"]} == {front.dense.trial, *(p.trial for p in front.points)}
    assert told["other"] == [] and told["equal"]["0"] == dict(records.trials()[0].files)
    # As if the search had run with other libraries, and its file had been another one.
    shutil.copytree(finished_run, tmp_path / "run")
    lock = records.lock()
    assert lock["torch"] and len(lock["dense weights"]) == 64
    other = replace(run, folder=tmp_path / "run")
    Records(other.folder).study.set_user_attr("slimfront:lock", json.dumps({**lock, "torch": "1.0"}))
    wrong = replace(trial, files=dict.fromkeys(trial.files, "0" * 64))
    with pytest.raises(RecordsError, match=r"torch: 1\.0, here 2\."):
        rebuild(other, wrong, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_same_command_adds_nothing_and_changes_are_refused(finished_run: Path) -> None:
    study = finished_run.parent / "study.yaml"
    before = outcomes(finished_run)
    assert forked("launch", study, "--run", finished_run).returncode == 0
    assert outcomes(finished_run) == before
    refused = forked("launch", study, "--run", finished_run, "--seed", 7)
    assert refused.returncode == 2 and "search.seed: 0 → 7" in refused.stderr


def test_killed_search_equals_an_undisturbed_one(
    finished_run: Path, study_data: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "slimfront.search.cli", "launch", str(finished_run.parent / "study.yaml")]
    run = tmp_path / "run"
    for least in (3, 9):
        process = subprocess.Popen([*command, "--run", str(run)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            with_records = (run / "records.sqlite3").exists()
            if with_records and _complete(run) >= least:
                break
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done_before = _complete(run)
    assert 3 <= done_before < 14
    assert subprocess.run([*command, "--run", str(run)], capture_output=True, check=False).returncode == 0
    assert outcomes(run) == outcomes(finished_run)


def _complete(run: Path) -> int:
    try:
        return sum(trial.state == "complete" for trial in Records(run).trials())
    except Exception:
        return 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_cleanly(number: int, code: int, study_file: StudyFile, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "slimfront.search.cli", "launch", str(study_file(trials=200)), "--run"]
    process = subprocess.Popen([*command, str(tmp_path / "run")], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while _complete(tmp_path / "run") < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    _out, errors = process.communicate(timeout=20)
    assert process.returncode == code, errors
    assert "the same command continues" in errors and "Traceback" not in errors


def test_second_coordinator_is_refused(finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    before = (run / "study.json").read_bytes()
    with only_coordinator(run):
        second = forked("launch", finished_run.parent / "study.yaml", "--run", run, "--trials", 20)
    assert (run / "study.json").read_bytes() == before
    assert second.returncode == 4 and "another process" in second.stderr


def test_dashboard_opens_the_records(finished_run: Path) -> None:
    import optuna

    storage = f"sqlite:///{finished_run / 'records.sqlite3'}"
    study = optuna.load_study(study_name="small", storage=storage)
    assert study.metric_names == ["size", "latency", "accuracy"]
    from optuna_dashboard import wsgi

    assert callable(wsgi(storage))
