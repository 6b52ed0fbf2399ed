"""Folders of models that do more with their tables than to look rows up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t
from slimfront.objectives.runtimes.pytorch import PyTorch
from slimfront.objectives.runtimes.pytorch.file import encoded, size
from slimfront.spaces.quantizers.affine import Affine
from slimfront.studies.compressed import CompressedModel, Form
from slimfront.studies.schema import TargetSpec

SMALL = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 48, "pad_token_id": 0}
MODELS = {
    "gemma, which scales its rows": lambda: t.GemmaForSequenceClassification(
        t.GemmaConfig(**SMALL, num_attention_heads=2, num_key_value_heads=2, head_dim=16, use_cache=False)
    ),
    "opt, which adds to its positions": lambda: t.OPTForSequenceClassification(
        t.OPTConfig(
            vocab_size=60,
            hidden_size=32,
            num_hidden_layers=1,
            ffn_dim=48,
            num_attention_heads=2,
            pad_token_id=0,
            word_embed_proj_dim=32,
            max_position_embeddings=32,
            use_cache=False,
        )
    ),
    "deberta, which reads a table by itself": lambda: t.DebertaV2ForSequenceClassification(
        t.DebertaV2Config(
            **SMALL,
            num_attention_heads=2,
            relative_attention=True,
            norm_rel_ebd="layer_norm",
            pos_att_type=["p2c", "c2p"],
        )
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_tables_in_codes_do_what_they_did_in_floats(name: str, precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = MODELS[name]().eval()
    ids = torch.randint(1, 60, (2, 7))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    tables = {f"{path}.weight" for path, part in module.named_modules() if isinstance(part, torch.nn.Embedding)}
    tensors = {
        key: Affine().quantize(value.detach(), 8, value.shape[1]) if key in tables else value.detach()
        for key, value in module.named_parameters()
    }
    runtime = PyTorch(TargetSpec(runtime="pytorch"))
    blueprint = runtime.prepare(module, inputs, {}, {}, name)
    artifact = blueprint.lower(CompressedModel(tensors, precision=precision), tmp_path / "files")
    found = runtime.load(artifact).run({key: value.numpy() for key, value in inputs.items()})
    for key in tables:
        module.get_parameter(key).data = tensors[key].dequantize()
    with torch.no_grad():
        expected = module(**inputs).logits.numpy()
    assert np.abs(found - expected).max() < (1e-5 if precision == "f32" else 0.05 * np.abs(expected).max() + 0.01)


def test_the_file_is_as_large_as_its_parts_and_what_safetensors_reads(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    weight = torch.randn(3, 5)
    tensors = {
        "a.weight": weight,
        "b.weight": weight.half(),
        "c.weight": Affine().quantize(weight, 8, 5),
        "d.bias": weight[0],
    }
    data = encoded(tensors)
    assert len(data) == len(encoded({})) + sum(size(name, Form.of(tensor)) for name, tensor in tensors.items())
    (tmp_path / "x.safetensors").write_bytes(data)
    read = load_file(tmp_path / "x.safetensors")
    assert torch.equal(read["a.weight"], weight) and torch.equal(read["b.weight"], weight.half())
    assert torch.equal(read["d.bias"], weight[0]) and read["c.weight.codes"].dtype == torch.uint8
    assert set(read) == {
        "a.weight",
        "b.weight",
        "d.bias",
        *(f"c.weight.{p}" for p in ("codes", "scales", "zero_points")),
    }
