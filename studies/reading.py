"""The texts of a study, as a model reads them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from slimfront.studies.data import Splits, load_splits
from slimfront.studies.encoding import INPUTS, Batch, Encoded, encode
from slimfront.studies.errors import StudyError
from slimfront.studies.models import load_tokenizer, padding_id
from slimfront.studies.schema import Study


@dataclass(frozen=True)
class Reading:
    """Texts and what a tokenizer makes of them.

    Attributes:
        tokenizer: The tokenizer.
        texts: The splits as texts.
        max_tokens: Longer texts are cut.
        train: The train split, tokenized.
        search: The split on which trials are measured.
        held_out: The split on which the front is measured again.
        lessons: What students are distilled on: the train split and texts without a label.
    """

    tokenizer: Any
    texts: Splits
    max_tokens: int
    train: Encoded
    search: Encoded
    held_out: Encoded
    lessons: Encoded

    def request(self, batch: int, tokens: int) -> Batch:
        """Return a request of exactly ``batch`` × ``tokens`` real tokens, for measuring latency."""
        # One text after the other, and again from the first one.
        return {
            name: np.resize(column[: batch * tokens], (batch, tokens)) for name, column in self.train.columns.items()
        }

    def read_by(self, tokenizer: Any) -> Self:
        """Return the same with its texts tokenized by another tokenizer."""
        train, search, held_out, lessons = _encoded(self.texts, tokenizer, tuple(self.train.padding), self.max_tokens)
        return replace(self, tokenizer=tokenizer, train=train, search=search, held_out=held_out, lessons=lessons)

    def longer_than(self, other: Reading) -> float:
        """Return how many tokens the texts are read as for each one that another tokenizer reads them as."""
        return float(self.train.sizes.sum() / other.train.sizes.sum())


def read_texts(texts: Splits, tokenizer: Any, inputs: Sequence[str], padding: int | None, max_tokens: int) -> Reading:
    """Return texts as a model reads them.

    Args:
        texts: The texts.
        tokenizer: The model's tokenizer.
        inputs: Names of the inputs that the model takes.
        padding: The padding token that the model knows: a tokenizer that names none is given this one.
        max_tokens: Longer texts are cut.

    Raises:
        StudyError: neither knows a padding token.
    """
    if tokenizer.pad_token_id is None:
        if padding is None:
            raise StudyError(
                "neither the tokenizer nor the model knows a padding token",
                where="model",
                given="no pad_token",
                allowed="a pad_token in tokenizer_config.json, and its id as pad_token_id in config.json",
                hint="add both to the model's folder; decoders take their end-of-text token",
            )
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(padding)
    return Reading(tokenizer, texts, max_tokens, *_encoded(texts, tokenizer, inputs, max_tokens))


def load_reading(study: Study, inputs: Collection[str]) -> Reading:
    """Load a study's texts for who has models that read them, and needs none of the study's.

    Args:
        study: What to load.
        inputs: Names of the inputs that the models take, in any order.

    Raises:
        StudyError: the data or the tokenizer are not as the study says.
    """
    texts, tokenizer = load_splits(study.data), load_tokenizer(study.model)
    ordered = [name for name in INPUTS if name in inputs]
    return read_texts(texts, tokenizer, ordered, padding_id(study.model), study.model.max_tokens)


def _encoded(
    texts: Splits, tokenizer: Any, inputs: Sequence[str], max_tokens: int
) -> tuple[Encoded, Encoded, Encoded, Encoded]:
    """Return the train, search and held-out splits and the lessons, tokenized."""
    more = [texts.unlabelled] if len(texts.unlabelled) else []
    train, search, held_out, *unlabelled = encode(
        [texts.train, texts.search, texts.held_out, *more], tokenizer, inputs, max_tokens
    )
    return train, search, held_out, sum(unlabelled, train)
