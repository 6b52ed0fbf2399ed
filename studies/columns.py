"""Tells the column of the texts and the column of the labels from what stands in them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimfront.studies.errors import StudyError
from slimfront.studies.tables import load_file, require_column

if TYPE_CHECKING:
    import pandas

# Rows that are looked at, spread over the file.
LOOKED_AT = 5000
# Where several columns might be meant, the one with a usual name is.
TEXTS = ("text", "sentence", "review", "content", "comment", "body", "message", "tweet", "document", "question")
LABELS = ("label", "labels", "class", "category", "target", "sentiment", "intent", "topic", "y")


@dataclass(frozen=True)
class Columns:
    """What a file holds.

    Attributes:
        text: Column of the text.
        text_pair: Column of the second text, or None.
        label: Column of the label.
        group: Column of the groups, or None.
        labels: The labels that were seen.
        repeated: A further column whose values come back, as those of a group do; nothing where there is none.
        rows: Rows of the file.
        usual: Words of a text that half of the texts do not exceed.
        long: Words of a text that 95 % of the texts do not exceed.
    """

    text: str
    text_pair: str | None
    label: str
    group: str | None
    labels: tuple[str, ...]
    repeated: str
    rows: int
    usual: int
    long: int


def read_columns(path: Path, text: str | None, label: str | None, text_pair: str | None, group: str | None) -> Columns:
    """Read a file and find the columns that are not given.

    Args:
        path: A CSV, TSV, JSON Lines or Parquet file.
        text: Column of the text; found where None.
        label: Column of the label; found where None.
        text_pair: Column of the second text, where there is one.
        group: Column of the groups, where there are some.

    Raises:
        StudyError: the file cannot be read, has no such column, or it is not clear which one is meant.
    """
    with tempfile.TemporaryDirectory() as scratch:
        table = load_file(path, where="--data", scratch=scratch)
        names, rows = list(table.column_names), len(table)
        for option, name in (("--text", text), ("--text-pair", text_pair), ("--label", label), ("--group", group)):
            require_column(names, name, option)
        sample = table.select(range(0, rows, max(1, rows // LOOKED_AT))).to_pandas()
    given = {text, text_pair, label, group}
    free = [name for name in names if name not in given]
    if text is None:
        text = _only([name for name in free if _is_text(sample[name])], TEXTS, names, "--text")
    if label is None:
        label = _only([name for name in free if name != text and _is_label(sample[name])], LABELS, names, "--label")
    words = sample[text].astype(str).str.split().str.len()
    if text_pair:
        words = words + sample[text_pair].astype(str).str.split().str.len()
    found = sorted({str(value).strip() for value in sample[label].dropna()} - {""})
    usual, long = int(words.quantile(0.5)), int(words.quantile(0.95))
    others = [name for name in free if name not in (text, label) and _is_repeated(sample[name])]
    return Columns(text, text_pair, label, group, tuple(found), next(iter(others), ""), rows, usual, long)


def _only(found: Sequence[str], usual: Sequence[str], names: Sequence[str], option: str) -> str:
    if len(found) > 1:
        found = [name for name in found if name.lower() in usual] or found
    if len(found) != 1:
        raise StudyError(
            "several columns may be meant" if found else "no column looks as if it were meant",
            where=option,
            given=", ".join(found) or None,
            allowed=", ".join(names),
            hint=f"name the column with {option}",
        )
    return found[0]


def _is_text(column: pandas.Series) -> bool:
    """Return whether most values are different texts of several words."""
    values = column.dropna()
    if not len(values) or not values.map(lambda value: isinstance(value, str)).all():
        return False
    return bool(values.str.split().str.len().median() >= 3 and values.nunique() > len(values) / 2)


def _is_repeated(column: pandas.Series) -> bool:
    """Return whether there are many values, most of which come back."""
    values = column.dropna()
    hashable = values.map(lambda value: isinstance(value, str | int)).all()
    return bool(hashable and 2 < values.nunique() <= len(values) / 2)


def _is_label(column: pandas.Series) -> bool:
    """Return whether a few short values come back again and again."""
    values = column.dropna()
    values = values[values.astype(str).str.strip() != ""]
    if not len(values) or not values.map(lambda value: isinstance(value, str | int) or float(value).is_integer()).all():
        return False
    short = values.astype(str).str.len().max() <= 40
    return bool(short and 2 <= values.nunique() <= 100 and len(values) >= 5 * values.nunique())
