"""Loads labelled texts and draws the three splits from them."""

from __future__ import annotations

import importlib.metadata
import json
import random
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slimfront.studies.cache import cached, file_sha256
from slimfront.studies.errors import StudyError, nearest, one_line
from slimfront.studies.schema import DataSpec
from slimfront.studies.sources import locate
from slimfront.studies.tables import load_table, require_column

# Counted up when the same file gives other splits.
FILE, VERSION = "splits.json", 3


@dataclass(frozen=True)
class Examples:
    """Labelled texts of one split.

    Attributes:
        texts: One text per row, or a pair of texts.
        labels: The label's index per row.
    """

    texts: tuple[str | tuple[str, str], ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.labels)


# The label of a text that has none.
UNLABELLED = -100
# So many of them are drawn at most: the dense model reads them all before the search.
MOST_UNLABELLED = 20_000


@dataclass(frozen=True)
class Splits:
    """The three splits, the names of the labels, and texts without a label, from which a student may still learn."""

    train: Examples
    search: Examples
    held_out: Examples
    unlabelled: Examples
    labels: tuple[str, ...]

    def shared(self) -> dict[tuple[str, str], int]:
        """Return how many texts of one split stand in another one as well, whatever their case and spaces."""
        known = {name: set(map(_content_of, getattr(self, name).texts)) for name in ("train", "search", "held_out")}
        pairs = (("search", "train"), ("held_out", "train"), ("held_out", "search"))
        found = {(one, other): len(known[one] & known[other]) for one, other in pairs}
        return {pair: count for pair, count in found.items() if count}


def _content_of(text: str | tuple[str, str]) -> tuple[str, ...]:
    parts = (text,) if isinstance(text, str) else text
    return tuple(" ".join(part.split()).casefold() for part in parts)


def load_splits(spec: DataSpec, where: str = "data") -> Splits:
    """Load the table that a study names and draw its splits; a file that was read before is found in the cache.

    Rows of one group stay in one split. The draw depends on ``splits.seed`` alone.

    Raises:
        StudyError: the file, a column or the labels are not as the study says, or the rows do not suffice.
    """
    content = None if spec.hub is not None else _content(Path(locate(spec, where)))
    if content is None:
        return _splits(spec, where)
    libraries = [importlib.metadata.version(name) for name in ("datasets", "pandas", "pyarrow")]
    key = {"spec": spec.model_dump(mode="json"), "content": content, "libraries": libraries, "version": VERSION}

    def build(folder: Path) -> None:
        # Datasets' own cache tells files apart by their date, and would keep the rows a second time.
        with tempfile.TemporaryDirectory() as scratch:
            found = asdict(_splits(spec, where, scratch))
        (folder / FILE).write_text(json.dumps(found), encoding="utf-8")

    found = json.loads((cached("splits", key, build) / FILE).read_text(encoding="utf-8"))
    labels = tuple(found.pop("labels"))
    return Splits(**{name: _from_json(part) for name, part in found.items()}, labels=labels)


def _content(path: Path) -> str | None:
    """Return the SHA-256 of a file, or None where it cannot be read as one: the loader says why."""
    try:
        return file_sha256(path) if path.is_file() else None
    except OSError:
        return None


def _from_json(part: dict[str, Any]) -> Examples:
    texts = tuple(text if isinstance(text, str) else (text[0], text[1]) for text in part["texts"])
    return Examples(texts, tuple(part["labels"]))


def _splits(spec: DataSpec, where: str, scratch: str | None = None) -> Splits:
    table = load_table(spec, where, scratch)
    for key in ("text", "text_pair", "label", "group"):
        require_column(table.column_names, getattr(spec, key), f"{where}.{key}")
    rows, names = _rows(table, spec, where)
    labelled = [row for row in rows if row[1] != UNLABELLED]
    counts = _counts(spec, len(labelled), where)
    shares = isinstance(spec.splits.train, float)
    parts = _draw(labelled, counts, spec.splits.seed, where, shares and sum(counts) + 3 > len(labelled))
    examples = [_examples(part) for part in parts]
    for name, part in zip(("train", "search", "held_out"), examples, strict=True):
        if len(set(part.labels)) < 2:
            raise StudyError(
                "this split holds one class only",
                where=f"{where}.splits.{name}",
                given=f"{len(part)} rows",
                hint="draw more rows, or change the seed of the splits",
            )
    measured = {row[2] for part in parts[1:] for row in part} if spec.group else set()
    free = [row for row in rows if row[1] == UNLABELLED and row[2] not in measured]
    if len(free) > MOST_UNLABELLED:
        free = random.Random(spec.splits.seed).sample(free, MOST_UNLABELLED)
    return Splits(examples[0], examples[1], examples[2], _examples(free), names)


