"""Files of torch.export: any batch, any length, the very numbers of the compressed model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from slimfront.search.export.torch_export import TorchExporter

from tests.search.export.small import compressed


@pytest.mark.parametrize(
    "kind",
    [
        "distilbert",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("bert", "roberta", "modernbert", "mpnet", "gpt2")),
    ],
)
def test_the_graph_computes_what_the_model_does(kind: str, tmp_path: Path) -> None:
    model = compressed(kind, units=True, block=True)
    assert TorchExporter().convert(model, tmp_path) == ["model.pt2"]
    program = torch.export.load(tmp_path / "model.pt2")
    assert set(program.graph_signature.user_inputs) == set(model.example)
    codes = [value for value in program.state_dict.values() if value.dtype == torch.uint8 and value.ndim == 2]
    assert len(codes) >= 3
    run = program.module()
    for rows, tokens in ((1, 1), (1, 5), (3, 16)):
        inputs = {name: torch.ones(rows, tokens, dtype=torch.long) for name in model.example}
        inputs["input_ids"] = torch.randint(4, 40, (rows, tokens))
        with torch.no_grad():
            assert torch.equal(run(**inputs), model.module(**inputs).logits)
