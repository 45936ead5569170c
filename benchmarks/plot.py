"""Results as a picture: bars of the tables, curves of the scales."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report import LIMIT, Rows, against, columns


def write(measured: Mapping[str, Any], path: Path) -> None:
    """One row of bars for each table, then for each scale its times and its memory."""
    tables = [measured[name]["rows"] for name in ("glow", "tabular") if name in measured]
    axes = measured["scale"]["rows"] if "scale" in measured else {}
    heights = [0.28 * len(rows) + 0.8 for rows in tables] + ([2.6, 2.6] if axes else [])
    if not heights:
        return
    figure = Figure(figsize=(13, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, rows in zip(parts, tables, strict=False):
        heads = columns(rows)
        for ax, column in zip(part.subplots(1, len(heads), sharey=True, squeeze=False)[0], heads, strict=True):
            _bars(ax, rows, column)
    if axes:
        for part, draw in zip(parts[len(tables) :], (_times, _peaks), strict=True):
            panels = part.subplots(1, len(axes), squeeze=False)[0]
            for ax, (axis, points) in zip(panels, axes.items(), strict=True):
                draw(ax, points)
                ax.set(xlabel=axis, xscale="log")
                ax.set_xticks([int(at) for at in points], list(points), minor=False)
                ax.minorticks_off()
            panels[0].legend(fontsize=6)
    figure.savefig(path, metadata={"Date": None})


def _bars(ax: Axes, rows: Rows, column: str) -> None:
    """The time of each contender over the limit's, with quartiles."""
    spreads = against(rows, column)
    for y, name in enumerate(rows):
        if spread := spreads.get(name):
            ends = [[spread.median - spread.low], [spread.high - spread.median]]
            ax.barh(y, spread.median, xerr=ends, color=_color(name))
            ax.text(0.02, y, f"{spread.median:.2f}", va="center", fontsize=7, color="white")
    ax.set(title=f"{column}: time / limit", yticks=range(len(rows)), yticklabels=list(rows))
    ax.title.set_fontsize(9)
    ax.axvline(1, color="black", linewidth=0.8)
    ax.invert_yaxis() if not ax.yaxis_inverted() else None


def _times(ax: Axes, points: Mapping[str, Rows]) -> None:
    for name in next(iter(points.values())):
        at = {int(value): against(rows, columns(rows)[0]).get(name) for value, rows in points.items()}
        drawn = {x: spread.median for x, spread in at.items() if spread}
        ax.plot(list(drawn), list(drawn.values()), marker="o", markersize=3, label=name)
    ax.set(ylabel="time / limit", ylim=(0, None))


def _peaks(ax: Axes, points: Mapping[str, Rows]) -> None:
    for name in next(iter(points.values())):
        drawn = {int(value): rows[name]["peak"] for value, rows in points.items() if "peak" in rows[name]}
        ax.plot(list(drawn), list(drawn.values()), marker="o", markersize=3, label=name)
    ax.set(ylabel="peak memory, MB", yscale="log")


def _color(name: str) -> str:
    if name.startswith(LIMIT):
        return "gray"
    return "tab:blue" if name.startswith("flowkit") else "tab:orange"
