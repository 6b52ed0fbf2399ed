"""One study on other targets than the one that it names: a search, exports, and a front that moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from slimfront.search.moving import move
from slimfront.search.records import Records
from slimfront.search.remeasured import MovedFront
from slimfront.search.run import Run
from slimfront.studies.errors import StudyError

from tests.commands import checked, forked, slimfront
from tests.exports import (
    require_that_a_conversion_equals_its_record,
    require_that_an_export_equals_its_record,
    require_that_the_card_example_runs,
)

# The format of each target's own files, and the files.
TARGETS = {
    "onnxruntime": ("onnx", {"model.onnx"}),
    "pytorch": ("pytorch", {"config.json", "compressed.json", "load.py", "model.safetensors"}),
}


def search(target: str, root: Path, data: dict[str, Any]) -> Path:
    """Search a small study that also names widths which the target lacks."""
    data["space"]["bits"]["levels"] = [3, 4, 8, 32]
    data["space"]["depth"] = {"levels": [0.0, 0.5]}
    (root / "study.yaml").write_text(json.dumps(data))
    told = forked("plan", root / "study.yaml", "--target", target)
    assert f"left out: 3 bits: {target} does not pack them" in told.stdout, told.stderr
    done = forked("launch", root / "study.yaml", "--target", target, "--run", root / "run")
    assert done.returncode == 0, done.stderr
    return root / "run"


@pytest.fixture(scope="module")
def onnx_run(tmp_path_factory: pytest.TempPathFactory, study_data: Callable[..., dict[str, Any]]) -> Path:
    data = study_data(trials=9, seed=1)
    data["target"] = {"tokens": "data"}
    return search("onnxruntime", tmp_path_factory.mktemp("onnx"), data)


@pytest.fixture(scope="module")
def pytorch_run(tmp_path_factory: pytest.TempPathFactory, study_data: Callable[..., dict[str, Any]]) -> Path:
    data = study_data(trials=9, seed=1, sampler="evolution")
    data["objectives"] = ["size", "throughput", "memory", "accuracy"]
    return search("pytorch", tmp_path_factory.mktemp("pytorch"), data)


def test_what_is_not_predicted_itself_has_a_proxy(pytorch_run: Path) -> None:
    run, trials = Run.open(pytorch_run), Records(pytorch_run).trials()
    sampled = [trial for trial in trials if trial.kind == "sampled" and trial.state == "complete"]
    assert sampled and all(t.details["predicted"]["memory"] == t.value("size") for t in sampled)
    assert all(t.steer("memory") == t.value("size") != t.value("memory") for t in sampled)
    assert all(trial.value("throughput") > 0 for trial in sampled)
    front = run.front()
    assert front.pick("fastest").values["throughput"] == min(p.values["throughput"] for p in front.points)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(target: str, request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue({"onnxruntime": "onnx_run", "pytorch": "pytorch_run"}[target])
    return found


def test_sizes_are_predicted_to_the_byte(target: str, run: Path) -> None:
    trials = [trial for trial in Records(run).trials() if trial.state == "complete"]
    assert Run.open(run).study.target.runtime == target and len(trials) > 2
    assert all(t.details["predicted"]["size"] == t.value("size") for t in trials if "predicted" in t.details)
    assert set(trials[0].files) == TARGETS[target][1]
    front = Run.open(run).front()
    told = {point.trial: point.to_json()["information"] for point in front.everything}
    assert max(entry["parameters"] for entry in told.values()) == told[front.dense.trial]["parameters"]
    assert all(0 < entry["multiply_adds_per_token"] < entry["parameters"] for entry in told.values())


def test_latency_over_the_lengths_of_the_texts(onnx_run: Path) -> None:
    told = forked("plan", onnx_run.parent / "study.yaml").stdout
    trials = [trial for trial in Records(onnx_run).trials() if trial.state == "complete"]
    lengths = {tuple(trial.measurements["latency"]["conditions"]["tokens"]) for trial in trials}
    (mix,) = lengths
    assert len(mix) == 5 and list(mix) == sorted(mix) and len(set(mix)) > 1 and max(mix) <= 16
    assert f"batch 1, {', '.join(map(str, mix))} tokens" in told
    assert "the texts' own lengths" in (onnx_run / "report.html").read_text()


def test_export_equals_its_record(target: str, run: Path, tmp_path: Path) -> None:
    require_that_an_export_equals_its_record(TARGETS[target][0], "dominated", run, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch-export", "executorch", "transformers"])
def test_formats_of_any_target(name: str, onnx_run: Path, tmp_path: Path) -> None:
    if name == "executorch":
        pytest.importorskip("executorch.runtime")
    require_that_a_conversion_equals_its_record(name, onnx_run, tmp_path)


def test_card_example_runs(run: Path, tmp_path: Path) -> None:
    require_that_the_card_example_runs(run, tmp_path)


def test_files_of_another_runtime_are_not_there(onnx_run: Path, tmp_path: Path) -> None:
    refused = forked("export", onnx_run, "--pick", "knee", "--to", "openvino", "--out", tmp_path / "out")
    allowed = "allowed: onnx, config, executorch, torch-export, transformers"
    assert refused.returncode == 2 and allowed in refused.stderr and "--target openvino" in refused.stderr
    refused = forked("export", onnx_run, "--target", "pytorch", "--out", tmp_path / "out")
    assert refused.returncode == 2 and "was not moved" in refused.stderr and "remeasure" in refused.stderr
    unknown = forked("remeasure", onnx_run, "--target", "onnx")
    assert unknown.returncode == 2 and "onnxruntime" in unknown.stderr


def test_a_device_that_is_not_there(onnx_run: Path, tmp_path: Path) -> None:
    data = Run.open(onnx_run).study.model_dump(mode="json")
    data["target"]["device"] = "cuda"
    (tmp_path / "study.yaml").write_text(json.dumps(data))
    refused = forked("plan", tmp_path / "study.yaml")
    assert refused.returncode == 2 and "target.device" in refused.stderr
    if not torch.cuda.is_available():
        missing = forked("plan", tmp_path / "study.yaml", "--target", "pytorch")
        assert missing.returncode == 3 and "no GPU" in missing.stderr


def test_a_front_moves_to_another_runtime(onnx_run: Path, tmp_path: Path) -> None:
    before = {point.trial: point for point in Run.open(onnx_run).front().points}
    done = forked("remeasure", onnx_run, "--target", "openvino", "--json")
    assert done.returncode == 0, done.stderr
    found = checked("remeasure", done.stdout)
    assert found["target"] == "openvino" and not found["left_out"] and len(found["recomputed"]) >= len(before)
    for point in found["front"]:
        files = Run.open(onnx_run).folder / "targets" / "openvino" / f"trial-{point['trial']:05d}"
        bytes_there = sum((files / name).stat().st_size for name in ("openvino_model.xml", "openvino_model.bin"))
        assert point["size"] == bytes_there != before[point["trial"]].values["size"]
        # The same weights, but for the rounding of activations.
        assert abs(point["accuracy"] - before[point["trial"]].values["accuracy"]) < 0.08
        assert abs(point["held_out"]["accuracy"] - before[point["trial"]].held_out["accuracy"]) < 0.08
    require_that_a_moved_point_can_be_exported(onnx_run, found, tmp_path / "out")


def require_that_a_moved_point_can_be_exported(run: Path, found: dict[str, Any], out: Path) -> None:
    """Export the first point with the figures of its new files; then damage what it was made of."""
    first = found["front"][0]
    command = ("export", run, "--target", "openvino", "--trial", first["trial"], "--out")
    done = forked(*command, out)
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "record.json").read_text())
    assert record["format"] == "openvino" and "openvino" in record["lock"]
    assert record["values"] == {name: first[name] for name in record["values"]}
    assert record["held_out"] == first["held_out"] and record["dense"] == found["dense"]
    verified = slimfront("verify", out)
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["accuracy"] == first["accuracy"]
    assert MovedFront.open(Run.open(run), "openvino").front.pick("knee").target == "openvino"
    weights = run / "targets" / "openvino" / f"trial-{first['trial']:05d}" / "openvino_model.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    damaged = forked(*command, out.with_name("again"))
    assert damaged.returncode == 4 and "not what was measured" in damaged.stderr


def test_what_a_runtime_lacks_is_left_out(onnx_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from slimfront.objectives.runtimes.openvino import OpenVino

    whole = OpenVino.supports
    monkeypatch.setattr(OpenVino, "supports", lambda self: replace(whole(self), bits=(2, 3, 16, 32)))
    run = Run.open(onnx_run)
    front = run.front()
    moved = move(run, "openvino", [front.dense, *front.points], lambda _text, _share: None)
    assert front.dense.trial in moved.folders and moved.left_out
    assert all("openvino has no 4" in why or "openvino has no 8" in why for why in moved.left_out.values())
    with pytest.raises(StudyError, match="no runtime of this name"):
        move(run, "tflite", [front.dense], lambda _text, _share: None)
