"""The super-network, on a small real model: what is stitched from it is nearer to dense, and it can be cut off."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from slimfront.search.evaluator import Evaluator
from slimfront.search.recovery import supernet
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.spaces.student import run
from slimfront.studies import checkpoint
from slimfront.studies.compressed import as_floats
from slimfront.studies.dense import tensors
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import SharedRecovery


@pytest.fixture(scope="module")
def plain(study_data: Callable[..., dict[str, Any]]) -> Evaluator:
    data = study_data("bert")
    data["space"]["depth"] = {"levels": [0.5]}
    data["space"]["sparsity"] |= {"granularity": "layer", "levels": [0.0, 0.34, 0.67]}
    data["space"]["bits"] |= {"granularity": "layer", "levels": [3, 4, 32]}
    return Evaluator.prepare(parse_study(data), lambda _text, _share: None)


def draw(space: Space, count: int) -> list[Configuration]:
    rng, dense = random.Random(3), space.dense()
    found = []
    for _ in range(count):
        values = {name: rng.choice(domain.values) for name, domain in space.domains.items()}
        found.append(space.canonical(values | {n: v for n, v in dense.items() if n.startswith("distillation/")}))
    return found


def divergence(evaluator: Evaluator) -> float:
    """Return the mean KL divergence of stitched models from the dense one, in nats."""
    inputs, _ = tensors(evaluator.subject.train, list(range(96)))
    total = 0.0
    with torch.no_grad():
        dense = evaluator.subject.module(**inputs).logits.double().log_softmax(-1)
        for configuration in draw(evaluator.space, 10):
            values = {n: as_floats(v).float() for n, v in evaluator.compress(configuration).tensors.items()}
            draft = evaluator.space.draft(evaluator.scores, configuration)
            found = run(evaluator.base.module, draft, values, inputs).logits.double().log_softmax(-1)
            total += float((dense.exp() * (dense - found)).sum(-1).mean()) / 10
    return total


def test_stitched_models_begin_recovered(plain: Evaluator) -> None:
    study = plain.study.model_copy(update={"recovery": SharedRecovery(steps=60, learning_rate=1e-3)})
    recovered = Evaluator.prepare(study, lambda _text, _share: None)
    assert divergence(recovered) < 0.6 * divergence(plain)
    dense = recovered.compress(recovered.space.dense()).tensors
    own = dict(plain.subject.module.named_parameters())
    assert all(torch.equal(as_floats(value), own[name]) for name, value in dense.items())


class Cut(Exception):
    pass


def test_a_training_that_was_cut_off_ends_the_same(plain: Evaluator, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    assert plain.tutor is not None
    teacher = plain.tutor.teacher

    def train(cache: str, progress: Callable[[str, float], None], damage: bool = False) -> dict[str, torch.Tensor]:
        monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path / cache))
        for file in (tmp_path / cache).glob("unfinished/*") if damage else ():
            file.write_bytes(file.read_bytes()[:-9])
        spec = SharedRecovery(steps=10, sampled=1, hidden=1.0, attention=1.0)
        module = supernet.super_network(plain.space, plain.scores, teacher, "w", spec, progress)
        return {name: value.detach() for name, value in module.named_parameters()}

    def cut(_text: str, share: float) -> None:
        if share > 0.6:
            raise Cut

    seen: list[float] = []
    whole = train("whole", lambda _text, _share: None)
    for cache in ("cut", "damaged"):
        with pytest.raises(Cut):
            train(cache, cut)
        assert len(list((tmp_path / cache).glob("unfinished/*"))) == 1
    again = train("cut", lambda _text, share: seen.append(share))
    assert seen[0] == pytest.approx(0.7) and not list((tmp_path / "cut").glob("unfinished/*"))
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    afresh = train("damaged", lambda _text, _share: None, damage=True)
    assert all(torch.equal(value, afresh[name]) for name, value in whole.items())
