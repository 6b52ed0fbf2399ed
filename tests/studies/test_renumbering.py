"""Tokenizers of every kind under other ids, and without some of their tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slimfront.studies.errors import StudyError
from slimfront.studies.renumbering import MODELS, parts_of, renumbered, state_of
from slimfront.studies.vocabulary import closed

from tests.conftest import BAD, GOOD, PLAIN

TEXTS = ["a brilliant story with the warm actor", "dull camera, tedious plot", "this movie: superb! naïve", "film"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
KINDS = ("wordpiece", "words", "bytes", "pieces", "unigram")


def make_tokenizer(kind: str) -> Any:
    """Return a small tokenizer of a kind, trained on the reviews' words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    corpus = [" ".join(words) for words in (GOOD, BAD, PLAIN)] * 3 + TEXTS
    spaces, bytes_ = pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    model, split, trainer = {
        "wordpiece": (
            models.WordPiece(unk_token="[UNK]"),
            spaces,
            trainers.WordPieceTrainer(vocab_size=140, special_tokens=SPECIAL),
        ),
        "words": (models.WordLevel(unk_token="[UNK]"), spaces, trainers.WordLevelTrainer(special_tokens=SPECIAL)),
        "bytes": (
            models.BPE(),
            bytes_,
            trainers.BpeTrainer(vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet),
        ),
        "pieces": (
            models.BPE(unk_token="[UNK]", continuing_subword_prefix="##"),
            spaces,
            trainers.BpeTrainer(vocab_size=140, special_tokens=SPECIAL, continuing_subword_prefix="##"),
        ),
        "unigram": (
            models.Unigram(),
            pre_tokenizers.Metaspace(),
            trainers.UnigramTrainer(vocab_size=110, special_tokens=SPECIAL, unk_token="[UNK]"),
        ),
    }[kind]
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = split
    tokenizer.train_from_iterator(corpus, trainer)
    if kind == "bytes":
        tokenizer.decoder = decoders.ByteLevel()
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = (
        processors.RobertaProcessing(*ends)
        if kind == "bytes"
        else processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="right", model_max_length=64, **names)


def read(tokenizer: Any) -> list[list[str]]:
    return [tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) for text in TEXTS]


def shuffled(tokenizer: Any) -> Any:
    """Return an order of all tokens, special ones first, otherwise random but for merges."""
    rng = np.random.default_rng(0)
    ids = rng.permutation(len(tokenizer)).tolist()
    special = tokenizer.all_special_ids
    return np.array(closed([*special, *ids], parts_of(state_of(tokenizer)["model"], tokenizer.get_vocab())))


@pytest.mark.parametrize("kind", KINDS)
def test_other_ids_mean_the_same_tokens(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = make_tokenizer(kind)
    order = shuffled(tokenizer)
    found = renumbered(tokenizer, order)
    assert read(found) == read(tokenizer) and any("[UNK]" not in tokens for tokens in read(found))
    for text in TEXTS:
        assert order[found(text)["input_ids"]].tolist() == tokenizer(text)["input_ids"]
    assert (found.padding_side, found.model_max_length) == ("right", 64)
    assert order[found.pad_token_id] == tokenizer.pad_token_id
    found.save_pretrained(str(tmp_path))
    assert read(AutoTokenizer.from_pretrained(str(tmp_path))) == read(tokenizer)


@pytest.mark.parametrize("kind", KINDS)
def test_a_forgotten_word_is_read_by_its_pieces(kind: str) -> None:
    tokenizer = make_tokenizer(kind)
    order = shuffled(tokenizer)
    known = max(set(read(tokenizer)[0]) - set(SPECIAL), key=len)
    gone = {tokenizer.get_vocab()[known]}
    parts = parts_of(state_of(tokenizer)["model"], tokenizer.get_vocab())
    while any(set(parts.get(token, ())) & gone for token in order.tolist() if token not in gone):
        gone |= {token for token in order.tolist() if set(parts.get(token, ())) & gone}
    found = renumbered(tokenizer, np.array([token for token in order if token not in gone]))
    assert len(found) == len(tokenizer) - len(gone)
    before, after = read(tokenizer)[0], read(found)[0]
    assert known in before and known not in after
    assert max(found(TEXTS[0])["input_ids"]) < len(found)
    if kind == "words":
        assert after == ["[UNK]" if token == known else token for token in before]
    else:
        assert len(after) > len(before)
        assert "".join(after).replace("##", "") == "".join(before).replace("##", "")


def test_a_tokenizer_of_another_kind_is_refused() -> None:
    with pytest.raises(StudyError, match="another vocabulary"):
        renumbered(object(), np.arange(3))
    assert set(MODELS) == {"WordPiece", "WordLevel", "BPE", "Unigram"}


def test_an_added_token_that_would_be_read_inside_of_words_is_refused() -> None:
    from tokenizers import AddedToken

    tokenizer = make_tokenizer("wordpiece")
    tokenizer.add_tokens([AddedToken("xyz", single_word=True)])
    with pytest.raises(StudyError, match="single word"):
        renumbered(tokenizer, np.arange(len(tokenizer)))
