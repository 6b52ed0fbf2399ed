"""What runtimes tell of the runs of a profile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from slimfront.objectives.runtimes.onnxruntime import execution as onnxruntime
from slimfront.objectives.runtimes.openvino import execution as openvino


def run_thrice(run: Callable[[], object]) -> int:
    for _ in range(3):
        run()
    return 3


def test_the_mean_that_openvino_tells_is_rid_of_the_first_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, took = [0.0], list[float]()

    def told() -> list[SimpleNamespace]:
        def node(name: str, share: float, status: str) -> SimpleNamespace:
            # Whole microseconds, as OpenVINO tells them.
            mean = int(share * float(np.mean(took)) * 1e6) / 1e6
            real_time, states = SimpleNamespace(total_seconds=lambda: mean), SimpleNamespace(EXECUTED="executed")
            return SimpleNamespace(node_name=name, node_type="Add", status=status, Status=states, real_time=real_time)

        return [node("a", 0.5, "executed"), node("b", 0.25, "executed"), node("c", 0.0, "not run")]

    class Request:
        profiling_info = property(lambda _self: told())

        def infer(self, _request: object) -> None:
            took.append(0.002 if took else 1.0)
            clock[0] += took[-1]

    def reference() -> None:
        clock[0] += 0.010

    def seconds(work: Callable[[], object]) -> float:
        start = clock[0]
        work()
        return clock[0] - start

    compiled = SimpleNamespace(create_infer_request=Request)
    monkeypatch.setattr("openvino.Core", lambda: SimpleNamespace(read_model=lambda **_: None))
    monkeypatch.setattr("openvino.Tensor", lambda _data: None)
    monkeypatch.setattr("openvino.compile_model", lambda *_: compiled)
    monkeypatch.setattr(openvino, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(openvino, "seconds", seconds)
    monkeypatch.setattr(openvino, "settle", run_thrice)
    found = openvino.node_times("", np.zeros(1, np.uint8), {}, {}, 9, reference)
    assert {name: spent for name, _, spent in found} == pytest.approx({"a": 0.1, "b": 0.05, "": 0.05}, rel=1e-3)


def test_the_timed_run_of_onnx_runtime_is_the_one_after_those_that_settle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events: list[dict[str, Any]] = []

    def run(*_: object) -> None:
        number = len(events) // 2
        start = 1000 * number
        events.append({"name": "model_run", "cat": "Session", "ts": start, "dur": 900})
        events.append({"name": "add_kernel_time", "cat": "Node", "ts": start + 1, "dur": number})

    def written() -> str:
        (tmp_path / "trace.json").write_text(json.dumps(events))
        return str(tmp_path / "trace.json")

    monkeypatch.setattr(onnxruntime, "session", lambda *_: SimpleNamespace(run=run, end_profiling=written))
    monkeypatch.setattr(onnxruntime, "settle", run_thrice)
    seen: list[float] = []

    class Parts(onnxruntime.Parts[str]):
        def in_units(self) -> tuple[dict[str, float], float]:
            seen.extend(spent["add"] * 1e6 for spent in self.spent)
            return super().in_units()

    monkeypatch.setattr(onnxruntime, "Parts", Parts)
    monkeypatch.setattr(Parts, "__class_getitem__", lambda _kind: Parts, raising=False)
    onnxruntime.node_times(b"", {}, {}, 3, lambda: None)
    last = onnxruntime.WARM_UP + 3
    assert seen == pytest.approx([last, last + 4, last + 8])
