"""Ray Tune as an engine, and our trainable under Ray's own search."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slimfront.search.records import Records
from slimfront.search.run import Run

from tests.commands import forked, slimfront

StudyFile = Callable[..., Path]
# Ray's own search over our space, in a process of its own: Ray does not end with its driver's test.
SCRIPT = """
import sys
from ray import tune
from slimfront.search.engines.raytune.actors import Measured, param_space

study = sys.argv[1]
tuner = tune.Tuner(
    tune.with_parameters(Measured, study=study),
    param_space=param_space(study),
    tune_config=tune.TuneConfig(num_samples=2, max_concurrent_trials=1, reuse_actors=True),
    run_config=tune.RunConfig(storage_path=sys.argv[2], verbose=0),
)
for result in tuner.fit():
    assert result.error is None and len(result.config) > 5, result.error
    print("found", result.metrics["size"], result.metrics["latency"], result.metrics["accuracy"], flush=True)
"""


def outcomes(folder: Path) -> list[tuple[Any, ...]]:
    """Return what a seed must repeat, wherever trials run."""
    return [
        (t.number, t.state, t.configuration, t.value("size"), t.value("accuracy")) for t in Records(folder).trials()
    ]


def test_ray_evaluates_what_local_processes_do(study_file: StudyFile, tmp_path: Path) -> None:
    path = study_file(trials=5)
    for engine, run in (("optuna", forked), ("ray", slimfront)):
        done = run("launch", path, "--run", tmp_path / engine, "--engine", engine)
        assert done.returncode == 0, done.stderr
    assert outcomes(tmp_path / "ray") == outcomes(tmp_path / "optuna")
    front = Run.open(tmp_path / "ray").front()
    assert all(
        point.held_out and point.trial in (front.dense.trial, *point.final, point.trial) for point in front.points
    )
    # Where trials run may change when a search goes on.
    assert forked("launch", path, "--run", tmp_path / "ray", "--engine", "optuna").returncode == 0
    nowhere = slimfront("launch", path, "--run", tmp_path / "x", "--engine", "ray", "--address", "127.0.0.1:1")
    assert nowhere.returncode == 3 and "search.address" in nowhere.stderr and "ray start" in nowhere.stderr


@pytest.mark.slow
def test_an_actor_that_dies_costs_its_trial(study_file: StudyFile, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "slimfront.search.cli", "launch", str(study_file(trials=6)), "--engine", "ray"]
    search = subprocess.Popen([*command, "--run", str(tmp_path / "run")], stderr=subprocess.PIPE, text=True)
    killed, stop = False, time.monotonic() + 200
    while not killed and search.poll() is None and time.monotonic() < stop:
        time.sleep(0.05)
        for pid in _actors(tmp_path / "run"):
            os.kill(pid, 9)
            killed = True
    _, told = search.communicate(timeout=200)
    assert killed and search.returncode == 0, told
    trials = Records(tmp_path / "run").trials()
    failed = [trial for trial in trials if trial.state == "failed"]
    assert len(failed) == 1 and "crashed" in str(failed[0].error) and len(trials) == 6


@pytest.mark.slow
def test_our_trainable_serves_the_searches_of_ray(study_file: StudyFile, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(study_file()), str(tmp_path)], capture_output=True, text=True, check=False
    )
    found = [line.split()[1:] for line in ran.stdout.splitlines() if line.startswith("found")]
    assert len(found) == 2, ran.stderr[-2000:]
    assert all(float(size) > 0 and float(latency) > 0 and 0 <= float(share) <= 1 for size, latency, share in found)


def _actors(run: Path) -> list[int]:
    """Return the processes of a run's actors, once the dense model was measured."""
    if not (run / "records.sqlite3").is_file() or len(list((run / "artifacts").glob("trial-*/manifest.json"))) < 2:
        return []
    return [int(path.stem.removeprefix("ray-")) for path in (run / "logs").glob("ray-*.log")]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_a_search_on_ray(number: int, code: int, study_file: StudyFile, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "slimfront.search.cli", "launch", str(study_file(trials=60)), "--engine", "ray"]
    search = subprocess.Popen([*command, "--run", str(tmp_path / "run")], stderr=subprocess.PIPE, text=True)
    stop = time.monotonic() + 200
    while not _actors(tmp_path / "run") and time.monotonic() < stop:
        time.sleep(0.1)
    search.send_signal(number)
    _, told = search.communicate(timeout=60)
    assert search.returncode == code and "the same command continues" in told, told
    assert any(trial.state == "complete" for trial in Records(tmp_path / "run").trials())
