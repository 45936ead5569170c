"""Defines the masked conditioner NAME/masked."""

import math

import torch
from flowkit.bijectors import MaskedConditioner, Order
from flowkit.plugin import Shape
from torch import Tensor, nn


class NameMasked(MaskedConditioner):
    """The network θ_i = V_i tanh(W_i (m_i ⊙ x) + U_i c), with m_i = 1 for the values before i in the order.

    V is 0 at the start, so θ is, too.
    """

    mask: Tensor

    def __init__(
        self,
        order: Order,
        params_shape: Shape,
        context_shape: Shape | None = None,
        hidden: int = 16,
    ) -> None:
        super().__init__()
        self.hidden = hidden
        n_params, size = params_shape
        ranks = order.ranks()  # [size], the place of each value in the order
        self.register_buffer("mask", (ranks[:, None] > ranks).float(), persistent=False)  # [of θ, of x]
        self.first = nn.Parameter(torch.randn(size, hidden, size) / math.sqrt(size))
        self.bias = nn.Parameter(torch.zeros(size, hidden))
        self.context = nn.Linear(math.prod(context_shape), size * hidden) if context_shape else None
        self.last = nn.Parameter(torch.zeros(n_params, size, hidden))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        weights = (self.first * self.mask[:, None]).flatten(0, 1)  # [size · hidden, size]
        h = x @ weights.T + self.bias.flatten()
        if self.context is not None and context is not None:
            h = h + self.context(context.flatten(1))
        h = h.tanh().unflatten(1, self.bias.shape)  # [batch, size, hidden]
        return (h[:, None] * self.last).sum(3)  # [batch, n_params, size]
