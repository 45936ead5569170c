"""Defines a multi-layer perceptron as a conditioner."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flowkit.bijectors import Conditioner
from flowkit.plugin import Shape


class MLP(Conditioner):
    """A conditioner of ``layers`` linear layers with ReLU, and a last linear layer that is 0 at the start.

    Inputs are flattened. A context is concatenated to the kept part. The shapes are [batch, *kept_shape] ->
    [batch, *params_shape].

    Args:
        kept_shape: The shape of the kept part.
        params_shape: The shape of the parameters, [n_params, *transformed].
        context_shape: The shape of the context, or None without one.
        hidden: The number of units of each hidden layer.
        layers: The number of hidden layers.
        dropout: The share of the hidden units that are dropped in training.

    Examples:
        >>> import torch
        >>> from flowkit_glow.mlp import MLP
        >>> MLP((3,), (2, 4), context_shape=(10,))(torch.zeros(5, 3), torch.zeros(5, 10)).shape
        torch.Size([5, 2, 4])
    """

    def __init__(
        self,
        kept_shape: Shape,
        params_shape: Shape,
        context_shape: Shape | None = None,
        hidden: int = 128,
        layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.hidden, self.layers, self.dropout = hidden, layers, dropout
        self.params_shape = tuple(params_shape)
        inputs = math.prod(kept_shape) + (math.prod(context_shape) if context_shape else 0)
        self.linears = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise([inputs] + [hidden] * layers))
        self.last = nn.Linear(hidden, math.prod(self.params_shape))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        h = kept.flatten(1)
        if context is not None:
            h = torch.cat([h, context.flatten(1)], 1)
        for linear in self.linears:
            h = F.relu(linear(h), inplace=True)
            h = F.dropout(h, self.dropout, self.training) if self.dropout else h
        return self.last(h).unflatten(1, self.params_shape)  # [batch, n_params, *transformed]
