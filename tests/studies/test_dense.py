from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slimfront.studies import checkpoint
from slimfront.studies.dense import last_linear, tensors
from slimfront.studies.encoding import Encoded
from slimfront.studies.errors import StudyError
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import Study
from slimfront.studies.subject import Subject, load_subject, trained

Make = Callable[..., dict[str, Any]]


def study_of(study_data: Make, **train: Any) -> Study:
    return parse_study({**study_data("bert"), "train": train})


def logits(subject: Subject, encoded: Encoded) -> torch.Tensor:
    batch = {name: torch.from_numpy(values) for name, values in encoded.batch(range(len(encoded))).items()}
    with torch.no_grad():
        found: torch.Tensor = subject.module(**batch).logits
    return found


def silent(_text: str, _share: float) -> None:
    pass


def test_fine_tuning_learns_and_is_done_once(study_data: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path))
    study = study_of(study_data, method="fine-tune", epochs=12, learning_rate=2e-3, freeze_embeddings=False)
    told: list[float] = []
    first = trained(load_subject(study), study, lambda _text, share: told.append(share))
    assert told[-1] == 1.0 and sorted(told) == told
    right = logits(first, first.search).argmax(1).numpy() == first.search.labels
    assert right.mean() > 0.9
    told.clear()
    second = trained(load_subject(study), study, lambda _text, share: told.append(share))
    assert told == [] and second.weights == first.weights != load_subject(study).weights


class Cut(Exception):
    pass


def test_fine_tuning_that_was_cut_off_goes_on(
    study_data: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Dropout draws the same numbers, too."""
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    study = study_of(study_data, method="fine-tune", epochs=1, learning_rate=1e-3)
    seen: list[float] = []

    def cut(_text: str, share: float) -> None:
        if share > 0.5:
            raise Cut

    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path / "whole"))
    whole = trained(load_subject(study), study, silent)
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path / "cut"))
    with pytest.raises(Cut):
        trained(load_subject(study), study, cut)
    again = trained(load_subject(study), study, lambda _text, share: seen.append(share))
    assert seen[0] > 0.5 and again.weights == whole.weights


def test_logistic_regression_is_the_head(study_data: Make) -> None:
    """The head's softmax must be what scikit-learn's model says of the frozen features."""
    from sklearn.linear_model import LogisticRegression

    study = study_of(study_data, method="logistic-regression", C=2.0)
    subject = trained(load_subject(study), study, silent)
    before = load_subject(study)
    taken: list[torch.Tensor] = []
    last_linear(before.module).register_forward_pre_hook(lambda _module, args: taken.append(args[0]))
    logits(before, before.train)
    logits(before, before.search)
    model = LogisticRegression(C=2.0, max_iter=1000).fit(taken[0].numpy(), before.train.labels)
    expected = model.predict_proba(taken[1].numpy())
    assert np.allclose(logits(subject, subject.search).softmax(1).numpy(), expected, atol=0.02)
    changed = {n for n, p in subject.module.named_parameters() if not torch.equal(p, before.module.get_parameter(n))}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_a_checkpoint_without_head_must_be_trained(study_data: Make, tmp_path: Path) -> None:
    from tests.conftest import make_encoder, write_tokenizer

    make_encoder("bert").bert.save_pretrained(str(tmp_path))
    write_tokenizer(tmp_path)
    data = study_data("bert")
    data["model"]["path"] = str(tmp_path)
    data["train"] = {"method": "none"}
    with pytest.raises(StudyError, match="no trained head") as caught:
        load_subject(parse_study(data))
    assert caught.value.where == "train.method"
    data["train"] = {"method": "fine-tune"}
    load_subject(parse_study(data))


def test_a_tokenizer_without_words_is_refused(study_data: Make, tmp_path: Path) -> None:
    """Where its files are missing, Transformers makes an empty tokenizer without a word."""
    from tests.conftest import make_encoder

    make_encoder("bert").save_pretrained(str(tmp_path))
    data = study_data("bert")
    data["model"]["path"] = str(tmp_path)
    with pytest.raises(StudyError, match="tokenizer") as caught:
        load_subject(parse_study(data))
    assert caught.value.where == "model"


def relabelled(study_data: Make, tmp_path: Path, names: list[str]) -> dict[str, Any]:
    """Return a study of a trained classifier whose classes have the given names."""
    source = Path(study_data("bert")["model"]["path"])
    shutil.copytree(source, tmp_path / "model")
    config = json.loads((source / "config.json").read_text())
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: n for n, name in enumerate(names)}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    data = {**study_data("bert"), "train": {"method": "none"}}
    data["model"] = {**data["model"], "path": str(tmp_path / "model")}
    return data


def test_classes_of_a_checkpoint_are_matched_by_name(study_data: Make, tmp_path: Path) -> None:
    """The data's labels are fresh and rotten, in this order."""
    found = []
    for number, names in enumerate((["fresh", "rotten"], ["ROTTEN", "fresh"])):
        subject = load_subject(parse_study(relabelled(study_data, tmp_path / str(number), names)))
        found.append(logits(subject, subject.search))
    assert torch.equal(found[0].flip(1), found[1])
    with pytest.raises(StudyError, match="other names than the data's labels"):
        load_subject(parse_study(relabelled(study_data, tmp_path / "other", ["bad", "good"])))


def test_texts_longer_than_the_positions_are_refused(study_data: Make) -> None:
    data = study_data("bert")
    data["model"]["max_tokens"] = 600
    with pytest.raises(StudyError, match="fewer positions") as refused:
        load_subject(parse_study(data))
    assert "at most 512" in str(refused.value)


def test_transposed_layers_of_a_checkpoint_become_ordinary_ones(study_data: Make, tmp_path: Path) -> None:
    import transformers

    original = transformers.GPT2ForSequenceClassification(
        transformers.GPT2Config(n_embd=48, n_layer=1, n_head=3, vocab_size=120, num_labels=2, pad_token_id=0)
    ).eval()
    shutil.copytree(study_data("bert")["model"]["path"], tmp_path / "gpt2")
    original.save_pretrained(str(tmp_path / "gpt2"))
    data = study_data("bert")
    data["model"]["path"] = str(tmp_path / "gpt2")
    subject = load_subject(parse_study(data))
    inputs, _ = tensors(subject.search, [0, 1, 2])
    with torch.no_grad():
        torch.testing.assert_close(subject.module(**inputs).logits, original(**inputs).logits)
    assert isinstance(subject.module.get_submodule("transformer.h.0.attn.c_attn"), torch.nn.Linear)
