"""``data/toy``: distributions in the plane that show at a glance what a flow can do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flowkit.plugin import Arrays, Dataset, PartName

Draw = Callable[[int, np.random.RandomState], tuple[np.ndarray, np.ndarray | None]]
"""n and a source of randomness -> points [n, 2] without noise, labels [n] or None."""


class ToyPoints(Dataset):
    """float32 [n, 2]; n points for training, a tenth as many for validation and for test."""

    def __init__(self, name: str, n: int, noise: float):
        self.draw, self.n, self.noise = TOYS[name], n, noise

    def load(self, part: PartName) -> Arrays:
        # RandomState's streams are frozen for good, so the same points come with every release of numpy
        random = np.random.RandomState({"train": 0, "val": 1, "test": 2}[part])
        points, labels = self.draw(self.n if part == "train" else self.n // 10, random)
        points = points + self.noise * random.standard_normal(points.shape)
        return Arrays(points.astype(np.float32), labels)


def moons(n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Two interleaved half circles."""
    label, angle = random.randint(2, size=n), np.pi * random.rand(n)
    sign = 1 - 2 * label
    return np.stack([label - 0.5 + sign * np.cos(angle), sign * (np.sin(angle) - 0.25)], axis=1), label


def _on_circles(angle: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def circles(n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """A circle of radius 1 around one of radius ½."""
    label = random.randint(2, size=n)
    return _on_circles(2 * np.pi * random.rand(n), 1 - label / 2), label


def rings(n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Four concentric circles of radii ½ … 2."""
    label = random.randint(4, size=n)
    return _on_circles(2 * np.pi * random.rand(n), (label + 1) / 2), label


def spirals(n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Two arms of one and a half turns."""
    label, turn = random.randint(2, size=n), 1.5 * np.sqrt(random.rand(n))
    return _on_circles(2 * np.pi * turn + np.pi * label, turn), label


def gaussians(n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Eight points on a circle of radius 2: normal clusters once there is noise."""
    label = random.randint(8, size=n)
    return _on_circles(np.pi / 4 * label, np.full(n, 2.0)), label


def checkerboard(n: int, random: np.random.RandomState) -> tuple[np.ndarray, None]:
    """The black squares of a board of 4 x 4 on [-2, 2)²."""
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
