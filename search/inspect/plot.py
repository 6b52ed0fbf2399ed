"""The front as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from slimfront.search.front import Front, Point

SCALE = {"byte": (1e-6, "MB"), "ms": (1.0, "ms"), "fraction": (1.0, ""), "nat": (1.0, "nat"), "J": (1.0, "J")}


def draw_front(front: Front, out: Path | IO[bytes], title: str, kind: str | None = None) -> None:
    """Draw every pair of objectives: front, dominated trials, dense and uniform settings as landmarks.

    The front stands where it is judged; see :attr:`slimfront.search.front.Front.settled`.

    Args:
        front: What to draw.
        out: A ``.png`` or ``.svg`` file, or a stream.
        title: The study's name.
        kind: ``png`` or ``svg``; that of the file's name where absent.
    """
    from matplotlib.figure import Figure

    front = front.settled
    names = list(front.objectives)
    last = names[-1]
    pairs = [(name, last) for name in names[:-1]]
    # Not through pyplot: it would change what a notebook draws with.
    figure = Figure(figsize=(5.6 * len(pairs), 4.4), layout="constrained")
    axes = figure.subplots(1, len(pairs), squeeze=False)
    for axis, (x, y) in zip(axes[0], pairs, strict=True):
        _panel(axis, front, x, y)
    axes[0][0].legend(loc="lower right", fontsize=8, frameon=True)
    figure.suptitle(title)
    kind = kind or (out.suffix[1:] if isinstance(out, Path) else "png")
    figure.savefig(out, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)


def _panel(axis: Any, front: Front, x: str, y: str) -> None:
    chosen = {point.trial for point in front.points}
    landmarks = ("dense", "uniform")
    others = [point for point in front.everything if point.trial not in chosen and point.kind not in landmarks]
    uniform = [point for point in front.everything if point.kind == "uniform"]
    _scatter(axis, front, others, x, y, color="0.75", s=16, label="other trials")
    _scatter(axis, front, uniform, x, y, color="#d98c2b", marker="s", s=26, label="uniform settings")
    _scatter(axis, front, list(front.points), x, y, color="#1f6fb4", s=34, label="Pareto front", errors=True)
    _scatter(axis, front, [front.dense], x, y, color="black", marker="*", s=150, label="dense")
    knee = front.pick("knee") if front.points else None
    if knee:
        _scatter(
            axis,
            front,
            [knee],
            x,
            y,
            facecolor="none",
            edgecolor="#c0392b",
            s=130,
            linewidth=1.6,
            label="knee",
        )
    for name, label in ((x, axis.set_xlabel), (y, axis.set_ylabel)):
        unit = SCALE[front.units[name]][1]
        label(f"{name} [{unit}]" if unit else name)
    if front.objectives[x]["direction"] == "minimize":
        axis.set_xscale("log")
        from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.25)
    ends = [end for point in front.points for end in point.intervals.get(y, (point.values[y],))]
    low = min(ends, default=front.dense.values[y])
    top = max(*ends, *(point.values[y] for point in front.everything))
    margin = max(top - low, 0.02) * 0.1
    axis.set_ylim(low - margin, top + margin)


def _scatter(
    axis: Any, front: Front, points: Sequence[Point], x: str, y: str, errors: bool = False, **style: Any
) -> None:
    if not points:
        return
    (sx, _), (sy, _) = SCALE[front.units[x]], SCALE[front.units[y]]
    xs, ys = [p.values[x] * sx for p in points], [p.values[y] * sy for p in points]
    if errors:
        for point, px, py in zip(points, xs, ys, strict=True):
            low, high = point.intervals.get(x, (point.values[x], point.values[x]))
            axis.plot([low * sx, high * sx], [py, py], color=style["color"], alpha=0.35, linewidth=1)
            low, high = point.intervals.get(y, (point.values[y], point.values[y]))
            axis.plot([px, px], [low * sy, high * sy], color=style["color"], alpha=0.15, linewidth=1)
    axis.scatter(xs, ys, zorder=3, **style)
