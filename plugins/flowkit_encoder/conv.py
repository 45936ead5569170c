"""Defines the encoder of images."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from flowkit.bijectors import Encoder
from flowkit.plugin import Shape
from flowkit_encoder.standardize import Standardize


class Conv(Encoder):
    """An encoder of images: ``layers`` 3×3 convolutions of stride 2 with ReLU, and a linear layer of their output.

    The shapes are [batch, c, h, w] -> [batch, features]. Each convolution halves the height and the width, rounded up.
    Each channel of the images is standardized by the first batch.

    Args:
        context_shape: The shape of the images, [channels, height, width].
        features: The number of values in the summary.
        hidden: The number of channels of each convolution.
        layers: The number of convolutions.

    References:
        Springenberg et al. 2015, "Striving for Simplicity: The All Convolutional Net".

    Examples:
        >>> import torch
        >>> from flowkit_encoder.conv import Conv
        >>> Conv((3, 28, 28))(torch.zeros(5, 3, 28, 28)).shape
        torch.Size([5, 16])
    """

    def __init__(self, context_shape: Shape, features: int = 16, hidden: int = 32, layers: int = 3) -> None:
        super().__init__()
        self.features, self.hidden, self.layers = features, hidden, layers
        c, h, w = context_shape
        self.standardize = Standardize((c, 1, 1))
        pairs = pairwise([c] + [hidden] * layers)
        convs = [module for a, b in pairs for module in (nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU())]
        left = -(-h // 2**layers) * -(-w // 2**layers)
        self.network = nn.Sequential(*convs, nn.Flatten(), nn.Linear(hidden * left, features))

    def forward(self, context: Tensor) -> Tensor:
        return self.network(self.standardize(context))

    def initialize(self, context: Tensor) -> None:
        self.standardize.initialize(context)
