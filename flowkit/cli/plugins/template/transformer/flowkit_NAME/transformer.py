"""Defines the transformer NAME/transformer."""

import math

import torch
from flowkit.bijectors import Transformer
from torch import Tensor


class NameTransformer(Transformer):
    """The map y = a x + b √(1 + x²) + shift, with a = (r + l) / 2 and b = (r - l) / 2.

    Its slope is l far to the left, and r far to the right: it is a smooth leaky ReLU.

    log|∂y/∂x| = log(a + b x / √(1 + x²)). With w = y - shift and l r = a² - b² the inverse is
    x = (a w - b √(w² + l r)) / (l r). θ = (log l, log r, shift), the logs softly limited to ± log max_slope.
    At θ = 0, where training starts, y = x. To start elsewhere, give θ as numbers:
    ``super().__init__(starting_theta=[0.1, -0.1, 0.0])``.

    Without a formula for the inverse, leave that method out, and write directions = "forward" into the config.

    References:
        Barron 2021, "Squareplus: A Softplus-Like Algebraic Rectifier", for √(1 + x²) in place of |x|.
    """

    n_params = 3

    def __init__(self, max_slope: float = 4.0) -> None:
        super().__init__()
        self.max_slope = max_slope

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        left, right, shift = self._unpack(theta)
        a, b, root = (right + left) / 2, (right - left) / 2, (1 + x.square()).sqrt()
        return a * x + b * root + shift, (a + b * x / root).log()

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        left, right, shift = self._unpack(theta)
        a, b, w = (right + left) / 2, (right - left) / 2, y - shift
        root = (w.square() + left * right).sqrt()
        return (a * w - b * root) / (left * right), ((a - b * w / root) / (left * right)).log()

    def _unpack(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the slopes left and right, and the shift, [batch, *event] each."""
        limit = math.log(self.max_slope)
        slopes = (limit * torch.tanh(theta[:, :2] / limit)).exp()
        return slopes[:, 0], slopes[:, 1], theta[:, 2]
