"""Event files, read back as TensorBoard reads them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slimfront.search.run import Run
from slimfront.search.tracking import Tracking, trackers_of
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from tests.search.run_of import make_run


def events(folder: Path) -> Iterator[Any]:
    """Yield the summaries of a folder, with their step; each record is a length, its sum, the bytes, their sum."""
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            body, (told,) = data[at + 12 : at + 12 + length], struct.unpack_from("<I", data, at + 12 + length)
            found = crc32c(body)
            assert told == (((found >> 15) | (found << 17)) + 0xA282EAD8) & 0xFFFFFFFF
            event = Event.FromString(body)
            yield from ((event.step, value) for value in event.summary.value)
            at += length + 16


def series(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(step, value.simple_value) for step, value in events(folder) if value.tag == tag]


def follow(run: Run, count: int) -> None:
    trackers = trackers_of(run)
    assert list(trackers) == ["tensorboard"]
    with Tracking(trackers, run.records().objectives(), {}) as tracking:
        for trial in run.records().trials()[:count]:
            tracking.trial(trial)
        tracking.end(run.front())


def test_objectives_and_hypervolume_by_trial(tmp_path: Path) -> None:
    made = make_run(tmp_path / "run", 6)
    search = made.study.search.model_copy(update={"trackers": ("tensorboard",)})
    run = Run.begin(made.folder, made.study.model_copy(update={"search": search}))
    for count in (2, 4, 6):
        follow(run, count)
    folder, trials = run.folder / "tensorboard", run.records().trials()
    measured = [trial for trial in trials if trial.state == "complete"]
    for name in ("size", "latency", "accuracy"):
        expected = [(trial.number, pytest.approx(trial.value(name))) for trial in measured]
        assert series(folder / "search", f"objective/{name}") == expected and len(expected) == 5
    grown = series(folder / "search", "hypervolume")
    assert [step for step, _ in grown] == list(range(6))
    assert grown[-1][1] == pytest.approx(run.front().hypervolume()) and grown[0][1] == 0


def test_each_configuration_is_a_session(tmp_path: Path) -> None:
    made = make_run(tmp_path / "run", 5)
    search = made.study.search.model_copy(update={"trackers": ("tensorboard",)})
    run = Run.begin(made.folder, made.study.model_copy(update={"search": search}))
    follow(run, 5)
    for trial in run.records().trials():
        folder = run.folder / "tensorboard" / f"trial-{trial.number:05d}"
        found = {value.tag: value for _, value in events(folder)}
        told = found["_hparams_/session_start_info"].metadata.plugin_data.content
        settings = HParamsPluginData.FromString(told).session_start_info.hparams
        numbers = {name: value.number_value for name, value in settings.items() if name in trial.configuration}
        assert numbers == dict(trial.configuration) and settings["state"].string_value == trial.state
        shown = {tag: value.simple_value for tag, value in found.items() if tag.startswith("result/")}
        assert shown == {f"result/{name}": pytest.approx(trial.value(name)) for name in trial.measurements}
