"""Pictures of a run: samples, and the loss over the epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import image
from matplotlib.figure import Figure
from torch import Tensor

from flowkit.files import replacing
from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.train.batches import take

if TYPE_CHECKING:  # whoever only draws samples needs no Lightning
    from flowkit.train.callbacks import Row

IMAGES, POINTS = 64, 1000
"""How many samples a grid and a scatter plot show."""

MIN_WIDTH = 512
"""Pixels; grids of small images are enlarged until they are at least so wide."""


def draw_samples(flow: Flow, data: Arrays, path: Path) -> None:
    """Samples, vectors beside as many events of the data; contexts are those of the data's first rows."""
    rows = slice(0, IMAGES if len(flow.event_shape) == 3 else POINTS)
    x, context = take(data, rows)
    samples = flow.sample(len(x), None if context is None else context.to(flow.device), seed=0).cpu()
    if len(flow.event_shape) == 3:
        _save_grid(samples, flow.levels, path)
    else:
        _save_points({"data": x, "samples": samples}, path)


def save_samples(samples: Tensor, levels: int | None, path: Path) -> None:
    """Samples [n, *event] as an array (.npy) or a picture (.png), whichever the suffix of ``path`` says."""
    if path.suffix == ".npy":
        with replacing(path) as temporary:
            np.save(temporary, samples.numpy())
    elif samples.dim() == 4:
        _save_grid(samples, levels, path)
    else:
        _save_points({"samples": samples}, path)


def _save_grid(images: Tensor, levels: int | None, path: Path) -> None:
    """Images [n, c, h, w] as one square grid: three channels in colour, otherwise the first in grey."""
    pixels = images.numpy() if images.shape[1] == 3 else np.repeat(images[:, :1].numpy(), 3, axis=1)
    low, high = (0, levels - 1) if levels else (pixels.min(), pixels.max())
    pixels = np.clip((pixels - low) / max(high - low, 1e-12), 0, 1)
    n, _, height, width = pixels.shape
    across = math.ceil(math.sqrt(n))
    blank = np.ones((-n % across, 3, height, width))
    tiles = np.pad(np.concatenate([pixels, blank]), ((0, 0), (0, 0), (1, 0), (1, 0)), constant_values=1)
    rows = tiles.reshape(-1, across, 3, height + 1, width + 1)
    grid = rows.transpose(0, 3, 1, 4, 2).reshape(-1, across * (width + 1), 3)  # [down, across, 3]
    scale = math.ceil(MIN_WIDTH / grid.shape[1])
    with replacing(path) as temporary:
        image.imsave(temporary, grid.repeat(scale, 0).repeat(scale, 1))


def _save_points(parts: dict[str, Tensor], path: Path) -> None:
    """The first two coordinates of each part, side by side on the same axes; a single one as a histogram."""
    figure = Figure(figsize=(4 * len(parts), 4), layout="constrained")
    axes = figure.subplots(1, len(parts), sharex=True, sharey=True, squeeze=False)[0]
    for axis, (title, x) in zip(axes, parts.items(), strict=True):
        axis.set_title(title)
        if x.shape[1] == 1:
            axis.hist(x[:, 0].numpy(), bins=50, density=True)
        else:
            axis.scatter(*x[:, :2].T.numpy(), s=3)
    with replacing(path) as temporary:
        figure.savefig(temporary)


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
