"""Defines the encoder of sets."""

from __future__ import annotations

from torch import Tensor, nn

from flowkit.bijectors import Encoder
from flowkit.plugin import Shape
from flowkit_encoder.mlp import relu_layers
from flowkit_encoder.standardize import Standardize


class DeepSet(Encoder):
    """An encoder of sets {x_1, …, x_n}, whose order has no effect: ρ(1/n Σ_i φ(x_i)).

    The shapes are [batch, n, d] -> [batch, features]. φ and ρ are multi-layer perceptrons with ReLU: φ has ``layers``
    hidden layers, and so has ρ before its last, linear layer. The paper's sum over the set is a mean here, so that the
    scale doesn't depend on n. Each of the d values of x is standardized by the first batch.

    Args:
        context_shape: The shape of a set, [n, d].
        features: The number of values in the summary.
        hidden: The number of units of each hidden layer.
        layers: The number of hidden layers of φ, and of those of ρ.

    References:
        Zaheer et al. 2017, "Deep Sets", theorem 2.

    Examples:
        >>> import torch
        >>> from flowkit_encoder.deep_set import DeepSet
        >>> DeepSet((100, 2))(torch.zeros(5, 100, 2)).shape
        torch.Size([5, 16])
    """

    def __init__(self, context_shape: Shape, features: int = 16, hidden: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.features, self.hidden, self.layers = features, hidden, layers
        _, d = context_shape
        self.standardize = Standardize((d,))
        self.phi = nn.Sequential(*relu_layers(d, hidden, layers))
        self.rho = nn.Sequential(*relu_layers(hidden, hidden, layers), nn.Linear(hidden, features))

    def forward(self, context: Tensor) -> Tensor:
        return self.rho(self.phi(self.standardize(context)).mean(1))

    def initialize(self, context: Tensor) -> None:
        self.standardize.initialize(context)
