"""Grids of images, and histograms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from flowkit.train.pictures import _grid, save_samples


def test_a_grid_reads_like_a_page() -> None:
    images = torch.arange(5.0)[:, None, None, None].expand(5, 1, 2, 3)  # image k is all k
    grid = _grid(images, levels=6)
    assert grid.shape == (6, 12, 3)  # two rows of three, a line between them
    assert np.allclose(grid[[0, 0, 0, 3, 3, 3], [0, 4, 8, 0, 4, 8], 0] * 5, [0, 1, 2, 3, 4, 5])  # the last is blank
    assert (grid[2] == 1).all() and (grid[:, 3] == 1).all()


def test_colours_and_clipping() -> None:
    colours = torch.tensor([0.0, 100.0, 300.0]).reshape(1, 3, 1, 1)
    assert np.allclose(_grid(colours, levels=256)[0, 0], [0, 100 / 255, 1])


def test_continuous_images_are_shown_over_their_range() -> None:
    images = torch.tensor([-3.0, 0.0, 3.0, 1.0]).reshape(1, 1, 2, 2)
    assert np.allclose(_grid(images, levels=None)[:2, :2, 0], [[0, 0.5], [1, 2 / 3]])


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_a_histogram_is_of_the_finite_samples(tmp_path: Path, value: float) -> None:
    samples = torch.linspace(0, 1, 100)[:, None]
    save_samples(samples, None, None, tmp_path / "finite.png")
    save_samples(torch.cat([samples, torch.full((1, 1), value)]), None, None, tmp_path / "lost.png")
    assert np.array_equal(imread(tmp_path / "finite.png"), imread(tmp_path / "lost.png"))
    save_samples(torch.full((3, 1), value), None, None, tmp_path / "none.png")
