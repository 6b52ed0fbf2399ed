from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from slimfront.studies.data import load_splits
from slimfront.studies.errors import StudyError
from slimfront.studies.schema import DataSpec, Splits

from tests.conftest import write_reviews


def spec(file: Path, **changes: Any) -> DataSpec:
    values = {"path": str(file), "text": "text", "label": "label", "group": "film"} | changes
    values.setdefault("splits", Splits(train=200, search=80, held_out=80))
    return DataSpec(**values)


def test_no_group_is_in_two_splits(tmp_path: Path) -> None:
    path = write_reviews(tmp_path / "r.csv")
    film = dict(line.split(",")[::2] for line in path.read_text().splitlines()[1:])
    splits = load_splits(spec(path))
    films = [{film[text] for text in part.texts} for part in (splits.train, splits.search, splits.held_out)]
    assert not (films[0] & films[1] or films[0] & films[2] or films[1] & films[2])
    assert [len(part) for part in (splits.train, splits.search, splits.held_out)] == [200, 80, 80]
    assert splits.labels == ("fresh", "rotten") and load_splits(spec(path)) == splits


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_formats_give_the_same_splits(suffix: str, tmp_path: Path) -> None:
    import pandas

    csv = write_reviews(tmp_path / "r.csv")
    frame = pandas.read_csv(csv)
    other = tmp_path / f"other.{suffix}"
    if suffix == "jsonl":
        other.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))
    elif suffix == "parquet":
        frame.to_parquet(other)
    else:
        frame.to_csv(other, index=False, sep="\t" if suffix == "tsv" else ",")
    assert load_splits(spec(other)) == load_splits(spec(csv))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"label": "lable"}, "data.label"),
        ({"text": "nothing"}, "data.text"),
        ({"labels": ("fresh", "roten")}, "data.labels.1"),
        ({"label": "text", "labels": ("x", "y")}, "data.labels.0"),
        ({"splits": Splits(train=4000, search=80, held_out=80)}, "data.splits"),
        ({"group": "label"}, "data.splits"),
        ({"path": "nowhere.csv"}, "data.path"),
    ],
)
def test_refused(changes: dict[str, Any], where: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        load_splits(spec(write_reviews(tmp_path / "r.csv"), **changes))
    assert caught.value.where is not None and caught.value.where.startswith(where)


def test_not_a_table(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    path.write_bytes(b"not a parquet file at all")
    with pytest.raises(StudyError, match="cannot be loaded"):
        load_splits(spec(path))


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_reviews(tmp_path / "r.csv")
    pairs = {"text_pair": "film", "group": None}
    first = load_splits(spec(path, **pairs))
    with monkeypatch.context() as patch:
        patch.setattr("datasets.load_dataset", lambda *_args, **_kwargs: pytest.fail("read twice"))
        assert load_splits(spec(path, **pairs)) == first
    path.write_text(path.read_text().replace("dull", "plain"))
    assert load_splits(spec(path, **pairs)) != first


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "r.csv"
    os.mkfifo(pipe)
    for place in (pipe, tmp_path):
        with pytest.raises(StudyError):
            load_splits(spec(place, format="csv"))
