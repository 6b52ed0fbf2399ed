"""Searches that share their records, as far as no server is needed for it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from slimfront.search.coordinator import Coordinator
from slimfront.search.lease import Lease
from slimfront.search.peers import BEAT, GRACE, Peers
from slimfront.search.records import Records
from slimfront.search.run import Run
from slimfront.search.samplers import SAMPLERS
from slimfront.search.storage import REMOTE, File
from slimfront.studies.errors import RecordsError
from slimfront.studies.reader import parse_study

from tests.search.test_coordinator import OBJECTIVES, SPACE, outcome


class Shared(File):
    """A file that several searches write."""

    shared = True


@pytest.fixture
def join(tmp_path: Path, study_data: Callable[..., dict[str, Any]]) -> Callable[[Lease], Coordinator]:
    """Return a function by which a process joins a search."""

    def make(lease: Lease) -> Coordinator:
        run = Run.begin(tmp_path / "run", parse_study(study_data("bert", trials=6)))
        records = Records(run.folder, True, Shared(run.folder, True))
        records.begin("study", OBJECTIVES)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Lease, "mine", classmethod(lambda _cls: lease))
            sampler = SAMPLERS.get("random", where="x")()
            return Coordinator(run, records, SPACE, sampler, {}, None, lambda _progress: None)

    return make


def dead() -> Lease:
    """Return the lease of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        start = psutil.Process(process.pid).create_time()
    return dataclasses.replace(Lease.mine(), process=process.pid, start=start)


def test_a_lease_tells_whether_its_process_lives() -> None:
    mine = Lease.mine()
    assert Lease.from_json(mine.to_json()) == mine and mine.alive() is True
    assert dead().alive() is False
    # The same id at another time, or before the machine was booted again, is another process.
    assert dataclasses.replace(mine, start=mine.start - 60).alive() is False
    assert dataclasses.replace(mine, boot=mine.boot - 3600).alive() is False
    assert dataclasses.replace(mine, host="elsewhere").alive() is None


def test_a_search_elsewhere_is_dead_when_it_gives_no_sign_of_life(join: Callable[[Lease], Coordinator]) -> None:
    own, elsewhere = join(Lease.mine()), dataclasses.replace(Lease.mine(), host="elsewhere").to_json()
    records = own._records
    task = own.next_task()
    assert task is not None
    trial = dataclasses.replace(records.trials()[0], owner=elsewhere)
    peers = Peers(records)
    assert peers.left(trial), "it never gave one"
    records.beat(elsewhere, time.time() - BEAT)
    assert not peers.left(trial)
    records.beat(elsewhere, time.time() - GRACE - 1)
    assert peers.left(trial)
    peers.close()


def test_one_of_several_takes_over_what_a_dead_search_left(join: Callable[[Lease], Coordinator]) -> None:
    mine, other = Lease.mine(), psutil.Process(os.getppid())
    first = join(mine)
    dense = first.next_task()
    assert dense is not None
    first.finish(0, outcome(dense["configuration"]))
    ended = join(dead())
    left = ended.next_task()
    assert left is not None and left["number"] == 1
    quicker = join(dataclasses.replace(mine, process=other.pid, start=other.create_time()))
    slower = join(mine)
    taken, next_one = quicker.next_task(), slower.next_task()
    assert taken is not None and taken["number"] == 1
    assert next_one is not None and next_one["number"] == 2
    for coordinator, task in ((quicker, taken), (slower, next_one)):
        coordinator.finish(task["number"], outcome(task["configuration"]))
    first._looked = 0.0
    assert first.task_now() is not None
    assert [trial.state for trial in first._records.trials()] == ["complete"] * 3 + ["running"]


def test_files_on_a_network_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [SimpleNamespace(mountpoint="/", fstype="ext4"), SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    with pytest.raises(RecordsError, match="need a local disk") as refused:
        File(tmp_path / "run", create=True)
    assert "nfs4" in str(refused.value) and "search.storage" in str(refused.value) and "nfs4" in REMOTE
    File(tmp_path.parent / "beside", create=True)
