"""A student that rests on the way ends as one that does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from slimfront.search.evaluator import Evaluator
from slimfront.studies.compressed import QuantizedTensor, as_floats
from slimfront.studies.reader import parse_study


def prepare(data: dict[str, Any], factor: int | None) -> Evaluator:
    data["search"] |= {"reduction_factor": factor}
    data["space"]["distillation"] = {
        "steps": [0, 3, 6, 9],
        "hidden": [0.0, 1.0],
        "attention": 0.5,
        "learning_rate": [1e-3],
    }
    return Evaluator.prepare(parse_study(data), lambda _text, _share: None)


def test_rung_by_rung_or_at_once(study_data: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path))
    resting, straight = prepare(study_data("bert"), 3), prepare(study_data("bert"), None)
    space = resting.space
    settings = {"distillation/temperature": 4.0, "distillation/hidden": 1.0}
    values = {**space.uniform()[-1], **{n: v for n, v in settings.items() if n in space.domains}}
    chosen = {steps: space.canonical({**values, "distillation/steps": steps}) for steps in (0, 3, 6, 9)}

    def same(one: Any, other: Any) -> bool:
        return all(torch.equal(as_floats(one.tensors[n]), as_floats(other.tensors[n])) for n in one.tensors)

    expected = {steps: straight.compress(configuration) for steps, configuration in chosen.items()}
    assert not same(expected[3], expected[9]) and not list((tmp_path / "students").glob("*"))
    assert all(same(resting.compress(chosen[steps]), expected[steps]) for steps in (3, 6))
    kept = sorted((tmp_path / "students").glob("*.safetensors"))
    assert len(kept) == 2
    assert same(resting.compress(chosen[9]), expected[9]) and len(list((tmp_path / "students").glob("*"))) == 2
    kept[0].write_bytes(kept[0].read_bytes()[:-7])
    kept[1].unlink()
    assert same(resting.compress(chosen[9]), expected[9])
    coded = [value for value in expected[9].tensors.values() if isinstance(value, QuantizedTensor)]
    assert coded and all(int(value.codes.max()) < 2**value.bits for value in coded)


def test_students_with_other_settings_are_told_apart(
    study_data: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: Any
) -> None:
    """A setting with a single choice is no parameter of the space: two configurations look the same."""
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path))
    found = []
    for rate in (1e-4, 1e-2):
        data = study_data("bert")
        data["search"] |= {"reduction_factor": 2}
        data["space"]["distillation"] = {
            "steps": [0, 2, 4],
            "temperature": [2.0],
            "weight": [1.0],
            "learning_rate": rate,
        }
        evaluator = Evaluator.prepare(parse_study(data), lambda _text, _share: None)
        chosen = evaluator.space.canonical({**evaluator.space.uniform()[-1], "distillation/steps": 2})
        found.append((chosen, evaluator.compress(chosen)))
    assert found[0][0] == found[1][0] and len(list((tmp_path / "students").glob("*.safetensors"))) == 2
    assert any(not torch.equal(as_floats(v), as_floats(found[1][1].tensors[n])) for n, v in found[0][1].tensors.items())
