"""What a worker finds out before the first trial, on a small real model: bank, tables, prediction, trial."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.download import packed_size
from slimfront.objectives.rest import at_rest
from slimfront.objectives.sessions import Session
from slimfront.objectives.sessions.openvino import OpenVinoSession
from slimfront.search.baseline import Baseline
from slimfront.search.choosing import PACKED
from slimfront.search.evaluator import Evaluator, Reference
from slimfront.search.guide import follow, guide
from slimfront.search.prediction import Predictor
from slimfront.search.prediction.building import Builder
from slimfront.search.prediction.timing import Timing
from slimfront.search.racing import LOGITS, Bar
from slimfront.search.recovery.distil import distil
from slimfront.search.sensitivity import sensitivities
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.ranges import rounding
from slimfront.spaces.space import Space
from slimfront.studies.dense import tensors
from slimfront.studies.encoding import Batch
from slimfront.studies.reader import parse_study

from tests.conftest import cut_copy


@dataclass
class Prepared:
    evaluator: Evaluator
    told: dict[str, Any]
    space: Space
    predictor: Predictor

    def draw(self, count: int, seed: int = 0) -> list[Configuration]:
        rng, plain = random.Random(seed), self.space.dense()
        found = []
        for _ in range(count):
            values = {name: rng.choice(domain.values) for name, domain in self.space.domains.items()}
            found.append(self.space.canonical({**values, **{n: plain[n] for n in values if "distil" in n}}))
        return found


@pytest.fixture(scope="module")
def prepared(study_data: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    data = study_data("bert")
    data["space"]["depth"] = {"levels": [0.5]}
    data["space"]["sparsity"] |= {"granularity": "layer", "levels": [0.0, 0.34, 0.67]}
    data["space"]["bits"] |= {"granularity": "layer", "levels": [2, 3, 4, "8-static", 32]}
    data["space"]["unstructured"] = {"granularity": "role", "levels": [0.5, "1:4"]}
    data["objectives"] = ["size", "latency", "download", "accuracy"]
    # Of so small a model the headers of the files take most.
    data["search"]["bank"] = 20
    study = parse_study(data)
    with pytest.MonkeyPatch.context() as patch:
        # A bank of the same weights in which other searches would make room.
        patch.setenv("SLIMFRONT_CACHE", str(tmp_path_factory.mktemp("cache")))
        evaluator = Evaluator.prepare(study, lambda _text, _share: None)
        told = guide(evaluator, lambda _text, _share: None)
        space, predictor = follow(study, json.loads(json.dumps(told)))
        yield Prepared(evaluator, told, space, predictor)


def test_the_coordinator_lays_the_same_space(prepared: Prepared) -> None:
    assert prepared.space.domains == prepared.evaluator.space.domains
    assert prepared.space.uniform() == prepared.evaluator.space.uniform()


def test_quality_is_read_eight_sentences_at_once(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator, dense, rows = prepared.evaluator, tmp_path / "dense", list[int]()
    evaluator.evaluate(prepared.space.dense(), 0, dense, Reference(dense))
    whole = OpenVinoSession.run

    def run(session: OpenVinoSession, batch: Batch) -> Any:
        rows.append(len(batch["input_ids"]))
        return whole(session, batch)

    monkeypatch.setattr(OpenVinoSession, "run", run)
    values = {"size": 1.0, "latency": 1.0, "download": 1.0, "accuracy": 0.5}
    told = evaluator.evaluate(prepared.space.uniform()[1], 0, tmp_path / "own", Reference(dense, values), Bar(0, 0.0))
    sentences = len(evaluator.subject.search)
    assert told["sentences"] == sentences and rows.count(8) == sentences // 8
    assert set(rows) <= {1, 8, sentences % 8}


def test_sizes_are_predicted_to_the_byte(prepared: Prepared, tmp_path: Path) -> None:
    chosen = [*prepared.space.uniform(), *prepared.draw(12)]
    for number, configuration in enumerate(chosen):
        artifact = prepared.evaluator.lower(configuration, tmp_path / str(number))
        on_disk = sum((tmp_path / str(number) / name).stat().st_size for name in artifact.files)
        assert prepared.predictor.predict([configuration]).size[0] == artifact.size() == on_disk


def test_downloads_are_predicted_within_a_few_percent(prepared: Prepared, tmp_path: Path) -> None:
    drawn = [*prepared.space.uniform(), *prepared.draw(12, 3)]
    told, true = prepared.predictor.predict(drawn).download, []
    for configuration in drawn:
        artifact = prepared.evaluator.lower(configuration, tmp_path / "artifact")
        true.append(sum(packed_size((artifact.folder / name).read_bytes()) for name in artifact.files))
    assert told == pytest.approx(true, rel=PACKED) and spearmanr(told, true).statistic > 0.95
    # Zeros are worth something, and cost nothing of the size.
    space, bits = prepared.space, dict.fromkeys((n for n in prepared.space.domains if "bits/" in n), 4)
    zeros = {name: "1:4" for name in space.domains if "unstructured/" in name}
    whole, thin = (space.settled({**space.dense(), **bits, **more}) for more in ({}, zeros))
    found = prepared.predictor.predict([whole, thin])
    assert found.size[0] == found.size[1] and found.download[1] < 0.85 * found.download[0]


def test_latency_is_relative_to_dense_and_falls_with_the_work(prepared: Prepared) -> None:
    space, predict = prepared.space, prepared.predictor.predict
    dense, *_ = predict([space.dense()]).latency
    assert 0.5 < dense < 2 and (predict(prepared.draw(30)).latency > 0).all()
    assert 0 <= prepared.predictor.tables.spread < 1


def test_what_stands_between_products_takes_longer_the_more_they_multiply(prepared: Prepared) -> None:
    """Against the shapes of what is really compressed."""
    evaluator, space = prepared.evaluator, prepared.space
    shapes = {name: tuple(value.shape) for name, value in evaluator.subject.module.named_parameters()}
    builder = Builder(space, evaluator.scores, evaluator.runtime, evaluator.blueprint, shapes)
    modes = tuple(prepared.predictor.tables.latency)
    nothing = {name: [0.0] * len(domain.values) for name, domain in space.domains.items()}
    precision, start, slope = space.capabilities.precisions[0], 0.1, 1e-6
    tables = builder.build(Timing({}, {}, {precision: (start, slope)}), modes, nothing, (), None)
    works = []
    for configuration in [space.dense(), *space.uniform(), *prepared.draw(8)]:
        tensors = evaluator.compress(configuration).tensors
        works.append(sum(math.prod(tensors[n].shape) for n in evaluator.blueprint.products if n in tensors))
        (told,) = tables.times(tables.levels([configuration]), [next(m for m in modes if m.startswith(precision))])
        assert told == pytest.approx(start + slope * works[-1])
    assert max(works) > 2 * min(works) > 0


def test_tables_are_read_from_the_cache(prepared: Prepared) -> None:
    assert guide(prepared.evaluator, lambda text, _share: pytest.fail(text)) == prepared.told


def singles(prepared: Prepared) -> Iterator[tuple[str, int, Configuration]]:
    for name, domain in prepared.space.domains.items():
        if name.startswith(("depth/", "sparsity/", "bits/", "unstructured/")):
            for level, value in enumerate(domain.values[1:], 1):
                yield name, level, prepared.space.canonical({**prepared.space.dense(), name: value})


def test_sensitivity_orders_single_changes_as_they_are(prepared: Prepared) -> None:
    """Each level is really applied to the module, and the divergence on the same sentences compared."""
    evaluator = prepared.evaluator
    subject = evaluator.subject
    found = sensitivities(subject, evaluator.space, evaluator.scores, evaluator.bank, lambda _text, _share: None)
    inputs, _ = tensors(subject.train, list(range(128)))
    with torch.no_grad():
        before = subject.module(**inputs).logits.double().log_softmax(-1)
        told, true = [], []
        for name, level, configuration in singles(prepared):
            compressed = evaluator.compress(configuration)
            draft = evaluator.space.draft(evaluator.scores, configuration)
            module = cut_copy(draft, subject.module, evaluator.bank.codes)
            values = {n: v if isinstance(v, torch.Tensor) else v.dequantize() for n, v in compressed.tensors.items()}
            module.load_state_dict({n: v.float() for n, v in values.items()}, strict=False)
            with rounding(module, compressed.reads):
                after = module(**inputs).logits.double().log_softmax(-1)
            true.append(float((before.exp() * (before - after)).sum(-1).mean()))
            told.append(found[name][level])
    assert len(true) > 20 and spearmanr(told, true).statistic > 0.9
    assert all(found[name][0] == 0 for name in evaluator.space.domains)


def test_loss_of_mixtures_is_ordered(prepared: Prepared, tmp_path: Path) -> None:
    evaluator, drawn = prepared.evaluator, prepared.draw(24, 1)
    dense = evaluator.evaluate(prepared.space.dense(), 0, tmp_path / "dense", Reference(tmp_path / "dense"))
    values = {name: entry["value"] for name, entry in dense["measurements"].items()}
    true = []
    for number, configuration in enumerate(drawn):
        place = tmp_path / str(number)
        true.append(evaluator.evaluate(configuration, 0, place, Reference(tmp_path / "dense", values))["divergence"])
    assert spearmanr(prepared.predictor.predict(drawn).loss, true).statistic > 0.6


def test_a_trial_compresses_nothing_that_the_bank_has(prepared: Prepared) -> None:
    before = prepared.evaluator.bank.made
    for configuration in prepared.draw(10, 2):
        prepared.evaluator.compress(configuration)
    again = Evaluator.prepare(prepared.evaluator.study, lambda _text, _share: None)
    assert prepared.evaluator.bank.made == before and again.bank.made == 0


def test_a_trial_that_is_beaten_stops_and_says_so(prepared: Prepared, tmp_path: Path) -> None:
    evaluator, space = prepared.evaluator, prepared.space
    dense = tmp_path / "dense"
    told = evaluator.evaluate(space.dense(), 0, dense, Reference(dense))
    values = {name: entry["value"] for name, entry in told["measurements"].items()}
    worst = space.canonical(
        {name: domain.values[-1] for name, domain in space.domains.items()}
        | {name: value for name, value in space.dense().items() if "distil" in name}
    )
    full = evaluator.evaluate(worst, 0, tmp_path / "full", Reference(dense, values))
    # As if only what is better than dense by 0.2 were of use: nothing can be. A damaged file of logits disturbs nobody.
    (tmp_path / "damaged.npy").write_bytes(b"PK\x03\x04 no logits")
    others = [tmp_path / "full" / LOGITS, tmp_path / "damaged.npy", tmp_path / "missing.npy"]
    reference = Reference(dense, values, 0.5, others)
    raced = evaluator.evaluate(worst, 0, tmp_path / "raced", reference, Bar(0, values["accuracy"] + 0.2))
    assert raced["stopped"]["by"] == 0 and raced["sentences"] < full["sentences"] == 80
    assert full["measurements"]["accuracy"]["value"] <= raced["stopped"]["bound"] < values["accuracy"] + 0.2
    assert raced["measurements"]["latency"]["value"] == pytest.approx(0.5 * values["latency"])
    assert raced["measurements"]["size"]["value"] == full["measurements"]["size"]["value"]
    assert np.isfinite(raced["divergence"]) and "files" not in raced


@pytest.mark.parametrize("large", [True, False])
def test_the_dense_model_is_loaded_where_a_latency_is_measured_and_gone_where_a_large_one_is_trained(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    evaluator, space, dense = prepared.evaluator, prepared.space, tmp_path / "dense"
    told = evaluator.evaluate(space.dense(), 0, dense, Reference(dense))
    values = {name: entry["value"] for name, entry in told["measurements"].items()}
    (small,) = prepared.draw(1)
    distilled = space.canonical({**small, "distillation/steps": max(space.domains["distillation/steps"].values)})
    loaded, alive, beside, load = list[str](), WeakSet[Session](), list[int](), evaluator.runtime.load

    def noted(artifact: Artifact) -> Session:
        session = load(artifact)
        loaded.append(artifact.folder.name)
        alive.add(session)
        return session

    def trained(*arguments: Any) -> None:
        beside.append(len(alive))
        distil(*arguments)

    def timed(*arguments: Any) -> Any:
        # Before, and not as a part of what is timed.
        assert loaded.count("dense") == (2 if large and "distilled" in loaded else 1)
        return at_rest(*arguments)

    monkeypatch.setattr(evaluator, "_baseline", Baseline(noted))
    monkeypatch.setattr(evaluator.runtime, "load", noted)
    monkeypatch.setattr("slimfront.search.baseline.LARGE", 0 if large else 2**28)
    monkeypatch.setattr("slimfront.objectives.latency.at_rest", timed)
    monkeypatch.setattr("slimfront.search.recovery.tutor.distil", trained)
    for name, configuration, bar in (
        ("stopped", small, Bar(0, values["accuracy"] + 0.2)),
        ("whole", small, None),
        ("distilled", distilled, None),
    ):
        evaluator.evaluate(configuration, 0, tmp_path / name, Reference(dense, values), bar)
    assert loaded == ["stopped", "whole", "dense", "distilled", *(["dense"] if large else [])]
    assert beside == [0 if large else 1]


def test_what_a_removed_block_was_given_does_not_count(prepared: Prepared) -> None:
    """Samplers weigh levels as they come; only what is started is canonical."""
    space, predictor = prepared.space, prepared.predictor
    block = "bert.encoder.layer.1"
    gone = {**space.dense(), f"depth/{block}": "removed"}
    own = {name: domain.values[-1] for name, domain in space.domains.items() if block in name}
    filled = {**space.dense(), **own, f"depth/{block}": "removed"}
    told = [predictor.predict([values]) for values in (gone, filled)]
    assert told[0].loss == pytest.approx(told[1].loss) and told[0].size == told[1].size
    kept = predictor.predict([{**space.dense(), **own, f"depth/{block}": "kept"}])
    assert kept.loss[0] > 0 and predictor.tables.idle
