"""The layer NAME/layer."""

from collections.abc import Sequence

import torch
from flowkit.bijectors import ChannelLinear
from torch import Tensor, nn


class NameLayer(ChannelLinear):
    """y = H_k … H_1 x at each position, H = I - 2 u uᵀ / uᵀu, the vectors u learned;  log|det| = 0.

    Each H is its own inverse (Tomczak & Welling 2016, "Improving Variational Auto-Encoders using Householder
    Flow").
    """

    def __init__(self, event_shape: Sequence[int], reflections: int = 2) -> None:
        super().__init__(event_shape)
        self.reflections = reflections
        self.vectors = nn.Parameter(torch.randn(reflections, self.event_shape[0]))

    def channels(self, v: Tensor) -> Tensor:
        for u in self.vectors.unbind():
            v = _reflect(v, u)
        return v

    def channels_inverse(self, v: Tensor) -> Tensor:
        for u in reversed(self.vectors.unbind()):
            v = _reflect(v, u)
        return v

    def log_det(self) -> Tensor:
        """At one position: flowkit counts the positions."""
        return torch.zeros(())


def _reflect(v: Tensor, u: Tensor) -> Tensor:
    return v - 2 * torch.outer(v @ u, u) / (u @ u)  # [n, c]
