"""Folders that hold no model that can be used."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from slimfront.studies.errors import StudyError
from slimfront.studies.models import load_model, load_tokenizer
from slimfront.studies.schema import ModelSpec


@pytest.fixture
def folder(encoder_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(encoder_folder("bert"), tmp_path / "model"))


@pytest.mark.parametrize("text", ["{", "", "[]", "{}"])
def test_a_damaged_configuration_is_not_the_tokenizers_fault(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    for load in (load_tokenizer, lambda spec: load_model(spec, ("a", "b"))):
        with pytest.raises(StudyError) as told:
            load(ModelSpec(path=str(folder)))
        assert "configuration" in str(told.value) and str(folder) in str(told.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(folder: Path, value: float) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "bert.encoder.layer.1.output.dense.weight"
    weights[name][3, 5] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StudyError, match="not finite") as told:
        load_model(ModelSpec(path=str(folder)), ("a", "b"))
    assert name in str(told.value)
