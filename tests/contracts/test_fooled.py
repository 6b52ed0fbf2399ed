"""Ten ways in which a measurement could be fooled, each of which is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slimfront.objectives.artifact import MANIFEST, Artifact
from slimfront.objectives.runtimes import RUNTIMES
from slimfront.objectives.sessions import Session
from slimfront.objectives.sessions.session import read
from slimfront.objectives.stopwatch import interleaved, ratio
from slimfront.search.plan import check, describe_plan
from slimfront.spaces.space import Space
from slimfront.spaces.structure import walk
from slimfront.studies.data import load_splits
from slimfront.studies.encoding import Batch, Encoded
from slimfront.studies.errors import RecordsError, StudyError
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import DataSpec, TargetSpec
from slimfront.studies.space import BitsSpec, SpaceSpec
from slimfront.studies.subject import load_subject

from tests.conftest import codes_of, example_inputs, make_encoder, write_reviews

Make = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Artifact]:
    """Return a function that makes a target's artifact for two threads."""

    def make(target: str) -> Artifact:
        module, inputs = make_encoder("bert"), example_inputs()
        runtime = RUNTIMES.get(target, where="x")(TargetSpec(runtime=target, threads=2))
        space = Space(SpaceSpec(bits=BitsSpec()), walk(module, inputs), runtime.supports())
        compressed = space.draft({}, space.dense()).stitch(module, codes_of(module, runtime.supports()))
        blueprint = runtime.prepare(module, inputs, {}, {}, "fooled")
        return blueprint.lower(compressed, tmp_path_factory.mktemp("files") / target)

    return make


def test_texts_of_one_split_in_another(study_data: Make, tmp_path: Path) -> None:
    lines = write_reviews(tmp_path / "reviews.csv").read_text().splitlines()
    copies = [f"{line.rsplit(',', 1)[0]},another film {number % 40}" for number, line in enumerate(lines[1:])]
    (tmp_path / "reviews.csv").write_text("\n".join([*lines, *copies]) + "\n")
    data = study_data()
    data["data"]["path"] = str(tmp_path / "reviews.csv")
    study = parse_study(data)
    assert load_splits(study.data).shared()
    assert any("stand in" in line for line in describe_plan(*check(study)))


def test_one_class_in_the_search_split(tmp_path: Path) -> None:
    rows = [f"a film {n},{'fresh' if n < 60 else 'rotten'},{'one' if n < 60 else 'other'}" for n in range(90)]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label,film", *rows]) + "\n")
    spec = {"path": str(tmp_path / "reviews.csv"), "text": "text", "label": "label"}
    splits = {"train": 40, "search": 3, "held_out": 3, "seed": 1}
    refused = [StudyError]
    for seed in range(40):
        try:
            load_splits(DataSpec.model_validate({**spec, "splits": {**splits, "seed": seed}}))
        except StudyError as error:
            refused.append(error)  # type: ignore[arg-type]
    assert any("one class only" in str(error) for error in refused[1:])


def test_an_artifact_with_a_flipped_bit(files: Callable[[str], Artifact]) -> None:
    artifact = files("openvino")
    weights = artifact.folder / "openvino_model.bin"
    data = bytearray(weights.read_bytes())
    data[len(data) // 3] ^= 4
    weights.write_bytes(bytes(data))
    with pytest.raises(RecordsError, match="not what was measured"):
        Artifact.open(artifact.folder)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite(bad: float) -> None:
    class Broken(Session):
        inputs, threads = ("input_ids",), 1

        def __init__(self) -> None: ...

        def run(self, batch: Batch) -> Any:
            return np.full((len(batch["input_ids"]), 2), bad, dtype=np.float32)

    rows = ({"input_ids": [1, 2, 3]}, {"input_ids": [1, 2]})
    examples = Encoded.of(rows, np.array([0, 1]), {"input_ids": 0})
    with pytest.raises(ValueError, match="not finite"):
        read(Broken(), examples, [[0, 1]])


def test_another_process_that_loads_the_processor() -> None:
    # Bursts of other work fall on a model that is 20 % slower, and on one that is not, alike.
    rng = np.random.default_rng(3)
    claims = 0
    for _ in range(200):
        load = 1 + 3.0 * (rng.random((60, 2)) < 0.3) * rng.random((60, 2))
        times = np.array([1.0, 1.2]) * load
        found = ratio(times[:, 1], times[:, 0])
        claims += found.high < 1.0 and not found.noisy
    assert claims <= 2
    assert interleaved([lambda: None, lambda: None], 0.0).shape[1] == 2


def test_a_model_that_ignores_its_mask(study_data: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BertForSequenceClassification

    whole = BertForSequenceClassification.forward

    def blind(self: Any, input_ids: Any = None, attention_mask: Any = None, token_type_ids: Any = None) -> Any:
        return whole(self, input_ids, torch.ones_like(attention_mask), token_type_ids)

    study = parse_study(study_data())
    load_subject(study)
    monkeypatch.setattr(BertForSequenceClassification, "forward", blind)
    with pytest.raises(StudyError, match="does not heed its attention mask"):
        load_subject(study)


def test_a_tokenizer_that_is_not_the_trained_one(study_data: Make, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    other = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "unheard": 2}, unk_token="[UNK]"))
    other.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=other, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(str(tmp_path / "other"))
    data = study_data()
    data["model"]["tokenizer"] = {"path": str(tmp_path / "other")}
    with pytest.raises(StudyError, match="does not know the words"):
        load_subject(parse_study(data))


def test_a_metric_whose_labels_are_not_there(study_data: Make, tmp_path: Path) -> None:
    rows = [f"a film of number {n},,{n % 30}" for n in range(300)]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label,film", *rows]) + "\n")
    data = study_data()
    data["data"]["path"] = str(tmp_path / "reviews.csv")
    with pytest.raises(StudyError, match=r"data\.label"):
        load_splits(parse_study(data).data)


@pytest.mark.parametrize("target", RUNTIMES.names())
def test_a_latency_with_other_threads(target: str, files: Callable[[str], Artifact]) -> None:
    artifact = files(target)
    session = RUNTIMES.get(target, where="x")(TargetSpec(runtime=target)).load(artifact)
    assert session.threads == 2
    manifest = artifact.folder / MANIFEST
    changed = manifest.read_text().replace('threads": 2', 'threads": 1').replace('THREADS": 2', 'THREADS": 1')
    assert changed != manifest.read_text()
    manifest.write_text(changed)
    with pytest.raises(RecordsError, match="damaged"):
        Artifact.open(artifact.folder)


def test_a_size_that_forgets_external_data(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "model.onnx.data").write_bytes(b"weights")
    with pytest.raises(ValueError, match=r"would not be counted: model\.onnx\.data"):
        Artifact.seal(tmp_path, ["model.onnx"], "onnxruntime", {})
    assert Artifact.seal(tmp_path, ["model.onnx", "model.onnx.data"], "onnxruntime", {}).size() == 12
