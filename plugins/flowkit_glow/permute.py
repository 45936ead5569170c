"""Defines fixed permutations of the channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit.bijectors import AffineMap, ChannelLinear


class Permute(ChannelLinear):
    """The permutation y_i = x_{order[i]} of the channels;  log|det| = 0."""

    index: Tensor

    def __init__(self, event_shape: Sequence[int], order: str = "reverse") -> None:
        super().__init__(event_shape)
        self.order = order
        c = self.event_shape[0]
        self.register_buffer("index", torch.arange(c).flip(0) if order == "reverse" else torch.randperm(c))

    def affine(self) -> AffineMap:
        matrix = F.one_hot(self.index, len(self.index)).float()  # row i is 1 at order[i]
        return AffineMap(matrix, torch.zeros(()), torch.zeros(()))

    def affine_inverse(self) -> AffineMap:
        return self.affine()._replace(matrix=self.affine().matrix.mT)
