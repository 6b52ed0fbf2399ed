from __future__ import annotations

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from slimfront.spaces.moments import Ranges, watch
from slimfront.spaces.ranges import STEPS, fitted, rounded_in, rounding

from tests.conftest import example_inputs, make_encoder

ends = st.floats(-1e4, 1e4, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-3)


@given(ends, ends)
@example(9977.0, -9977.0)
def test_a_range_holds_both_ends_and_has_zero_among_its_levels(one: float, other: float) -> None:
    low, high = fitted(min(one, other), max(one, other))
    step = (high - low) / STEPS
    # Half a step where zero lies between two levels, and the rounding of the ends to 32 bits.
    slack = 0.5001 * step
    assert low - slack <= min(one, other, 0) and max(one, other, 0) <= high + slack and low <= 0 <= high
    assert abs(float(rounded_in(torch.zeros(1, dtype=torch.float64), (low, high)))) <= 1e-3 * step


@given(st.lists(st.floats(-3, 5, allow_subnormal=False), min_size=1, max_size=20))
def test_values_move_by_half_a_step_at_most_and_gradients_pass(values: list[float]) -> None:
    reads = fitted(-3.0, 5.0)
    given_values = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    found = rounded_in(given_values, reads)
    half = (reads[1] - reads[0]) / STEPS / 2
    assert (found - given_values).abs().max() <= half * 1.001 + max(0.0, 5.0 - reads[1], reads[0] + 3.0)
    inside = (given_values >= reads[0]) & (given_values <= reads[1])
    found.sum().backward()
    assert given_values.grad is not None and torch.equal(given_values.grad, inside.double())


def test_only_named_layers_are_rounded_and_only_for_a_while() -> None:
    module, inputs = make_encoder("bert"), example_inputs()
    name = "bert.encoder.layer.0.intermediate.dense"
    seen: list[torch.Tensor] = []
    layer = module.get_submodule(name)
    with torch.no_grad():
        before = module(**inputs).logits
        with rounding(module, {f"{name}.weight": fitted(-0.1, 0.1)}):
            layer.register_forward_pre_hook(lambda _layer, args: seen.append(args[0]))
            during = module(**inputs).logits
        assert torch.equal(module(**inputs).logits, before) and not torch.allclose(during, before, atol=1e-4)
    assert len(torch.unique(seen[0])) <= STEPS + 1 < len(torch.unique(seen[1]))


def test_ranges_leave_padding_out() -> None:
    module, inputs = make_encoder("bert"), example_inputs()
    name, read = "bert.encoder.layer.1.output.dense", []
    handle = module.get_submodule(name).register_forward_pre_hook(lambda _layer, args: read.append(args[0].detach()))
    with torch.no_grad():
        module(**inputs)
    handle.remove()
    ranges, labels = Ranges(), torch.zeros(2)
    halves = [({key: value[row : row + 1] for key, value in inputs.items()}, labels[:1]) for row in (0, 1)]
    watch(module, [name], halves, [ranges])
    words = read[0][inputs["attention_mask"].bool()]
    assert torch.allclose(ranges.found()[name], torch.stack([words.amin(0), words.amax(0)]), atol=1e-6)
