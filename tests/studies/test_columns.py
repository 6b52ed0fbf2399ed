from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slimfront.studies.columns import Columns, read_columns
from slimfront.studies.errors import StudyError


def read(folder: Path, columns: dict[str, list[Any]], **given: str) -> Columns:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    wanted = {name: given.get(name) for name in ("text", "label", "text_pair", "group")}
    return read_columns(path, **wanted)


def test_columns_are_told_by_what_stands_in_them(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "id": list(range(40)),
            "what": [f"words of a text {n}" + " more" * (n % 2) for n in range(40)],
            "who": [f"author {n}" for n in range(40)],
            "mood": ["good", "bad"] * 20,
            "score": [n / 7 for n in range(40)],
        },
    )
    assert (found.text, found.label, found.labels, found.rows) == ("what", "mood", ("bad", "good"), 40)
    assert (found.usual, found.long) == (5, 6)


def test_a_usual_name_decides_and_otherwise_the_user(tmp_path: Path) -> None:
    texts = [f"some words of text {n}" for n in range(40)]
    columns = {"a": texts, "Text": texts[::-1], "stars": [1, 2] * 20, "label": [None, 0, 1, 2] * 10}
    found = read(tmp_path, columns)
    assert (found.text, found.label) == ("Text", "label")
    del columns["Text"], columns["label"]
    columns |= {"b": texts, "moon": ["new", "full"] * 20}
    with pytest.raises(StudyError, match="several") as caught:
        read(tmp_path, columns)
    assert (caught.value.where, caught.value.given, caught.value.allowed) == ("--text", "a, b", "a, stars, b, moon")
    with pytest.raises(StudyError, match="several"):
        read(tmp_path, columns, text="a")
    assert read(tmp_path, columns, text="a", text_pair="b", label="moon").usual == 10
    with pytest.raises(StudyError, match="no such column"):
        read(tmp_path, columns, text="a", label="mood")


def test_nothing_fits(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no column looks") as caught:
        read(tmp_path, {"n": [1, 2, 3], "m": [0.5, 1.5, 2.5]})
    assert caught.value.where == "--text" and caught.value.allowed == "n, m"
