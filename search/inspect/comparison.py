"""Two points side by side, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table
from slimfront.search.inspect.documents import Compared, Quantity, Side
from slimfront.search.inspect.report import LAYERED, axes
from slimfront.spaces.domain import Value
from slimfront.studies.limits import readable

MEASURED = {"search": "", "held_out": ", held out", "final": ", measured again", "counted": ""}
NONE = "–"


def comparison_tables(compared: Compared) -> list[Table | str]:
    """Return a table of the numbers, one for each axis that goes over layers, one of the other settings, and a line.

    Layers and settings in which the two are alike are left out; neighbouring layers with the same change share a row.
    """
    titles = _titles(compared.compared)
    table = Table(title=" → ".join(titles), title_justify="left")
    for name in ("", *titles, "change"):
        table.add_column(name, justify="right" if name else "left")
    for quantity in compared.quantities:
        table.add_row(quantity.name + MEASURED[quantity.measured], *_shown(quantity), _change(quantity))
    total = len(compared.alike) + len(compared.differences)
    count = f"{len(compared.alike)} of {total} parameters are alike"
    return [table, *_layer_tables(compared), *_settings(compared, titles), count]


def _titles(sides: tuple[Side, Side]) -> tuple[str, str]:
    one, other = sides
    names = ["dense" if side.kind == "dense" else f"trial {side.trial}" for side in sides]
    if one.run != other.run:
        names = [f"{side.run}: {name}" for side, name in zip(sides, names, strict=True)]
    return escape(names[0]), escape(names[1])


def _shown(quantity: Quantity) -> list[str]:
    cells = []
    for value, interval, noisy in zip(quantity.values, quantity.intervals, quantity.noisy, strict=True):
        text = NONE if value is None else _number(value, quantity)
        if interval:
            low, high = (_number(end, quantity).split(" ")[0] for end in interval)
            text += f" [{low}, {high}{', noisy' if noisy else ''}]"
        cells.append(text)
    return cells


def _number(value: float, quantity: Quantity) -> str:
    return f"{value:,.0f}" if quantity.measured == "counted" else readable(value, quantity.unit)


def _change(quantity: Quantity) -> str:
    if quantity.change is None:
        return NONE
    if quantity.paired:
        low, high = quantity.paired.interval
        return f"{quantity.paired.value:+.4f} ± {(high - low) / 2:.4f} (p {quantity.paired.p:.2g})"
    if quantity.unit == "fraction" or not quantity.ratio or quantity.ratio < 0:
        text = f"{quantity.change:+.4f}"
    else:
        factor, word = (1 / quantity.ratio, "less") if quantity.ratio <= 1 else (quantity.ratio, "more")
        text = "alike" if quantity.change == 0 else f"{factor:.2f}× {word}"
    one, other = quantity.intervals
    overlap = one is not None and other is not None and one[0] <= other[1] and other[0] <= one[1]
    return f"{text}, intervals overlap" if overlap else text


def _layer_tables(compared: Compared) -> list[Table]:
    pairs = {difference.parameter: difference.values for difference in compared.differences}
    one, other = (side.configuration for side in compared.compared)
    everything = {**one, **other}
    cells = {name: _arrow(*pairs[name]) if name in pairs else str(everything[name]) for name in everything}
    tables = []
    names = [name for name in everything if _layered(name)]
    for axis in axes(names):
        places = [[None if number is None else names[number] for number in row] for row in axis["cells"]]
        rows = [[cells[name] if name else "" for name in row] for row in places]
        marks = [[name in pairs for name in row] for row in places]
        columns = [n for n in range(len(axis["roles"])) if any(mark[n] for mark in marks)]
        differing = [
            (block, [row[n] for n in columns])
            for block, row, mark in zip(axis["blocks"], rows, marks, strict=True)
            if any(mark)
        ]
        if differing:
            heads = [axis["roles"][n] for n in columns]
            tables.append(_layer_table(LAYERED[axis["axis"]], heads, differing, len(axis["blocks"]) - len(differing)))
    return tables


def _layer_table(title: str, roles: Sequence[str], rows: Sequence[tuple[str, list[str]]], alike: int) -> Table:
    table = Table(
        title=title, title_justify="left", caption=f"{alike} alike" if alike else None, caption_justify="left"
    )
    table.add_column("")
    for role in roles:
        table.add_column("" if role == "all" else role, justify="right")
    folded: list[tuple[list[str], list[str]]] = []
    for block, cells in rows:
        if folded and folded[-1][1] == cells and _stem(folded[-1][0][0]) == _stem(block):
            folded[-1][0].append(block)
        else:
            folded.append(([block], cells))
    for blocks, cells in folded:
        last = f" … {blocks[-1].rpartition('.')[2]}" if len(blocks) > 1 else ""
        table.add_row(blocks[0] + last, *cells)
    return table


def _layered(parameter: str) -> bool:
    # Whether a whole block is kept is one word: no table is needed for it.
    axis = parameter.partition("/")[0]
    return axis in LAYERED and axis != "depth"


def _stem(block: str) -> str:
    return block.rpartition(".")[0]


def _settings(compared: Compared, titles: Sequence[str]) -> list[Table]:
    rows = [difference for difference in compared.differences if not _layered(difference.parameter)]
    if not rows:
        return []
    table = Table(title="settings", title_justify="left")
    for name in ("", *titles):
        table.add_column(name, justify="right" if name else "left")
    for difference in rows:
        table.add_row(difference.parameter, *map(_cell, difference.values))
    return [table]


def _arrow(one: Value | None, other: Value | None) -> str:
    return f"{_cell(one)} → {_cell(other)}"


def _cell(value: Value | None) -> str:
    return NONE if value is None else str(value)
