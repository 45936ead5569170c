"""Defines the dataset ``data/toy``: distributions in the plane that show at a glance how well a flow fits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flowkit.plugin import Arrays, Dataset, PartName

Draw = Callable[[int, np.random.RandomState], tuple[np.ndarray, np.ndarray | None]]
"""A function of n and a random number generator. It returns points [n, 2] without noise, and labels [n] or None."""


class ToyPoints(Dataset):
    """Points float32 [n, 2]. There are n points for training, and a tenth as many each for validation and test.

    Args:
        name: The name of the distribution, such as ``"moons"``.
        n: The number of points for training.
        noise: The standard deviation of the normal noise that is added to each coordinate.
    """

    def __init__(self, name: str, n: int, noise: float):
        self.draw, self.n, self.noise = TOYS[name], n, noise

    def load(self, part: PartName) -> Arrays:
        # RandomState's streams never change, so every release of numpy gives the same points
        random = np.random.RandomState({"train": 0, "val": 1, "test": 2}[part])
        points, labels = self.draw(self.n if part == "train" else self.n // 10, random)
        points = points + self.noise * random.standard_normal(points.shape)
        return Arrays(points.astype(np.float32), labels)


def moons(n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Draw points on two interleaved half circles."""
    label, angle = random.randint(2, size=n), np.pi * random.rand(n)
    sign = 1 - 2 * label
    return np.stack([label - 0.5 + sign * np.cos(angle), sign * (np.sin(angle) - 0.25)], axis=1), label


def _on_circles(angle: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def circles(n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Draw points on two concentric circles, of radius 1 and ½."""
    label = random.randint(2, size=n)
    return _on_circles(2 * np.pi * random.rand(n), 1 - label / 2), label


def rings(n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Draw points on four concentric circles, of radii ½, 1, 1½ and 2."""
    label = random.randint(4, size=n)
    return _on_circles(2 * np.pi * random.rand(n), (label + 1) / 2), label


def spirals(n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Draw points on two spiral arms of one and a half turns."""
    label, turn = random.randint(2, size=n), 1.5 * np.sqrt(random.rand(n))
    return _on_circles(2 * np.pi * turn + np.pi * label, turn), label


def gaussians(n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Draw from eight points on a circle of radius 2. The noise turns them into normal clusters."""
    label = random.randint(8, size=n)
    return _on_circles(np.pi / 4 * label, np.full(n, 2.0)), label


def checkerboard(n: int, random: np.random.RandomState) -> tuple[np.ndarray, None]:
    """Draw points on the black squares of a 4 × 4 board on [-2, 2)²."""
    column, row = random.randint(4, size=n), random.randint(2, size=n)
    corner = np.stack([column - 2, 2 * row + column % 2 - 2], axis=1)
    return corner + random.rand(n, 2), None


TOYS: dict[str, Draw] = {
    "moons": moons,
    "circles": circles,
    "rings": rings,
    "spirals": spirals,
    "gaussians": gaussians,
    "checkerboard": checkerboard,
}
