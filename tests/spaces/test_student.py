"""Drafts that are run and trained on the dense module's own code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from slimfront.spaces.draft import Draft
from slimfront.spaces.masks import MASKS, Pattern
from slimfront.spaces.quantizers import QUANTIZERS
from slimfront.spaces.quantizers.quantizer import group_size
from slimfront.spaces.structure import walk
from slimfront.spaces.student import Student, run, straight_through
from slimfront.studies.compressed import Capabilities, QuantizedTensor, as_floats
from slimfront.studies.dense import embedding_tables

from tests.conftest import DECODERS, ENCODERS, codes_of, cut_copy, example_inputs, make_encoder

CAPABILITIES = Capabilities((2, 3, 4, 6, 8, 16, 32), (128, 64, 32), ("f32",))


def cut_draft(module: Any, bits: int) -> Draft:
    anatomy = walk(module, example_inputs())
    scores = {s.name: torch.arange(s.units).float() for s in anatomy.structures}
    draft = Draft(anatomy, scores, CAPABILITIES, "f32")
    draft.keep = {s.name: list(range(1, s.units, 2)) for s in anatomy.structures[:3]}
    draft.bits = {name: bits for group in anatomy.groups for name in group.weights}
    draft.skipped = {anatomy.blocks[1].name}
    return draft


def gptq_codes(module: Any) -> Callable[..., Any]:
    """Return a source of weights in codes that round-to-nearest would not choose."""
    quantizer, weights = QUANTIZERS.get("gptq", where="x")(), dict(module.named_parameters())

    def codes(
        name: str, bits: int, columns: torch.Tensor | None, zeros: Pattern | None = None, static: bool = False
    ) -> Any:
        weight = weights[name].detach() if columns is None else weights[name].detach()[:, columns]
        if zeros:
            weight = MASKS.get("wanda", where="x")().thin(weight, zeros)
        if bits >= 16:
            return weight
        noise = torch.randn(200, weight.shape[1], generator=torch.Generator().manual_seed(0)).cumsum(1)
        group = group_size(weight.shape[1], bits, CAPABILITIES)
        return quantizer.quantize(weight, bits, group, noise.T @ noise / 200)

    return codes


@pytest.mark.parametrize("kind", (*ENCODERS, *DECODERS))
def test_swapped_parameters_compute_what_a_cut_copy_does(kind: str) -> None:
    module, inputs = make_encoder(kind), example_inputs()
    draft, codes = cut_draft(module, 32), codes_of(module, CAPABILITIES)
    before = {name: dict(vars(part)) for name, part in module.named_modules()}
    values = {name: as_floats(value) for name, value in draft.stitch(module, codes).tensors.items()}
    with torch.no_grad():
        found, expected = run(module, draft, values, inputs).logits, cut_copy(draft, module, codes)(**inputs).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    after = {name: dict(vars(part)) for name, part in module.named_modules()}
    assert all(
        before[name].get(key) == value for name in before for key, value in after[name].items() if type(value) is int
    )


@pytest.mark.parametrize("source", [lambda module: codes_of(module, CAPABILITIES), gptq_codes])
def test_a_student_begins_and_ends_in_codes(source: Callable[[Any], Callable[..., Any]]) -> None:
    module, inputs = make_encoder("bert"), example_inputs()
    draft, codes = cut_draft(module, 4), source(module)
    thinned = [name for name in draft.bits if "ffn" in name or "intermediate" in name]
    draft.zeros = dict.fromkeys(thinned, Pattern(0.5)) | {"classifier.weight": Pattern(0.5, 4)}
    draft.bits["classifier.weight"] = 32
    stitched = draft.stitch(module, codes)
    student = Student(module, draft, codes, embedding_tables(module))
    with torch.no_grad():
        values = {name: as_floats(value) for name, value in stitched.tensors.items()}
        torch.testing.assert_close(student(inputs).logits, run(module, draft, values, inputs).logits)
    optimizer = torch.optim.SGD(list(student.trained.values()), lr=0.5)
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(student(inputs).logits, torch.tensor([0, 1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trained = student.compressed()
    moved = zeros = 0
    for name, value in trained.tensors.items():
        start = stitched.tensors[name]
        assert value.shape == start.shape
        if isinstance(start, QuantizedTensor) and isinstance(value, QuantizedTensor):
            assert torch.equal(value.scales, start.scales) and torch.equal(value.zero_points, start.zero_points)
            assert value.bits == 4 and int(value.codes.max()) < 16
            moved += int((value.codes != start.codes).sum())
        if name in draft.zeros:
            gone = draft.floats(module, codes, [name])[name] == 0
            assert 0.4 < gone.float().mean() < 0.6 and (as_floats(value)[gone] == 0).all()
            zeros += 1
    assert moved > 0 and zeros == 2
    with torch.no_grad():
        values = {name: as_floats(value) for name, value in trained.tensors.items()}
        torch.testing.assert_close(student(inputs).logits, run(module, draft, values, inputs).logits)
    assert all(
        torch.equal(as_floats(trained.tensors[n]), as_floats(stitched.tensors[n])) for n in embedding_tables(module)
    )


def test_gradients_pass_through_rounding() -> None:
    weight = torch.randn(6, 32, requires_grad=True)
    grid = QUANTIZERS.get("affine", where="x")().quantize(weight.detach(), 2, 32)
    slope = torch.randn(6, 32)
    out = straight_through(weight, grid)
    (out * slope).sum().backward()
    assert torch.equal(out.detach(), grid.dequantize()) and torch.equal(weight.grad, slope)  # type: ignore[arg-type]
