"""Draws the pictures of a run: samples, and the loss over the epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from torch import Tensor

from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.train.batches import take
from flowkit.train.checkpoint import Row
from flowkit_runtime.atomic import replacing
from flowkit_runtime.inputs import row_slices

IMAGES, POINTS = 100, 1000
"""The number of samples in a grid of images, and in a scatter plot."""
LEGEND_CLASSES = 10
"""The most classes that a legend lists. With more classes, a colour bar is drawn."""
MOST_NUMBERS = 2
"""The most numbers of a context that are written above an image."""


def draw_samples(flow: Flow, data: Arrays, batch_size: int, path: Path) -> None:
    """Draw randomly chosen events of the data beside samples with the same contexts. The choice is reproducible.

    Events are chosen as often as their weights say. ``batch_size`` is the number of samples that are drawn together.

    Events of a conditional flow are labelled with their contexts. If these are class labels, events are sorted by
    class, and have the names of their classes if there are names.
    """
    count = min(IMAGES if len(flow.event_shape) == 3 else POINTS, len(data.x))
    shares = None if data.weights is None else data.weights / data.weights.sum()
    rows = np.random.default_rng(0).choice(len(data.x), count, replace=shares is not None, p=shares)
    if data.context is not None and data.context.ndim == 1:
        rows = rows[np.argsort(data.context[rows], kind="stable")]
    x, context, _ = take(data, rows)
    samples = [
        flow.sample(len(x[part]), None if context is None else context[part].to(flow.device), seed=seed).cpu()
        for seed, part in enumerate(row_slices(len(x), batch_size))
    ]
    _save({"data": x, "samples of the flow": torch.cat(samples)}, context, flow.levels, path, data.classes)


def save_samples(
    samples: Tensor, context: Tensor | None, levels: int | None, path: Path, classes: Sequence[str] = ()
) -> None:
    """Save samples [n, *event] as an array (.npy) or a picture (.png), depending on the suffix of ``path``.

    ``classes`` are the names of the classes that labels stand for, or empty if they have none.
    """
    if path.suffix == ".npy":
        with replacing(path) as temporary:
            np.save(temporary, samples.numpy())
    else:
        _save({"samples of the flow": samples}, context, levels, path, classes)


def _save(
    parts: dict[str, Tensor], context: Tensor | None, levels: int | None, path: Path, classes: Sequence[str]
) -> None:
    """Draw the parts side by side, each under its name. Event i of each part has context i."""
    figure = Figure(figsize=(4 * len(parts), 4.4), layout=ConstrainedLayoutEngine(h_pad=0.12))
    images = next(iter(parts.values())).dim() == 4
    axes = figure.subplots(1, len(parts), sharex=not images, sharey=not images, squeeze=False)[0]
    colours = None
    for axis, (title, x) in zip(axes, parts.items(), strict=True):
        axis.set_title(title)
        if images:
            _draw_images(axis, x, context, levels, classes)
        else:
            colours = _draw_points(axis, x, context, classes)
            axis.label_outer()
    if colours is not None and context is not None:
        _explain(figure, axes, colours, context, classes)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _draw_images(axis: Axes, x: Tensor, context: Tensor | None, levels: int | None, classes: Sequence[str]) -> None:
    gap = 1 if context is None else 1 + math.ceil(x.shape[2] / 3)  # room for a line of text
    axis.imshow(_grid(x, levels, gap))
    axis.set_axis_off()
    if context is None:
        return
    across, (height, width) = math.ceil(math.sqrt(len(x))), x.shape[2:]
    words = [_words(one, classes) for one in context]
    cell = 72 * 3.4 / max(across, math.ceil(len(x) / across) * (height + gap) / (width + 1))  # width in points
    size = min(9, cell / (width + 1) * (gap - 1), cell / 0.6 / max(1, *map(len, words)))
    for index, word in enumerate(words):
        down, right = divmod(index, across)
        axis.text(right * (width + 1) - 0.5, down * (height + gap) + gap - 1.5, word, fontsize=size, va="bottom")


def _words(context: Tensor, classes: Sequence[str]) -> str:
    """Return the text for one context: its class, by name if it has one, or its first numbers."""
    if context.dim() == 0:
        name = classes[int(context)] if classes else str(context.item())
        return name.replace("$", r"\$")  # a pair of them would enclose a formula
    numbers = context.flatten()
    more = " …" if len(numbers) > MOST_NUMBERS else ""
    return " ".join(f"{number:.2g}" for number in numbers[:MOST_NUMBERS].tolist()) + more


def _draw_points(axis: Axes, x: Tensor, context: Tensor | None, classes: Sequence[str]) -> PathCollection | None:
    """Draw the first two entries of events, x1 and x2, as points, coloured by context. Return the points.

    Events of one entry are drawn over their contexts or, if there are none, as a histogram. These have no colours:
    return None.
    """
    first = None if context is None else context.flatten(1)[:, 0] if context.dim() > 1 else context
    if x.shape[1] > 1:
        colours = {} if first is None else {"c": first.numpy(), **(_PALETTE if _few_classes(context) else {})}
        axis.set(xlabel="x1", ylabel="x2")
        return axis.scatter(x[:, 0].numpy(), x[:, 1].numpy(), s=3, **colours)
    if first is None:
        finite = x[x.isfinite()].double().numpy()  # float32 may be too coarse for the edges of bins
        axis.hist(finite, bins=50, density=len(finite) > 0)
        axis.set(xlabel="x", ylabel="density")
    else:
        axis.scatter(first.numpy(), x[:, 0].numpy(), s=3)
        axis.set(xlabel=_name(context), ylabel="x")
        if context is not None and _few_classes(context):
            present = context.unique()
            axis.set_xticks(present.tolist(), [_words(k, classes) for k in present])
    return None


_PALETTE: dict[str, Any] = {"cmap": "tab10", "vmin": 0, "vmax": LEGEND_CLASSES - 1}


def _few_classes(context: Tensor | None) -> bool:
    return context is not None and context.dim() == 1 and int(context.max()) < LEGEND_CLASSES


def _name(context: Tensor | None) -> str:
    return "context" if context is None or context.dim() == 1 or context[0].numel() == 1 else "context, first number"


def _explain(
    figure: Figure, axes: Sequence[Axes], colours: PathCollection, context: Tensor, classes: Sequence[str]
) -> None:
    """Add a legend of the classes, or a colour bar for the first number of the context."""
    if _few_classes(context):
        marks = {_words(k, classes): tuple(colours.to_rgba(k.item())) for k in context.unique()}
        handles = [Line2D([], [], marker="o", linestyle="", color=mark, label=k) for k, mark in marks.items()]
        figure.legend(handles=handles, title="context", loc="outside right center")
    else:
        figure.colorbar(colours, ax=axes, label=_name(context))


def _grid(images: Tensor, levels: int | None, gap: int = 1) -> np.ndarray:
    """Return images [n, c, h, w] as one square grid, [down, across, 3].

    One or two channels are drawn as the first in grey.

    Each image has ``gap`` - 1 white lines above it, for its label, and one below it.
    """
    pixels = images.numpy() if images.shape[1] == 3 else np.repeat(images[:, :1].numpy(), 3, axis=1)
    low, high = (0, levels - 1) if levels else (pixels.min(), pixels.max())
    pixels = np.clip((pixels - low) / max(high - low, 1e-12), 0, 1)
    n, _, height, width = pixels.shape
    across = math.ceil(math.sqrt(n))
    blank = np.ones((-n % across, 3, height, width))
    tiles = np.pad(np.concatenate([pixels, blank]), ((0, 0), (0, 0), (gap - 1, 1), (0, 1)), constant_values=1)
    rows = tiles.reshape(-1, across, 3, height + gap, width + 1)
    return rows.transpose(0, 3, 1, 4, 2).reshape(-1, across * (width + 1), 3)  # [down, across, 3]


def draw_loss(rows: Sequence[Row], unit: str, path: Path) -> None:
    """Draw training and validation losses over the epochs, and save the picture."""
    with replacing(path) as temporary:
        loss_figure(rows, unit).savefig(temporary)


def loss_figure(rows: Sequence[Row], unit: str) -> Figure:
    """Draw training and validation losses over the epochs."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    validated = [(row.epoch, row.val) for row in rows if row.val is not None]
    axis.plot([row.epoch for row in rows], [row.train for row in rows], marker=".", label="training")
    axis.plot(*zip(*validated, strict=True), marker=".", label="validation")
    epoch, best = min(validated, key=lambda point: point[1])
    axis.plot(
        epoch, best, "o", color="C1", fillstyle="none", markersize=10, label=f"best: {best:.4f} after epoch {epoch}"
    )
    axis.set(title="Negative log-likelihood: lower is better", xlabel="epoch", ylabel=unit)
    axis.legend()
    return figure
