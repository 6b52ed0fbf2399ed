"""Draws models by size, speed and accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

# Megabytes, speed and points against dense.
Place = tuple[float, float, float]
# Beyond so many points a colour tells no more.
MOST = 2.5


def draw(groups: Mapping[str, Sequence[Place]], path: Path) -> None:
    """Draw models, a mark for each group; small and fast ones are at the upper left, accurate ones dark blue."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for (name, places), mark in zip(groups.items(), "osXD^", strict=False):
        sizes, speeds, changes = zip(*places, strict=True)
        shown = axes.scatter(
            sizes, speeds, c=changes, marker=mark, label=name, s=55, cmap="RdYlBu", vmin=-MOST, vmax=MOST,
            edgecolors="black", linewidths=0.6,
        )  # fmt: skip
    figure.colorbar(shown, label="points of held-out accuracy against dense", extend="both")
    axes.set(xscale="log", yscale="log", xlabel="MB", ylabel="times as fast as dense fp32 on OpenVINO")
    sizes, speeds = [4, 8, 16, 32, 64], [0.5, 1, 2, 3, 4, 6]
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes], minor=False)
    axes.set_yticks(speeds, [f"{speed:g}" for speed in speeds], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)
