"""A Ray cluster of two nodes on this machine, of which workers, nodes and drivers are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from slimfront.search.records import Records
from slimfront.search.trial import Trial
from slimfront.studies.errors import RecordsError

from tests.commands import slimfront
from tests.faults.mutations import rare
from tests.faults.processes import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.fixture
def search(
    cluster: Any, study_data: Callable[..., dict[str, Any]], tmp_path: Path
) -> Callable[..., subprocess.Popen[str]]:
    """Return a function that starts a search on the cluster with a worker on each node."""

    def start(trials: int) -> subprocess.Popen[str]:
        path = tmp_path / "study.yaml"
        path.write_text(json.dumps(study_data("bert", trials=trials, workers=2, failures=1.0)))
        command = [sys.executable, "-m", "slimfront.search.cli", "launch", path, "--run", tmp_path / "run"]
        command += ["--engine", "ray", "--address", cluster.address]
        return subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)

    return start


def trials_in(run: Path) -> list[Trial]:
    try:
        return Records(run).trials()
    except RecordsError:
        return []


def complete(run: Path) -> int:
    return sum(trial.state in ("complete", "stopped") for trial in trials_in(run))


def actors() -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [p for p in found if any("ray::" in part and "Evaluation" in part for part in p.info["cmdline"] or ())]


def require_whole(run: Path, count: int, killed: int) -> None:
    """Every trial has one outcome, and no more failed than were killed."""
    trials = trials_in(run)
    own = [trial for trial in trials if trial.cached_from is None]
    assert [trial.number for trial in trials] == list(range(len(trials))) and len(own) == count
    assert len({trial.configuration for trial in own if trial.state != "failed"}) == complete(run) - (
        len(trials) - len(own)
    )
    failed = [trial for trial in own if trial.state == "failed"]
    assert len(failed) <= 2 * killed and all("crashed" in str(trial.error) for trial in failed)


def test_workers_that_are_killed(search: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    times, rng = rare(20), random.Random(0)
    process = search(2 * times + 10)
    killed = 0
    while killed < times and process.poll() is None:
        if complete(tmp_path / "run") > 0 and (found := actors()):
            time.sleep(rng.uniform(0, 2))
            victim = rng.choice(found)
            try:
                victim.kill()
                killed += 1
            except psutil.NoSuchProcess:
                continue
            wait_for(lambda victim=victim: not victim.is_running(), 5)
        time.sleep(0.2)
    _, told = process.communicate(timeout=900)
    assert process.returncode == 0, told
    require_whole(tmp_path / "run", 2 * times + 10, killed)


def test_nodes_that_fail(cluster: Any, search: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    times = rare(5)
    process = search(4 * times + 8)
    node = cluster.worker_nodes and next(iter(cluster.worker_nodes))
    for _ in range(times):
        wanted = complete(tmp_path / "run") + 2
        assert wait_for(lambda wanted=wanted: complete(tmp_path / "run") >= wanted or process.poll() is not None, 300)
        cluster.remove_node(node, allow_graceful=False)
        time.sleep(1)
        node = cluster.add_node(num_cpus=1)
    _, told = process.communicate(timeout=900)
    assert process.returncode == 0, told
    require_whole(tmp_path / "run", 4 * times + 8, times)


def test_drivers_that_are_killed(search: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    times, run, count = rare(10), tmp_path / "run", 24
    for _ in range(times):
        before = complete(run)
        process = search(count)
        wait_for(lambda before=before, process=process: complete(run) > before or process.poll() is not None, 300)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert complete(run) >= before
    process = search(count)
    _, told = process.communicate(timeout=900)
    assert process.returncode == 0, told
    # What the other worker was at is started once more: who dies with two drivers has failed.
    require_whole(run, count, times)
    assert wait_for(lambda: not actors(), 30)
    assert slimfront("inspect", run).returncode == 0
