"""Models and tokenizers that do not go together, found before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from slimfront.studies.errors import StudyError
from slimfront.studies.models import load_tokenizer
from slimfront.studies.reader import parse_study
from slimfront.studies.reading import load_reading
from slimfront.studies.subject import Subject, load_subject, trained

from tests.conftest import make_encoder, write_tokenizer

Make = Callable[..., dict[str, Any]]


def load(data: dict[str, Any], folder: Path) -> Subject:
    data["model"]["path"] = str(folder)
    return load_subject(parse_study(data))


def test_a_request_is_of_real_tokens_and_holds_no_more(study_data: Make) -> None:
    subject = load_subject(parse_study(study_data("bert")))
    texts = [token for row in subject.train.rows for token in row["input_ids"]]
    for batch, tokens in ((1, 12), (3, 7), (40, len(texts) // 20)):
        for name, values in subject.request(batch, tokens).items():
            assert values.shape == (batch, tokens) and (values.base is None or values.base.size <= 2 * values.size)
            if name == "input_ids":
                assert values.ravel().tolist() == (texts * 3)[: batch * tokens]


def test_who_needs_no_model_reads_the_same(study_data: Make) -> None:
    study = parse_study(study_data("bert"))
    subject, reading = load_subject(study), load_reading(study, {"token_type_ids", "attention_mask", "input_ids"})
    for split in ("train", "search", "held_out", "lessons"):
        one, other = getattr(subject, split), getattr(reading, split)
        assert one.rows == other.rows and one.fingerprint() == other.fingerprint() and one.padding == other.padding


def test_a_decoder_takes_the_padding_token_that_its_configuration_names(study_data: Make, tmp_path: Path) -> None:
    module, tokenizer = make_encoder("gpt2"), write_tokenizer(tmp_path)
    tokenizer.pad_token = None
    tokenizer.padding_side = "left"
    for known in (3, None):
        module.config.pad_token_id = known
        module.save_pretrained(str(tmp_path))
        tokenizer.save_pretrained(str(tmp_path))
        if known is None:
            with pytest.raises(StudyError, match="padding token"):
                load(study_data("gpt2"), tmp_path)
        else:
            subject = load(study_data("gpt2"), tmp_path)
            assert subject.tokenizer.pad_token_id == 3 and subject.train.padding["input_ids"] == 3
            # As batches are padded here: what is exported must do the same.
            spec = parse_study(study_data("gpt2") | {"model": {"path": str(tmp_path)}}).model
            assert load_tokenizer(spec).padding_side == "right"


def test_tokens_beyond_the_table_are_refused(study_data: Make, tmp_path: Path) -> None:
    module = make_encoder("bert")
    module.resize_token_embeddings(20)
    module.save_pretrained(str(tmp_path))
    write_tokenizer(tmp_path)
    with pytest.raises(StudyError, match=r"(?s)does not have.*below 20"):
        load(study_data("bert"), tmp_path)


def test_a_smaller_vocabulary_reads_what_it_knows_as_before(study_data: Make) -> None:
    data = study_data("distilbert")
    data["space"]["vocabulary"] = {"levels": [0.5]}
    data["train"] = {"method": "logistic-regression"}
    loaded = load_subject(parse_study(data))
    subject = trained(loaded, parse_study(data), lambda _text, _share: None)
    assert subject.ranking is not None
    places = torch.from_numpy(subject.ranking.order)
    for before, after in zip(loaded.search.rows, subject.search.rows, strict=True):
        assert places[after["input_ids"]].tolist() == before["input_ids"]
    kept = subject.ranking.vocabulary.required + 6
    smaller = subject.with_rows(kept)
    unknown = smaller.tokenizer.unk_token_id
    for whole, cut in zip(subject.search.rows, smaller.search.rows, strict=True):
        assert cut["input_ids"] == [token if token < kept else unknown for token in whole["input_ids"]]
    # Words that it lacks are unknown, one token each, in this tokenizer of words.
    assert smaller.longer_than(subject) == 1.0
