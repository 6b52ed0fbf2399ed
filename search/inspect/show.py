"""What ``slimfront inspect`` shows."""

from __future__ import annotations

from collections.abc import Sequence

from slimfront.search.front import Front, Point
from slimfront.search.inspect import data
from slimfront.search.inspect.compare import compare, find, require_picks
from slimfront.search.inspect.comparison import comparison_tables
from slimfront.search.inspect.table import front_table
from slimfront.search.printing import print_document, print_tables
from slimfront.search.run import Run


def show_front(run: Run, front: Front, points: Sequence[Point]) -> None:
    """Print the table of some points of a front, with how many trials there were and what is to be noted."""
    trials = run.records().trials()
    count = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in data.counts(trials).items())
    title = f"{run.study.name}: {len(points)} of {len(front.points)} points on the front, {count}"
    print_tables(front_table(front, points, title))
    print(f"hypervolume {front.hypervolume():.4f}")
    for told in data.notes(trials, front):
        print(told)


def show_comparison(run: Run, names: tuple[str, str], where: Sequence[str], as_json: bool) -> None:
    """Print how two points differ; see :func:`slimfront.search.inspect.compare.find` for their names."""
    require_picks(names, where)
    one, other = (find(name, run, where) for name in names)
    compared = compare(one, other)
    if as_json:
        print_document(compared)
    else:
        print_tables(*comparison_tables(compared))
