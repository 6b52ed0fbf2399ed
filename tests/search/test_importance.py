"""Which parameters matter, on records in which that is known."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from slimfront.search.inspect.importance import LEAST, active, alike, group, importance
from slimfront.search.records import Records
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Domain

DOMAINS = {
    **{f"bits/net.{block}.ffn": Domain((32, 8, 4, 2)) for block in range(3)},
    **{f"sparsity/net.{block}.attention": Domain((0.0, 0.5, 0.9)) for block in range(3)},
    **{f"depth/net.{block}": Domain(("kept", "removed"), ordered=False) for block in range(3)},
    "distillation/steps": Domain((0, 100)),
    "distillation/temperature": Domain((1.0, 4.0)),
}
OBJECTIVES = {
    "size": {"unit": "byte", "direction": "minimize"},
    "accuracy": {"unit": "fraction", "direction": "maximize"},
}


def records_of(folder: Path, trials: int) -> Records:
    """Return records in which one layer's bits alone make the size, and one layer's heads the accuracy."""
    records, rng = Records(folder, create=True), random.Random(0)
    records.begin("known", OBJECTIVES)
    for number in range(trials):
        values = {
            name: rng.choice(domain.values[:1] if name.startswith("depth") else domain.values)
            for name, domain in DOMAINS.items()
        }
        size = float(values["bits/net.1.ffn"]) + 0.01 * rng.random()
        accuracy = 0.9 - 0.3 * float(values["sparsity/net.2.attention"]) + 0.001 * rng.random()
        trial = records.start(number, Configuration(values), DOMAINS, "sampled" if number else "dense", number)
        measured = {"size": {"value": size, "steer": size}, "accuracy": {"value": accuracy, "steer": accuracy}}
        records.complete(trial, {"measurements": measured, **({"stopped": {}} if number % 5 == 4 else {})}, {})
    return records


def test_what_makes_an_objective_is_found(tmp_path: Path) -> None:
    records = records_of(tmp_path, 81)
    found = importance(records, records.trials())
    assert (found["trials"], found["stopped"]) == (80, 16)
    size, accuracy = found["objectives"]["size"], found["objectives"]["accuracy"]
    assert max(size["shares"], key=size["shares"].get) == "bits/net.1.ffn" and size["groups"]["bits"] > 0.7
    assert max(accuracy["shares"], key=accuracy["shares"].get) == "sparsity/net.2.attention"
    assert accuracy["groups"]["heads"] > 0.7
    row, column = [label for label, _ in size["rows"]].index("net.1"), size["roles"].index("bits ffn")
    assert size["rows"][row][1][column] == size["largest"] == size["shares"]["bits/net.1.ffn"]
    # Most of what has no effect is not told from chance.
    assert len(accuracy["shares"]) <= 4


def test_too_few_trials_say_nothing(tmp_path: Path) -> None:
    records = records_of(tmp_path, LEAST)
    found = importance(records, records.trials())
    assert found["objectives"] == {} and found["trials"] == LEAST - 1


def test_settings_without_effect_are_no_parameters() -> None:
    values = {name: domain.values[0] for name, domain in DOMAINS.items()}
    removed = Configuration({**values, "depth/net.0": "removed", "bits/net.1.ffn": 4, "bits/net.2.ffn": 4})
    assert active(removed) == {name for name in DOMAINS if "net.0" not in name or name == "depth/net.0"} - {
        "distillation/temperature"
    }
    assert alike(Configuration(values)) and not alike(removed)


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("sparsity/net.0.ffn", "neurons"),
        ("sparsity/attention", "heads"),
        ("sparsity/all", "heads and neurons"),
        ("bits/embeddings", "bits"),
        ("unstructured/net.0.qkv", "zeros"),
    ],
)
def test_axes_have_the_names_that_people_use(name: str, axis: str) -> None:
    assert group(name) == axis
