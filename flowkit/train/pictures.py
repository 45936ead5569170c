"""Pictures of a run: samples, and the loss over the epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from flowkit.files import replacing
from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.train.batches import take

if TYPE_CHECKING:
    from flowkit.train.checkpoint import Row

IMAGES, POINTS = 100, 1000
"""How many samples a grid and a scatter plot show."""


def draw_samples(flow: Flow, data: Arrays, path: Path) -> None:
    """Samples beside as many events of the data; contexts are those of the data's first rows."""
    rows = slice(0, IMAGES if len(flow.event_shape) == 3 else POINTS)
    x, context = take(data, rows)
    samples = flow.sample(len(x), None if context is None else context.to(flow.device), seed=0).cpu()
    _save({"data": x, "samples": samples}, flow.levels, path)


def save_samples(samples: Tensor, levels: int | None, path: Path) -> None:
    """Samples [n, *event] as an array (.npy) or a picture (.png), whichever the suffix of ``path`` says."""
    if path.suffix == ".npy":
        with replacing(path) as temporary:
            np.save(temporary, samples.numpy())
    else:
        _save({"samples": samples}, levels, path)


def _save(parts: dict[str, Tensor], levels: int | None, path: Path) -> None:
    """Parts side by side, each under its name."""
    figure = Figure(figsize=(4 * len(parts), 4.4), layout=ConstrainedLayoutEngine(h_pad=0.12))
    images = next(iter(parts.values())).dim() == 4
    axes = figure.subplots(1, len(parts), sharex=not images, sharey=not images, squeeze=False)[0]
    for axis, (title, x) in zip(axes, parts.items(), strict=True):
        axis.set_title(title)
        if images:
            axis.imshow(_grid(x, levels))
            axis.set_axis_off()
        elif x.shape[1] == 1:
            finite = x[x.isfinite()].numpy()
            axis.hist(finite, bins=50, density=len(finite) > 0)
        else:
            axis.scatter(*x[:, :2].T.numpy(), s=3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _grid(images: Tensor, levels: int | None) -> np.ndarray:
    """Images [n, c, h, w] as one square grid: three channels in colour, otherwise the first in grey."""
    pixels = images.numpy() if images.shape[1] == 3 else np.repeat(images[:, :1].numpy(), 3, axis=1)
    low, high = (0, levels - 1) if levels else (pixels.min(), pixels.max())
    pixels = np.clip((pixels - low) / max(high - low, 1e-12), 0, 1)
    n, _, height, width = pixels.shape
    across = math.ceil(math.sqrt(n))
    blank = np.ones((-n % across, 3, height, width))
    tiles = np.pad(np.concatenate([pixels, blank]), ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=1)
    rows = tiles.reshape(-1, across, 3, height + 1, width + 1)
    return rows.transpose(0, 3, 1, 4, 2).reshape(-1, across * (width + 1), 3)  # [down, across, 3]


def draw_loss(rows: Sequence[Row], unit: str, path: Path) -> None:
    """Training and validation figures over the epochs."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    validated = [(row["epoch"], row["val"]) for row in rows if row["val"] is not None]
    axis.plot([row["epoch"] for row in rows], [row["train"] for row in rows], marker=".", label="train")
    axis.plot(*zip(*validated, strict=True), marker=".", label="val")
    axis.set(xlabel="epoch", ylabel=unit)
    axis.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary)
