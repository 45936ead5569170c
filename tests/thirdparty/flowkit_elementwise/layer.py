"""The layer elementwise/layer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijectors import Bijector, Transformer
from flowkit.plugin import Use


class Elementwise(Bijector):
    """y = f(x; θ) elementwise, θ [n_params, *event] learned;  log|det| = Σ log|∂f/∂x|."""

    def __init__(self, event_shape: Sequence[int], transformer: Use | Transformer) -> None:
        super().__init__(event_shape)
        self.transformer: Transformer = transformer.build() if isinstance(transformer, Use) else transformer
        self.theta = nn.Parameter(torch.zeros(self.transformer.n_params, *self.event_shape))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, log_derivative = self.transformer(x, self._theta(x))
        return y, log_derivative.flatten(1).sum(1)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_derivative = self.transformer.inverse(y, self._theta(y))
        return x, log_derivative.flatten(1).sum(1)

    def _theta(self, x: Tensor) -> Tensor:
        return self.theta.expand(x.shape[0], *self.theta.shape)
