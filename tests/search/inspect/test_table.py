"""The front as a table."""

from __future__ import annotations

from pathlib import Path

from slimfront.search.inspect.table import front_table

from tests.search.run_of import make_run


def test_the_knee_is_named_and_no_other_point(tmp_path: Path) -> None:
    front = make_run(tmp_path / "run", 30).front()
    table = front_table(front, front.points, "front")
    trials, *_, done = ([str(cell) for cell in column.cells] for column in table.columns)
    named = [trial for trial, text in zip(trials, done, strict=True) if text.endswith("; the knee")]
    assert len(front.points) > 2 and named == [str(front.pick("knee").trial)]
