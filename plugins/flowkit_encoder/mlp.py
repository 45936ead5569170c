"""Defines the encoder that is a multi-layer perceptron, and its layers, which other encoders use too."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from flowkit.bijectors import Encoder
from flowkit.plugin import Shape
from flowkit_encoder.standardize import Standardize


class MLPEncoder(Encoder):
    """An encoder of flattened contexts c: W a(… a(W₁ c + b₁) …) + b, with ``layers`` hidden layers and a = ReLU.

    The shapes are [batch, *context_shape] -> [batch, features]. Each value of c is standardized by the first batch.

    Args:
        context_shape: The shape of the context.
        features: The number of values in the summary.
        hidden: The number of units of each hidden layer.
        layers: The number of hidden layers.

    Examples:
        >>> import torch
        >>> from flowkit_encoder.mlp import MLPEncoder
        >>> MLPEncoder((3,))(torch.zeros(5, 3)).shape
        torch.Size([5, 16])
    """

    def __init__(self, context_shape: Shape, features: int = 16, hidden: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.features, self.hidden, self.layers = features, hidden, layers
        size = math.prod(context_shape)
        self.standardize = Standardize((size,))
        self.network = nn.Sequential(*relu_layers(size, hidden, layers), nn.Linear(hidden, features))

    def forward(self, context: Tensor) -> Tensor:
        return self.network(self.standardize(context.flatten(1)))

    def initialize(self, context: Tensor) -> None:
        self.standardize.initialize(context.flatten(1))


def relu_layers(inputs: int, hidden: int, layers: int) -> list[nn.Module]:
    """Return linear layers of ``hidden`` units, each followed by ReLU."""
    pairs = pairwise([inputs] + [hidden] * layers)
    return [module for a, b in pairs for module in (nn.Linear(a, b), nn.ReLU())]