def _rows(table: Any, spec: DataSpec, where: str) -> tuple[list[tuple[Any, int, Any]], tuple[str, ...]]:
    wanted = dict.fromkeys(name for name in (spec.text, spec.text_pair, spec.label, spec.group) if name)
    # All at once: reading a column row by row takes seconds.
    columns = table.select_columns(list(wanted))[:]
    texts, found = columns[spec.text], columns[spec.label]
    seconds = columns[spec.text_pair] if spec.text_pair else [None] * len(texts)
    groups = columns[spec.group] if spec.group else range(len(texts))
    feature = table.features[spec.label]
    if hasattr(feature, "int2str"):
        found = [None if value is None or value < 0 else feature.int2str(value) for value in found]
    names = _label_names(found, spec, where)
    index = {name: number for number, name in enumerate(names)}
    rows = []
    for text, second, label, group in zip(texts, seconds, found, groups, strict=True):
        parts = (text, second) if spec.text_pair else (text,)
        name = _name(label)
        if (name and name not in index) or not all(isinstance(part, str) and part.strip() for part in parts):
            continue
        rows.append((parts if spec.text_pair else text, index[name] if name else UNLABELLED, group))
    if not rows:
        raise StudyError(
            "no row has a text that counts",
            where=f"{where}.text",
            given=f"{spec.text}, of {len(texts)} rows",
            allowed="a column of texts that are not empty, in rows of the labels that are read",
            hint=f"name the column of the texts at {where}.text",
        )
    return rows, names


def _name(label: Any) -> str:
    """Return a label as it is written; whole numbers become floats where some rows have none."""
    text = "" if label is None or label != label else str(label).strip()
    return text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text


def _label_names(found: Sequence[Any], spec: DataSpec, where: str) -> tuple[str, ...]:
    present = {_name(value) for value in found} - {""}
    if spec.labels is not None:
        wanted = tuple(_name(label) for label in spec.labels)
        for number, label in enumerate(wanted):
            if label not in present:
                near = nearest(label, present)
                raise StudyError(
                    "no row has this label",
                    where=f"{where}.labels.{number}",
                    given=label,
                    allowed=one_line(", ".join(sorted(present)), 200).strip("'\""),
                    hint=f"did you mean {near!r}?" if near else "name labels that occur in the data",
                )
        present = set(wanted)
    else:
        wanted = tuple(sorted(present, key=lambda name: (not name.lstrip("-").isdigit(), len(name), name)))
        if all(not name.lstrip("-").isdigit() for name in present):
            wanted = tuple(sorted(present))
    if len(present) < 2:
        raise StudyError(
            "one class only: there is nothing to classify",
            where=f"{where}.labels" if spec.labels is not None else f"{where}.label",
            given=", ".join(sorted(present)) or "no label",
            allowed="a column with two classes or more",
            hint="name another label column, or more labels",
        )
    if len(wanted) > 1000:
        raise StudyError(
            "too many classes; is this column a number or a text?",
            where=f"{where}.label",
            given=f"{len(wanted)} classes",
            allowed="at most 1000",
        )
    return wanted


def _counts(spec: DataSpec, total: int, where: str) -> tuple[int, int, int]:
    wanted = (spec.splits.train, spec.splits.search, spec.splits.held_out)
    # Shares of a sum that is 1 leave no row over for rounding.
    counts = tuple(int(part * total + 1e-6) if isinstance(part, float) else part for part in wanted)
    if min(counts) < 1 or sum(counts) > total:
        raise StudyError(
            "the splits do not fit the data",
            where=f"{where}.splits",
            given=f"train {wanted[0]}, search {wanted[1]}, held_out {wanted[2]}",
            allowed=f"at least one row each, {total} rows in all",
            hint="lower the splits",
        )
    return counts[0], counts[1], counts[2]


def _draw(
    rows: list[tuple[Any, int, Any]], counts: tuple[int, int, int], seed: int, where: str, all_rows: bool
) -> list[list[Any]]:
    """Fill held-out, then search, then train with whole groups in a shuffled order.

    Where shares divide all rows, the train split takes what whole groups leave of them.
    """
    groups: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        groups[row[2]].append(row)
    order = sorted(groups, key=str)
    rng = random.Random(seed)
    rng.shuffle(order)
    queue = iter(order)
    parts: list[list[Any]] = []
    for count, name in zip(counts[::-1], ("held_out", "search", "train"), strict=True):
        part: list[Any] = []
        while len(part) < count:
            group = next(queue, None)
            if group is None and all_rows and part:
                break
            if group is None:
                raise StudyError(
                    "the groups are too large for these splits",
                    where=f"{where}.splits.{name}",
                    given=count,
                    allowed=f"at most {len(part)} rows, since a group stays in one split",
                    hint="lower the splits, or remove 'group'",
                )
            part.extend(groups[group])
        rng.shuffle(part)
        parts.append(part[:count])
    return parts[::-1]


def _examples(rows: Sequence[tuple[Any, int, Any]]) -> Examples:
    return Examples(tuple(row[0] for row in rows), tuple(row[1] for row in rows))
