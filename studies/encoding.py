"""Turns texts into the padded batches that a model reads."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from slimfront.studies.cache import cached, digest

if TYPE_CHECKING:
    # Who only times models reads no study.
    from slimfront.studies.data import Examples

Lengths = npt.NDArray[np.int64]
Row = dict[str, list[int]]
Batch = dict[str, npt.NDArray[np.int64]]
# One request, or several of the lengths that requests have.
Requests = tuple[Batch, ...]
# What models read of what a tokenizer makes.
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
FILE, LENGTHS = "tokens.safetensors", "lengths"
# What Transformers itself adds to the state of the backend.
SETTINGS = ("truncation_side", "model_input_names", "split_special_tokens", "pad_token_id", "pad_token_type_id")


@dataclass(frozen=True)
class Encoded:
    """One split, tokenized: its rows one after the other, for as lists they would take many times the memory.

    Attributes:
        columns: The model's inputs, each ``(tokens,)`` int64.
        sizes: The number of tokens of each row, ``(rows,)``.
        labels: The label's index per row.
        padding: The padding value of each input.
    """

    columns: Batch
    sizes: Lengths
    labels: npt.NDArray[np.int64]
    padding: dict[str, int]

    @classmethod
    def of(cls, rows: Sequence[Row], labels: npt.NDArray[np.int64], padding: dict[str, int]) -> Encoded:
        """Return a split whose rows are given, as :attr:`rows` gives them."""
        columns = {name: _joined([row[name] for row in rows]) for name in padding}
        return cls(columns, np.array([len(row["input_ids"]) for row in rows], dtype=np.int64), labels, padding)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def rows(self) -> tuple[Row, ...]:
        """For each example the model's inputs as lists of equal length."""
        return tuple(self.row(index) for index in range(len(self)))

    def row(self, index: int) -> Row:
        """Return the inputs of one example."""
        start, end = self._ends[index], self._ends[index + 1]
        return {name: column[start:end].tolist() for name, column in self.columns.items()}

    def fingerprint(self) -> str:
        """Return the SHA-256 of tokens and labels."""
        tokens, ends = self.columns["input_ids"].tolist(), self._ends.tolist()
        return digest([[tokens[start:end] for start, end in itertools.pairwise(ends)], self.labels.tolist()])

    def __add__(self, other: Encoded) -> Encoded:
        """Return the rows of both."""
        columns = {name: np.concatenate([column, other.columns[name]]) for name, column in self.columns.items()}
        sizes, labels = (np.concatenate(pair) for pair in ((self.sizes, other.sizes), (self.labels, other.labels)))
        return Encoded(columns, sizes, labels, self.padding)

    @cached_property
    def longest(self) -> int:
        """The number of tokens of the longest row."""
        return int(self.sizes.max())

    @cached_property
    def _ends(self) -> Lengths:
        """Where each row begins, and at last where the last one ends."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    def batch(self, indices: Sequence[int], multiple: int = 1) -> Batch:
        """Return rows padded to the longest of them: each input is ``(rows, tokens)`` int64.

        Args:
            indices: The rows.
            multiple: Of what the tokens are a multiple, unless they are as many as in the longest row of all.
        """
        longest = int(max(self.sizes[index] for index in indices))
        longest = min(-(-longest // multiple) * multiple, self.longest)
        batch = {name: np.full((len(indices), longest), pad, dtype=np.int64) for name, pad in self.padding.items()}
        for place, index in enumerate(indices):
            start, size = self._ends[index], self.sizes[index]
            for name, values in batch.items():
                values[place, :size] = self.columns[name][start : start + size]
        return batch

    def partition(self, size: int) -> list[list[int]]:
        """Return all rows in groups of ``size`` in the order of length, so that little is padded."""
        order = np.argsort(self.sizes, kind="stable").tolist()
        return [order[start : start + size] for start in range(0, len(order), size)]

    def typical(self, size: int, count: int) -> tuple[int, ...]:
        """Return ``count`` quantiles of the lengths to which the groups of the :meth:`partition` are padded."""
        padded = [int(self.sizes[group].max()) for group in self.partition(size)]
        places = (np.arange(count) + 0.5) / count
        return tuple(int(length) for length in np.quantile(padded, places, method="nearest"))

    def sorted_batches(self, size: int) -> Iterator[tuple[list[int], Batch]]:
        """Yield indices and batch of each group of the :meth:`partition`."""
        for indices in self.partition(size):
            yield indices, self.batch(indices)


def widths(requests: Requests) -> list[int]:
    """Return the number of tokens of each request."""
    return [batch["input_ids"].shape[1] for batch in requests]


def encode(splits: Sequence[Examples], tokenizer: Any, inputs: Sequence[str], max_tokens: int) -> tuple[Encoded, ...]:
    """Tokenize splits; a tokenizer that can be told from others finds what it did before in the cache.

    Args:
        splits: Texts and labels.
        tokenizer: A Transformers tokenizer.
        inputs: Names of the inputs that the model takes.
        max_tokens: Longer texts are truncated.
    """
    identity = _identity(tokenizer)
    return tuple(_encoded(examples, tokenizer, identity, inputs, max_tokens) for examples in splits)


def _encoded(
    examples: Examples, tokenizer: Any, identity: str | None, inputs: Sequence[str], max_tokens: int
) -> Encoded:
    if identity is None:
        columns, lengths = _columns(examples, tokenizer, inputs, max_tokens)
    else:
        key = {
            "texts": digest(examples.texts),
            "tokenizer": identity,
            "libraries": [importlib.metadata.version(name) for name in ("tokenizers", "transformers")],
            "inputs": list(INPUTS),
            "max_tokens": max_tokens,
        }

        def build(folder: Path) -> None:
            made, counts = _columns(examples, tokenizer, INPUTS, max_tokens)
            save_file({LENGTHS: counts, **made}, folder / FILE)

        found = load_file(cached("tokens", key, build) / FILE)
        lengths, columns = found[LENGTHS], {name: found[name] for name in inputs if name in found}
    pads = {
        "input_ids": tokenizer.pad_token_id or 0,
        "token_type_ids": getattr(tokenizer, "pad_token_type_id", 0),
    }
    labels = np.array(examples.labels, dtype=np.int64)
    return Encoded(columns, lengths, labels, {name: int(pads.get(name, 0)) for name in columns})


def _identity(tokenizer: Any) -> str | None:
    """Return a digest of all that decides a tokenizer's answers, or None where it cannot be told."""
    try:
        state = json.loads(tokenizer.backend_tokenizer.to_str())
    except Exception:
        # One without a backend, or with parts of its own that cannot be written down.
        return None
    # These are set anew in every call.
    state |= {"truncation": None, "padding": None}
    settings = [str(getattr(tokenizer, name, None)) for name in SETTINGS]
    return digest([type(tokenizer).__name__, settings, state])


def _columns(examples: Examples, tokenizer: Any, inputs: Sequence[str], max_tokens: int) -> tuple[Batch, Lengths]:
    """Return each input of all texts one after the other, ``(tokens,)``, and the number of tokens of each text."""
    firsts = [text if isinstance(text, str) else text[0] for text in examples.texts]
    seconds = [text[1] for text in examples.texts if not isinstance(text, str)] or None
    out = tokenizer(firsts, seconds, truncation=True, max_length=max_tokens)
    names = [name for name in inputs if name in out]
    columns = {name: _joined(out[name]) for name in names}
    return columns, np.array([len(row) for row in out[names[0]]], dtype=np.int64)


def _joined(rows: Sequence[Sequence[int]]) -> Lengths:
    return np.array(list(itertools.chain.from_iterable(rows)), dtype=np.int64)
