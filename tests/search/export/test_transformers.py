"""Folders that Transformers loads: its own classes where they can be told of all, else with the shipped code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from slimfront.search.export.codes import packed
from slimfront.search.export.transformers import TransformersExporter
from slimfront.studies.compressed import QuantizedTensor
from slimfront.studies.errors import StudyError

from tests.search.export.small import compressed

KINDS = ("bert", "distilbert", "roberta", "modernbert", "mpnet", "gpt2", "llama")
# What is removed, in which widths, and the classes that can be told of it.
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "every width": ({}, ("bert", "distilbert", "roberta", "mpnet", "llama")),
    "floats": ({"bits": (32,)}, ("bert", "distilbert", "roberta", "modernbert", "mpnet", "llama")),
    "a block": ({"bits": (4, 8), "block": True}, ("bert", "distilbert", "roberta", "mpnet", "llama")),
    "units": ({"units": True}, ()),
}
FEW = (("bert", "a block"), ("bert", "units"), ("gpt2", "every width"), ("modernbert", "floats"), ("llama", "a block"))


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        pytest.param(kind, case, marks=() if (kind, case) in FEW else pytest.mark.slow)
        for kind in KINDS
        for case in CASES
    ],
)
def test_what_is_loaded_is_the_compressed_model(kind: str, case: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    how, told = CASES[case]
    model = compressed(kind, **how)
    names = TransformersExporter().convert(model, tmp_path)
    own = "modeling_narrowed.py" in names
    if case != "units":
        assert own == (kind not in told)
    loaded, info = AutoModelForSequenceClassification.from_pretrained(
        str(tmp_path), trust_remote_code=own, output_loading_info=True
    )
    assert not any(info.values())
    with torch.no_grad():
        assert torch.equal(loaded(**model.example).logits, model.module(**model.example).logits)
    config = json.loads((tmp_path / "config.json").read_text())
    widths = {
        group["weights"]["num_bits"]
        for group in config.get("quantization_config", {}).get("config_groups", {}).values()
    }
    assert max(widths, default=8) <= 8 and ("quantization_config" in config) == (case != "floats")
    if own:
        assert "trust_remote_code" in TransformersExporter().use(tmp_path).load


def test_codes_take_the_fewest_bits_that_hold_them() -> None:
    def tensor(bits: int, zero_point: int) -> QuantizedTensor:
        codes = torch.arange(2**bits, dtype=torch.uint8).reshape(2, 1, -1)
        points = torch.full((2, 1, 1), zero_point, dtype=torch.uint8)
        return QuantizedTensor(codes, torch.ones(2, 1, 1).half(), points, bits)

    found = {(bits, zero): packed(tensor(bits, zero), False)[0] for bits, zero in ((4, 8), (4, 3), (8, 128), (8, 100))}
    assert [(s.bits, s.packed, s.centred) for s in found.values()] == [
        (4, True, True),
        (5, True, True),
        (8, False, True),
        (8, False, False),
    ]
    scheme, held = packed(tensor(4, 3), True)
    assert scheme.bits == 8 and torch.equal(held["weight"].flatten(), torch.arange(16, dtype=torch.int8) - 3)


def test_classes_of_others_are_refused(tmp_path: Path) -> None:
    model = compressed("bert")
    model.dense.__class__ = type("OwnClassifier", (type(model.dense),), {})
    with pytest.raises(StudyError, match="torch-export"):
        TransformersExporter().convert(model, tmp_path)
