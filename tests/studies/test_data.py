from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from slimfront.studies.data import UNLABELLED, Examples, load_splits
from slimfront.studies.data import Splits as Drawn
from slimfront.studies.errors import StudyError
from slimfront.studies.schema import DataSpec, Splits
from slimfront.studies.tables import load_file

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
        ({"label": "film", "group": None, "labels": ("x", "y")}, "data.labels.0"),
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


def write(path: Path, labels: list[str], texts: list[str] | None = None, second: list[str] | None = None) -> Path:
    rows = [f"text {n} good" for n in range(len(labels))] if texts is None else texts
    columns = zip(rows, labels, second or ["x"] * len(labels), strict=True)
    path.write_text("text,label,second\n" + "".join(f"{','.join(row)}\n" for row in columns))
    return path


HALF = Splits(train=0.5, search=0.25, held_out=0.25)


def test_cells_are_read_as_they_are_written(tmp_path: Path) -> None:
    """Nothing is taken for a missing value but an empty cell."""
    path = write(tmp_path / "br[1].csv", ["01", "1", "NA", "none"] * 20, ["NA", "null", "7", "n/a"] * 20)
    found = load_splits(spec(path, group=None, splits=HALF))
    assert set(found.labels) == {"01", "1", "NA", "none"} and set(found.train.texts) == {"NA", "null", "7", "n/a"}
    assert sum(len(part) for part in (found.train, found.search, found.held_out)) == 80


def test_rows_without_a_label_or_a_second_text_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", ["0", "1", "", "1"] * 20, second=["a", "b", "c", ""] * 20)
    found = load_splits(spec(path, group=None, splits=HALF, labels=(0, 1), text_pair="second"))
    parts = (found.train, found.search, found.held_out)
    assert sum(len(part) for part in parts) == 40 and found.labels == ("0", "1")
    assert {text[1] for part in parts for text in part.texts} == {"a", "b"}
    assert {text[1] for text in found.unlabelled.texts} == {"c"} and set(found.unlabelled.labels) == {UNLABELLED}
    assert len(found.unlabelled) == 20
    # Of a group that is measured nothing is learnt, not even without labels.
    grouped = load_splits(spec(path, group="text", splits=HALF, labels=(0, 1)))
    assert not {t for p in (grouped.search, grouped.held_out) for t in p.texts} & set(grouped.unlabelled.texts)


def test_shares_of_uneven_groups_are_rounded_to_whole_groups(tmp_path: Path) -> None:
    import pandas

    frame = pandas.DataFrame({"text": [f"t{n}" for n in range(300)], "label": ["a", "b"] * 150})
    frame["film"] = [n * n // 700 for n in range(300)]
    frame.to_csv(tmp_path / "r.csv", index=False)
    parts = load_splits(spec(tmp_path / "r.csv", splits=Splits(train=0.6, search=0.2, held_out=0.2)))
    assert [len(part) for part in (parts.search, parts.held_out)] == [60, 60] and 100 < len(parts.train) <= 180


def test_texts_that_two_splits_share_are_counted_by_content() -> None:
    parts = [
        Examples(texts, (0,) * len(texts)) for texts in (("A good film", "b", "c"), ("a  GOOD film", "d"), ("d", "c"))
    ]
    found = Drawn(*parts, unlabelled=Examples((), ()), labels=("x",))
    assert found.shared() == {("search", "train"): 1, ("held_out", "train"): 1, ("held_out", "search"): 1}
    pairs = [Examples(((a, b),), (0,)) for a, b in (("p", "q"), ("p", "r"), ("P ", "q"))]
    assert Drawn(*pairs, unlabelled=Examples((), ()), labels=("x",)).shared() == {("held_out", "train"): 1}


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("a.csv", b"text,label\n", {}, "data: the file holds no rows"),
        ("a.csv", b"", {}, "data: the file holds no rows"),
        ("a.jsonl", b"", {}, "data: the file holds no rows"),
        ("a.csv", "text,label\nf\u00fcr,ja\n".encode("latin-1"), {}, "data.encoding: the file is written in another"),
        ("a.csv", b"text,label\na,b\n", {"encoding": "klingon"}, "data.encoding: there is no such encoding"),
        ("a.csv", b"text,label\na,b\n", {"encoding": "hex"}, "data.encoding: there is no such encoding"),
        ("a.jsonl", b'{"a"', {}, "data: the data cannot be loaded"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    name: str, content: bytes, options: dict[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StudyError) as caught:
        load_file(tmp_path / name, names=["text", "label"], scratch=str(tmp_path / "scratch"), **options)
    assert str(caught.value).startswith(said) and caught.value.hint
