from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slimfront.studies.data import Examples
from slimfront.studies.encoding import Encoded, encode

from tests.conftest import write_tokenizer

INPUTS = ("input_ids", "token_type_ids", "attention_mask")
TEXTS = ("the film", "a warm and funny story with the actor", "dull", "")
PAIRS = tuple((text, "boring plot") for text in TEXTS)


def encoded(tokenizer: Any, texts: Any = TEXTS, most: int = 6) -> Encoded:
    return encode([Examples(texts, tuple(range(len(texts))))], tokenizer, INPUTS, most)[0]


@pytest.mark.parametrize("texts", [TEXTS, PAIRS])
def test_rows_are_what_the_tokenizer_says(texts: Any, tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    for found in (encoded(tokenizer, texts), encoded(tokenizer, texts)):
        for number, text in enumerate(texts):
            told = tokenizer(*([text] if isinstance(text, str) else text), truncation=True, max_length=6)
            assert found.rows[number] == {name: list(told[name]) for name in INPUTS if name in told}
        assert found.labels.tolist() == [0, 1, 2, 3] and found.padding["input_ids"] == tokenizer.pad_token_id


def test_what_was_tokenized_before_is_not_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path / "cache"))
    # The second split is asked of a tokenizer that the first one changed, the next process asks it of a fresh one.
    first = [encoded(tokenizer, texts) for tokenizer in [write_tokenizer(tmp_path)] for texts in (TEXTS, PAIRS)]
    again = write_tokenizer(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(type(again), "__call__", lambda *_args, **_kwargs: pytest.fail("tokenized twice"))
        second = [encoded(again, PAIRS), encoded(again, TEXTS)][::-1]
    assert [one.rows for one in second] == [one.rows for one in first]


def test_another_tokenizer_or_length_is_told_apart(tmp_path: Path) -> None:
    first = encoded(write_tokenizer(tmp_path))
    assert max(encoded(write_tokenizer(tmp_path), most=4).sizes) == 4 != max(first.sizes)
    other = write_tokenizer(tmp_path)
    other.truncation_side = "left"
    assert encoded(other).rows[1]["input_ids"][-2] != first.rows[1]["input_ids"][-2]
    more = write_tokenizer(tmp_path)
    more.add_tokens(["warm and"])
    assert encoded(more).rows[1] != first.rows[1]


def test_a_tokenizer_that_cannot_be_told_apart_is_asked_each_time(tmp_path: Path) -> None:
    fast, asked = write_tokenizer(tmp_path), []

    class Slow:
        pad_token_id, pad_token_type_id = 0, 0

        def __call__(self, *args: Any, **options: Any) -> Any:
            asked.append(args)
            return fast(*args, **options)

    assert encoded(Slow()).rows == encoded(fast).rows and encoded(Slow()).rows == encoded(fast).rows
    assert len(asked) == 2


def test_a_batch_is_padded_to_its_longest_row(tmp_path: Path) -> None:
    found = encoded(write_tokenizer(tmp_path))
    batch = found.batch([0, 1])
    assert batch["input_ids"].shape == (2, 6) and batch["attention_mask"].sum(axis=1).tolist() == [4, 6]
    order = np.concatenate([indices for indices, _batch in found.sorted_batches(3)])
    assert sorted(order.tolist()) == [0, 1, 2, 3] and (np.diff(found.sizes[order]) >= 0).all()


def test_padding_to_a_multiple_stays_within_the_longest_row(tmp_path: Path) -> None:
    found = encoded(write_tokenizer(tmp_path))
    assert found.sizes.tolist() == [4, 6, 3, 2] and found.longest == 6
    widths = {rows: found.batch(rows, 4)["input_ids"].shape[1] for rows in ((3,), (2, 3), (0,), (1, 3))}
    assert widths == {(3,): 4, (2, 3): 4, (0,): 4, (1, 3): 6}
    assert found.batch((3,), 4)["attention_mask"].tolist() == [[1, 1, 0, 0]]


def test_typical_lengths_are_quantiles_of_the_batches(tmp_path: Path) -> None:
    texts = tuple(" ".join(["film"] * (1 + number)) for number in range(20))
    found = encoded(write_tokenizer(tmp_path), texts, 50)
    assert sorted(found.sizes.tolist()) == list(range(3, 23))
    assert found.typical(1, 5) == (5, 9, 13, 16, 20)
    # Batches of four, in the order of length, are padded to 6, 10, 14, 18 and 22.
    assert found.typical(4, 5) == (6, 10, 14, 18, 22)
