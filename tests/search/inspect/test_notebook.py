from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
from slimfront.search.front import Front
from slimfront.search.inspect.data import as_csv

from tests.search.run_of import NAME, make_run


def test_a_front_shows_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    front = make_run(tmp_path / "run", 8).front()
    # What the notebook itself draws with stays as it is.
    monkeypatch.setattr("matplotlib.use", lambda *_args, **_settings: pytest.fail("another backend"))
    page = front._repr_html_()
    assert NAME in page and page.count("<tr") == 1 + 7 and page.count("font-weight: bold") == 1
    assert 'title="8.875 ms [8.697, 9.141] (1.1× less)"' in page and "8.875 ms (1.1× less)</td>" in page
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert picture and base64.b64decode(picture[1]).startswith(b"\x89PNG")
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_the_table_shows_what_the_picture_shows(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 4)
    entries = {p.trial: {"value": 1.25, "unit": "ms", "interval": [1.0, 1.5]} for p in run.front().points if p.trial}
    run.records().finish_tournament(entries)
    front = run.front()
    assert front.points[-1].values["latency"] != 1.25 and front._repr_html_().count("1.250 ms [") == len(entries)


def test_what_a_run_says_is_escaped(tmp_path: Path) -> None:
    front = make_run(tmp_path / "run", 4).front()
    objectives = {"<script>": front.objectives["size"], "accuracy": front.objectives["accuracy"]}
    points = [
        replace(p, values={"<script>": p.values["size"], "accuracy": p.values["accuracy"]}, intervals={}, run=None)
        for p in front.everything
    ]
    page = Front.of(objectives, points[0], points)._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page
    # A front without points has still the dense model to show.
    empty = Front(objectives, points[0], (), tuple(points))
    assert empty._repr_html_().count("<tr") == 2 and empty.frame().empty


def test_a_front_as_a_frame(tmp_path: Path) -> None:
    front = make_run(tmp_path / "run", 8).front()
    frame = front.frame()
    assert list(frame.index) == [p.trial for p in front.points] and frame.loc[7, "size"] == 1.25e7
    assert frame.loc[7, "high/latency"] == 2.125 * 1.03 and frame.loc[7, "bits/block.0.qkv"] == 8
    assert len(front.frame(everything=True)) == 7
    (tmp_path / "front.csv").write_text(as_csv(front, front.points))
    assert pandas.read_csv(tmp_path / "front.csv", index_col="trial").equals(frame)
