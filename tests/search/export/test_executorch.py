"""Programs for ExecuTorch: any length, and the numbers of the compressed model; without it a clear refusal."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from slimfront.search.export.executorch import ExecuTorchExporter
from slimfront.studies.errors import MissingError

from tests.search.export.small import compressed

INSTALLED = importlib.util.find_spec("executorch") is not None


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="executorch is not installed")
@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "modernbert", "mpnet", "gpt2"])
def test_the_program_computes_what_the_model_does(kind: str, tmp_path: Path) -> None:
    from executorch.runtime import Runtime

    model = compressed(kind, units=True, block=True)
    assert ExecuTorchExporter().convert(model, tmp_path) == ["model.pte"]
    # Of so small a model the program itself is most of the file: it is compared with that of the floats.
    whole = tmp_path / "whole"
    whole.mkdir()
    ExecuTorchExporter().convert(compressed(kind, bits=(32,), units=True, block=True), whole)
    saved = (whole / "model.pte").stat().st_size - (tmp_path / "model.pte").stat().st_size
    assert saved > 0
    # XNNPACK multiplies, not the slow kernels that run on everything.
    assert b"aten::addmm" not in (tmp_path / "model.pte").read_bytes()
    names = ExecuTorchExporter().options(model)["inputs"]
    assert set(names) == set(model.example)
    program = Runtime.get().load_program(tmp_path / "model.pte")
    method = program.load_method("forward")
    assert method is not None
    for tokens in (2, 5, 16):
        inputs = {name: torch.ones(1, tokens, dtype=torch.long) for name in names}
        inputs["input_ids"] = torch.randint(4, 40, (1, tokens))
        with torch.no_grad():
            expected = model.module(**inputs).logits
        torch.testing.assert_close(method.execute([inputs[name] for name in names])[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(INSTALLED, reason="executorch is installed")
def test_without_executorch_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"slimfront\[executorch\]"):
        ExecuTorchExporter().convert(compressed("bert"), tmp_path)
