"""Defines the standardization of contexts, with which all encoders of this package begin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowkit.bijectors import std_or_1
from flowkit.plugin import Shape


class Standardize(nn.Module):
    """The map (c - μ) / σ of a context c. The first batch sets the mean μ and the standard deviation σ.

    Both have the shape ``shape``, which is broadcast to contexts: (d,) is one number for each of the last d values, and
    (c, 1, 1) one for each channel of an image. They aren't trained. A value that is constant in the first batch gets
    σ = 1.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    def forward(self, context: Tensor) -> Tensor:
        return (context - self.mean) / self.scale

    def initialize(self, context: Tensor) -> None:
        sizes = (1,) * (context.dim() - self.mean.dim()) + self.mean.shape
        over = [dim for dim, size in enumerate(sizes) if size == 1]
        std = std_or_1(context.std(over, correction=0, keepdim=True), context.abs().amax(over, keepdim=True))
        self.mean.copy_(context.mean(over, keepdim=True).view_as(self.mean))
        self.scale.copy_(std.view_as(self.scale))
