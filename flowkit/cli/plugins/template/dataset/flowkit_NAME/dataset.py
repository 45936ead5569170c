"""Defines the dataset NAME/dataset."""

import numpy as np
from flowkit.plugin import Arrays, Dataset, PartName


class NameDataset(Dataset):
    """Points (sin 2a, 2 sin a) with uniform angles a, and normal noise: float32 [n, 2]."""

    def __init__(self, n: int = 10_000, noise: float = 0.05) -> None:
        self.n, self.noise = n, noise

    def load(self, part: PartName) -> Arrays:
        """Return one part. If yours reads files, raise flowkit.plugin.DataError for one that can't be read."""
        random = np.random.default_rng({"train": 0, "val": 1, "test": 2}[part])
        angle = random.uniform(0, 2 * np.pi, self.n if part == "train" else self.n // 10)
        points = np.stack([np.sin(2 * angle), 2 * np.sin(angle)], 1)
        return Arrays((points + self.noise * random.standard_normal(points.shape)).astype(np.float32))
