"""Turns texts into the padded batches that a model reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from slimfront.studies.cache import digest
from slimfront.studies.data import Examples

Batch = dict[str, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Encoded:
    """One split, tokenized.

    Attributes:
        rows: For each example the model's inputs as lists of equal length.
        labels: The label's index per row.
        padding: The padding value of each input.
    """

    rows: tuple[dict[str, list[int]], ...]
    labels: npt.NDArray[np.int64]
    padding: dict[str, int]

    def __len__(self) -> int:
        return len(self.rows)

    def fingerprint(self) -> str:
        """Return the SHA-256 of tokens and labels."""
        return digest([[row["input_ids"] for row in self.rows], self.labels.tolist()])

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of tokens of each row."""
        return np.array([len(row["input_ids"]) for row in self.rows])

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return rows padded to the longest of them: each input is ``(rows, tokens)`` int64."""
        rows = [self.rows[index] for index in indices]
        longest = max(len(row["input_ids"]) for row in rows)
        return {
            name: np.array([row[name] + [pad] * (longest - len(row[name])) for row in rows], dtype=np.int64)
            for name, pad in self.padding.items()
        }

    def partition(self, size: int) -> list[list[int]]:
        """Return all rows in groups of ``size`` in the order of length, so that little is padded."""
        order = np.argsort(self.lengths(), kind="stable").tolist()
        return [order[start : start + size] for start in range(0, len(order), size)]

    def sorted_batches(self, size: int) -> Iterator[tuple[list[int], Batch]]:
        """Yield indices and batch of each group of the :meth:`partition`."""
        for indices in self.partition(size):
            yield indices, self.batch(indices)


def encode(examples: Examples, tokenizer: Any, inputs: Sequence[str], max_tokens: int) -> Encoded:
    """Tokenize a split.

    Args:
        examples: Texts and labels.
        tokenizer: A Transformers tokenizer.
        inputs: Names of the inputs that the model takes.
        max_tokens: Longer texts are truncated.
    """
    firsts = [text if isinstance(text, str) else text[0] for text in examples.texts]
    seconds = [text[1] for text in examples.texts if not isinstance(text, str)] or None
    out = tokenizer(firsts, seconds, truncation=True, max_length=max_tokens)
    names = [name for name in inputs if name in out]
    rows = tuple({name: list(out[name][i]) for name in names} for i in range(len(firsts)))
    pads = {
        "input_ids": tokenizer.pad_token_id or 0,
        "token_type_ids": getattr(tokenizer, "pad_token_type_id", 0),
    }
    return Encoded(rows, np.array(examples.labels, dtype=np.int64), {name: int(pads.get(name, 0)) for name in names})
