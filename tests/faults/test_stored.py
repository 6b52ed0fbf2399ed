"""Whatever is stored, and damaged on the disk, is refused or made again: bank, cache, artifacts and exports."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.runtimes import RUNTIMES
from slimfront.search.answers import PREDICTIONS, readable_logits
from slimfront.search.bank import Level
from slimfront.search.evaluator import Evaluator
from slimfront.search.export import EXPORTERS, verify
from slimfront.search.export.exporter import Exported, format_of
from slimfront.search.guide import guide
from slimfront.search.preparation import separable
from slimfront.search.rebuild import sound
from slimfront.search.remeasured import MovedFront
from slimfront.search.trial import Trial
from slimfront.search.worker import Server
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.studies.cache import DONE, cache_root, cached, file_sha256, folder_sums
from slimfront.studies.reader import parse_study
from slimfront.studies.tensors import read_tensors, write_tensors

from tests.faults.mutations import mutants, put, scaled, try_all
from tests.faults.searching import made_up_run

StudyData = Callable[..., dict[str, Any]]
# What is measured, not computed: made again it is another measurement.
TIMED = {"timing", "packing"}


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory, study_data: StudyData) -> Any:
    """All that a search computes once, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIMFRONT_CACHE", str(tmp_path_factory.mktemp("stored")))
        data = {**study_data(), "recovery": {"steps": 2}}
        made = Evaluator.prepare(parse_study(data), lambda _text, _share: None)
        guide(made, lambda _text, _share: None)
        yield made


def smallest(space: Space) -> Configuration:
    return min(space.uniform(), key=lambda one: sum(v for k, v in one.items() if k.startswith("bits/")))


