"""The front as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from slimfront.search.front import Front, Point
from slimfront.spaces.axes.depth import removed_blocks
from slimfront.spaces.axes.unstructured import PREFIX as UNSTRUCTURED
from slimfront.spaces.axes.vocabulary import REMOVED
from slimfront.spaces.configuration import Configuration
from slimfront.studies.limits import readable


def front_table(front: Front, points: Sequence[Point], title: str) -> Table:
    """Return a table of points, the dense model first, each with its ratio to dense; the knee of the front is named."""
    table = Table(title=title, title_justify="left")
    table.add_column("trial", justify="right")
    for name in front.objectives:
        table.add_column(name, justify="right")
    table.add_column("measured again", justify="right")
    table.add_column("what was done", overflow="fold")
    shown = [front.dense, *(point for point in points if point.trial != front.dense.trial)]
    rivals = front.rivals()
    knee = front.pick("knee") if front.points else front.dense
    for point in shown:
        cells = [cell(front, point, name) for name in front.objectives]
        done = label(front, point, rivals) + ("; the knee" if point is knee and knee is not front.dense else "")
        table.add_row(str(point.trial), *cells, _again(front, point), done)
    return table


def label(front: Front, point: Point, rivals: Mapping[int, int]) -> str:
    """Return what was done to the model of a point, and which other point may beat it."""
    text = "dense" if point.trial == front.dense.trial else summary(point.configuration)
    return text + (f"; may be beaten by trial {rivals[point.trial]}" if point.trial in rivals else "")


def _again(front: Front, point: Point) -> str:
    """Return what was measured again after the search: on the held-out split, and in the tournament."""
    parts = []
    for name, value in point.held_out.items():
        text = f"{value:.4f}"
        if name in point.changes and point.trial != front.dense.trial:
            change = point.changes[name]
            low, high = change["interval"]
            text += f" ({change['value']:+.4f} ± {(high - low) / 2:.4f})"
        parts.append(text)
    for name, entry in point.final.items():
        parts.append(readable(entry["value"], front.units[name]) + times(entry["value"], front.dense.values[name]))
        parts += ["noisy"] if entry.get("noisy") else []
    return ", ".join(parts) or "–"


def times(value: float, dense: float) -> str:
    """Return in words how a value that should be small compares with the dense model's."""
    if not value or not dense:
        return ""
    ratio, word = (dense / value, "less") if value <= dense else (value / dense, "more")
    return " (1.0×)" if f"{ratio:.1f}" == "1.0" else f" ({ratio:.1f}× {word})"


def cell(front: Front, point: Point, name: str, spread: bool = True) -> str:
    """Return a value with its interval, unless ``spread`` is false, and how it compares with the dense model's."""
    value, dense = point.values[name], front.dense.values[name]
    text = readable(value, front.units[name])
    if point.trial == front.dense.trial or not dense or not value:
        return text
    if spread and name in point.intervals:
        low, high = (readable(end, front.units[name]).split(" ")[0] for end in point.intervals[name])
        text += f" [{low}, {high}{', noisy' if name in point.noisy else ''}]"
    if front.objectives[name]["direction"] == "minimize":
        return text + times(value, dense)
    return f"{text} ({value - dense:+.4f})"


def summary(configuration: Configuration) -> str:
    """Return a configuration in a few words: bits by group, mean sparsity, precision, distillation."""
    bits: dict[str, list[str]] = {}
    removed = removed_blocks(configuration)
    for name, value in configuration.items():
        if name.startswith("bits/") and not any(f"/{block}." in name for block in removed):
            bits.setdefault(name.rpartition(".")[2].removeprefix("bits/"), []).append(str(value))
    parts = []
    if bits:
        parts.append("bits " + ", ".join(f"{role} {'/'.join(dict.fromkeys(v))}" for role, v in bits.items()))
    if removed:
        parts.append(f"without {', '.join(sorted(removed))}")
    if rows := float(configuration.get(REMOVED, 0.0)):
        parts.append(f"{rows:.0%} of the vocabulary removed")
    if units := _removed_units(configuration):
        parts.append(f"{units} removed")
    if zeros := _zeros(configuration):
        parts.append(f"zeros {zeros}")
    if "precision/inference" in configuration:
        parts.append(str(configuration["precision/inference"]))
    if configuration.get("distillation/steps", 0):
        settings = {name.removeprefix("distillation/"): v for name, v in configuration.items() if "distil" in name}
        parts.append("distilled " + ", ".join(f"{name} {value}" for name, value in settings.items()))
    return "; ".join(parts)


def _zeros(configuration: Configuration) -> str:
    """Return which shares of single weights are zero, in words."""
    shares = [value for name, value in configuration.items() if name.startswith(UNSTRUCTURED)]
    if not any(shares):
        return ""
    return "/".join(value if isinstance(value, str) else f"{value:.0%}" for value in dict.fromkeys(shares))


def _removed_units(configuration: Configuration) -> str:
    """Return the mean shares of heads and neurons that are removed, in words."""
    shares = []
    for kind, title in (("attention", "heads"), ("ffn", "neurons")):
        names = [name for name in configuration if name.startswith("sparsity/") and name.endswith((kind, "/all"))]
        mean = sum(float(configuration[name]) for name in names) / max(1, len(names))
        if mean:
            shares.append((f"{mean:.0%}", title))
    if len(shares) == 2 and shares[0][0] == shares[1][0]:
        return f"{shares[0][0]} of heads and neurons"
    return " and ".join(f"{share} of {title}" for share, title in shares)
