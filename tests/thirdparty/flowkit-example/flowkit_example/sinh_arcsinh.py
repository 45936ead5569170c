"""The sinh-arcsinh layer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.flow import Bijector


class SinhArcsinh(Bijector):
    """y = sinh(t asinh(x) + s), with a skewness s and a tail weight t > 0 for each channel.

    y = sinh(u) gives ∂y/∂x = t cosh(u) / √(1 + x²) and cosh(u) = √(1 + y²), hence
    log|det| = Σ log t + ½ log(1 + y²) - ½ log(1 + x²), over all channels and positions
    (Jones & Pewsey 2009, "Sinh-arcsinh distributions").
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape)
        channels, *positions = self.event_shape
        shape = [channels] + [1] * len(positions)
        self.skewness = nn.Parameter(torch.zeros(shape))
        self.log_tail = nn.Parameter(torch.zeros(shape))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y = torch.sinh(self.log_tail.exp() * torch.asinh(x) + self.skewness)
        return y, self._log_det(x, y)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = torch.sinh((torch.asinh(y) - self.skewness) * (-self.log_tail).exp())
        return x, -self._log_det(x, y)

    def _log_det(self, x: Tensor, y: Tensor) -> Tensor:
        each = self.log_tail + (torch.log1p(y.square()) - torch.log1p(x.square())) / 2  # [batch, *event]
        return each.flatten(1).sum(1)  # [batch]