def same(one: Any, other: Any) -> bool:
    """Return whether two weights, in floats or codes, are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return all(torch.equal(getattr(one, part), getattr(other, part)) for part in ("codes", "scales", "zero_points"))


def test_bank_entries_are_sound_or_made_again(evaluator: Evaluator) -> None:
    bank, found = evaluator.bank, Counter[str]()
    name = next(name for name in bank.weights if name.endswith("query.weight"))
    for bits in (4, 8):
        before = bank.codes(name, bits, None)
        path = bank._path(Level(name, bits))
        whole = path.read_bytes()
        for way, data in mutants(whole, scaled(500), bits):
            bank._held.clear()
            put(path, data)
            made = bank.made
            assert same(bank.codes(name, bits, None), before), way
            found["made again" if bank.made > made else "same"] += 1
        bank._held.clear()
        assert same(bank.codes(name, bits, None), before)
        # What was harmless may lie there still.
        put(path, whole)
    print(dict(found))
    assert found["made again"] > 0.9 * found.total()


def test_cache_entries_are_sound_or_made_again(evaluator: Evaluator) -> None:
    found, kinds = Counter[str](), Counter[str]()
    entries = [path.parent for path in sorted(cache_root().rglob(DONE))]
    each = max(2, scaled(1000) // sum(len(list(entry.iterdir())) for entry in entries))
    for entry in entries:
        files = {path: path.read_bytes() for path in entry.rglob("*") if path.is_file()}
        key = json.loads(files[entry / DONE])["key"]

        def build(folder: Path, files: Mapping[Path, bytes] = files) -> None:
            found["made again"] += 1
            for path, data in files.items():
                if path.name != DONE:
                    (folder / path.name).write_bytes(data)

        for path in files:
            for number, (way, data) in enumerate(mutants(files[path], each, 5)):
                put(path, data)
                made = found["made again"]
                assert cached(entry.parent.name, key, build) == entry
                sums = {one.name: one.read_bytes() for one in files if one.name != DONE}
                assert sums == {one.name: data for one, data in files.items() if one.name != DONE}, (path, way, number)
                assert found["made again"] == made + 1, (path, way, number)
                put(path, files[path])
        kinds[entry.parent.name] += each * len(files)
    print(dict(found), dict(kinds))
    assert {"dense", "tokens", "splits", "importance", "teacher", "supernet", "anatomy", "sensitivity"} <= set(kinds)


@pytest.mark.slow
def test_what_is_made_again_is_what_was_there(evaluator: Evaluator) -> None:
    entries = {path.parent: folder_sums(path.parent) for path in cache_root().rglob(DONE)}
    bank = {path: read_tensors(path) for path in evaluator.bank.folder.glob("*.safetensors")}
    for entry in entries:
        if entry.parent.name not in TIMED:
            victim = max((path for path in entry.rglob("*") if path.name != DONE), key=lambda path: path.stat().st_size)
            put(victim, next(iter(dict(mutants(victim.read_bytes(), 3, 0)).values())))
    for path in bank:
        put(path, b"")
    made = Evaluator.prepare(evaluator.study, lambda _text, _share: None)
    guide(made, lambda _text, _share: None)
    assert {entry: folder_sums(entry) for entry in entries} == entries
    again = {path: found for path in bank if (found := read_tensors(path)) is not None}
    # What only measurements asked for nobody has asked for again.
    assert len(again) > len(bank) / 2
    for path, (parts, told) in again.items():
        before = bank[path]
        assert before is not None and told == before[1] and set(parts) == set(before[0])
        assert all(torch.equal(parts[name], before[0][name]) for name in parts)


@pytest.fixture(scope="module", params=["openvino", "onnxruntime", "pytorch"])
def artifact(
    request: pytest.FixtureRequest, evaluator: Evaluator, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    spec = evaluator.study.target.model_copy(update={"runtime": request.param})
    runtime, subject = RUNTIMES.get(request.param, where="x")(spec), evaluator.subject
    parts = separable(evaluator.study, evaluator.space.anatomy)
    blueprint = runtime.prepare(subject.module, subject.example(), *parts, subject.weights)
    compressed = evaluator.compress(smallest(evaluator.space))
    return blueprint.lower(compressed, tmp_path_factory.mktemp("artifact") / request.param)


def trial_of(artifact: Artifact, predictions: Path) -> Trial:
    details = {"beside": {PREDICTIONS: file_sha256(predictions)}}
    files = dict(artifact.files)
    return Trial(0, "complete", Configuration({}), "dense", 0, {}, files, {}, None, None, 1, details)


def test_artifacts_are_refused(artifact: Artifact) -> None:
    predictions = artifact.folder / PREDICTIONS
    predictions.write_text(json.dumps([0, 1] * 40))
    trial = trial_of(artifact, predictions)
    assert sound(artifact.folder, trial)
    paths = sorted(path for path in artifact.folder.iterdir() if path != predictions)
    for number, path in enumerate(paths):
        found = try_all(path, scaled(1000) // len(paths) + 1, number, lambda: Artifact.open(artifact.folder))
        # All but the last line's end, which says nothing.
        assert found["detected"] > 0.9 * found.total()
    whole = predictions.read_bytes()
    for way, data in mutants(whole, scaled(100), 9):
        predictions.write_bytes(data)
        assert not sound(artifact.folder, trial), way
    predictions.unlink()


def exported(artifact: Artifact, evaluator: Evaluator, folder: Path) -> Path:
    """Export an artifact of which a made-up run tells the values."""
    run = made_up_run(folder / "run", evaluator.study.model_dump(mode="json"), 4)
    front, out = run.front(), folder / "out"
    place = folder / "moved" / f"trial-{front.dense.trial:05d}"
    shutil.copytree(artifact.folder, place)
    (place / PREDICTIONS).write_text(json.dumps([0] * len(evaluator.subject.search)))
    moved = MovedFront(front, artifact.runtime, {}, {str(front.dense.trial): dict(artifact.files)}, place.parent)
    out.mkdir()
    exporter = EXPORTERS.get(format_of(artifact.runtime), where="x")()
    point = replace(front.dense, values={**front.dense.values, "size": float(artifact.size())})
    exporter.export(Exported(run, front, point, True, {}, moved), out)
    return out


class Reached(Exception):
    """All sums were found right."""


def test_exports_are_refused(
    artifact: Artifact, evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = exported(artifact, evaluator, tmp_path)

    def reached(*_args: object, **_options: object) -> None:
        raise Reached

    monkeypatch.setattr(subprocess, "run", reached)

    def read() -> str:
        try:
            verify(out)
        except Reached:
            return "sound"
        raise AssertionError("verified without running")

    paths = sorted(path for path in out.iterdir())
    assert {"README.md", "examples.jsonl", "tokenizer.json", "record.json", "manifest.json"} <= {p.name for p in paths}
    for number, path in enumerate(paths):
        found = try_all(path, scaled(1000) // len(paths) + 1, number, read)
        assert found["detected"] > 0.9 * found.total(), path
    shutil.rmtree(out)


def test_logits_that_are_damaged_are_left_out(tmp_path: Path) -> None:
    logits, path = np.random.default_rng(0).normal(size=(80, 2)).astype(np.float32), tmp_path / "logits.safetensors"
    write_tensors(path, {"logits": torch.from_numpy(logits)}, {})
    assert np.array_equal(readable_logits([path], logits.shape)[0], logits)
    for way, data in mutants(path.read_bytes(), scaled(1000), 3):
        path.unlink()
        path.write_bytes(data)
        found = readable_logits([path], logits.shape)
        assert not found or np.array_equal(found[0], logits), way


def test_a_trial_that_changes_shared_weights_spoils_its_worker(
    evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = next(evaluator.base.module.parameters())
    whole = weight.detach().clone()

    def evaluate(*_task: object) -> dict[str, Any]:
        weight.data[0, 0] += 1e-3
        return {"measurements": {}}

    monkeypatch.setattr(evaluator, "evaluate", evaluate)
    monkeypatch.setattr(evaluator, "supply", lambda *_place: None)
    server = Server(io.StringIO())
    server.evaluator = evaluator
    task = {"do": "evaluate", "configuration": {}, "seed": 0, "folder": str(tmp_path), "dense": {}, "cost": 1.0}
    task |= {"dense_folder": str(tmp_path), "dense_files": {}, "bar": None, "others": []}
    try:
        assert not evaluator.touched()
        answer = server.result(lambda: server.serve(task))
        assert (
            answer["error"] == "failed" and answer["leaving"] and "weights that all trials share" in answer["message"]
        )
    finally:
        weight.data.copy_(whole)
    assert not evaluator.touched()
