"""Defines MADE, a multi-layer perceptron with masked weights (Germain et al. 2015)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flowkit.bijectors import MaskedConditioner, Order
from flowkit.plugin import Shape

Linear = Callable[[Tensor], Tensor]
"""A linear layer."""

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu_, "elu": F.elu_, "tanh": torch.tanh_}
"""The activations in place. A new tensor for each would make a pass of the network 14% slower."""


class MADE(MaskedConditioner):
    """A masked conditioner of ``layers`` hidden layers, and a last linear layer that is 0 at the start.

    Each hidden unit has a degree m: it reads the first m values of the order, and no others. It is therefore connected
    to the first m inputs, and to units of degree m at most in the layer before it. θ of the value behind the first m is
    connected to hidden units of degree m at most. Degrees go round from 1 to D - 1.

    A context is concatenated to the event, and every hidden unit reads it. There are then units of degree 0 too,
    without which θ of the first value would be constant.

    Args:
        order: The order of the values. Its shape is that of the events.
        params_shape: The shape of the parameters, [n_params, *event].
        context_shape: The shape of the context, or None without one.
        hidden: The number of units of each hidden layer.
        layers: The number of hidden layers, or of residual blocks.
        residual: Use a first linear layer and ``layers`` blocks h + V a(W a(h)) behind it, as in nflows.
        activation: The function a: ``"relu"``, ``"elu"`` or ``"tanh"``.

    References:
        Germain et al. 2015, "MADE: Masked Autoencoder for Distribution Estimation", §4.

    Examples:
        >>> import torch
        >>> from flowkit_autoregressive.made import MADE
        >>> from flowkit_autoregressive.orders import Natural
        >>> MADE(Natural((4,)), (2, 4), hidden=16)(torch.zeros(5, 4)).shape
        torch.Size([5, 2, 4])
    """

    def __init__(
        self,
        order: Order,
        params_shape: Shape,
        context_shape: Shape | None = None,
        hidden: int = 128,
        layers: int = 2,
        residual: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.hidden, self.layers, self.residual, self.activation = hidden, layers, residual, activation
        self.params_shape = tuple(params_shape)
        ranks = order.ranks().flatten()
        context = torch.zeros(math.prod(context_shape) if context_shape else 0, dtype=torch.long)
        between = _degrees(hidden, len(ranks), len(context) > 0)
        n = 2 * layers if residual else layers - 1
        first = MaskedLinear(torch.cat([ranks + 1, context]), between)
        self.linears = nn.ModuleList([first, *(MaskedLinear(between, between) for _ in range(n))])
        self.last: nn.Linear = MaskedLinear(between, ranks.repeat(self.params_shape[0]))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = self._hidden_units(self.linears, x, context)
        return self.last(h).unflatten(1, self.params_shape)  # [batch, n_params, *event]

    def by_value(self, context: Tensor | None = None) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the function that maps (x, index) to θ of one value alone.

        Masks and weights are multiplied once. The function computes only the rows of the last layer that belong to the
        value.

        Args:
            context: The context of each event, [batch, *context]. None in a flow without a context.

        Returns:
            A function of the events x [batch, *event] and the value's index in the flattened event, integers [1]. It
            returns θ [batch, n_params, 1].
        """
        linears = [partial(F.linear, weight=weight, bias=bias) for weight, bias in map(_masked, self.linears)]
        weight, bias = (part.unflatten(0, (self.params_shape[0], -1)) for part in _masked(self.last))  # [n_params, D]

        def theta(x: Tensor, index: Tensor) -> Tensor:
            h = self._hidden_units(linears, x, context)
            rows, offsets = weight.index_select(1, index).squeeze(1), bias.index_select(1, index).squeeze(1)
            return F.linear(h, rows, offsets).unsqueeze(2)

        return theta

    def _hidden_units(self, linears: Iterable[Linear], x: Tensor, context: Tensor | None) -> Tensor:
        """Return the last hidden layer, [batch, hidden], through these linear layers."""
        h = x.flatten(1)
        if context is not None:
            h = torch.cat([h, context.flatten(1)], 1)
        return self._residual(linears, h) if self.residual else self._plain(linears, h)

    def _plain(self, linears: Iterable[Linear], h: Tensor) -> Tensor:
        activate = ACTIVATIONS[self.activation]
        for linear in linears:
            h = activate(linear(h))
        return h

    def _residual(self, linears: Iterable[Linear], h: Tensor) -> Tensor:
        activate = ACTIVATIONS[self.activation]
        first, *blocks = linears
        h = first(h)
        for inner, outer in zip(blocks[::2], blocks[1::2], strict=True):
            h = outer(activate(inner(activate(h.clone())))).add_(h)
        return h

    def freeze(self) -> MADE:
        frozen = copy.deepcopy(self)
        frozen.linears = nn.ModuleList(map(_unmasked, self.linears))
        frozen.last = _unmasked(self.last)
        return frozen


class MaskedLinear(nn.Linear):
    """A linear layer y = (W ⊙ M) x + b. M_ij is 1 if the degree of unit i is at least that of input j, and else 0."""

    mask: Tensor

    def __init__(self, inputs: Tensor, units: Tensor) -> None:
        super().__init__(len(inputs), len(units))
        self.register_buffer("mask", (units[:, None] >= inputs).to(self.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


def _masked(linear: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the weights, multiplied by the mask if there is one, and the bias."""
    assert isinstance(linear, nn.Linear)
    weight = linear.weight * linear.mask if isinstance(linear, MaskedLinear) else linear.weight
    return weight, linear.bias


def _unmasked(linear: nn.Module) -> nn.Linear:
    """Return a plain linear layer with the masked weights of a layer."""
    weight, bias = (part.detach().clone() for part in _masked(linear))
    plain = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    plain.weight, plain.bias = nn.Parameter(weight), nn.Parameter(bias)
    return plain


def _degrees(units: int, size: int, context: bool) -> Tensor:
    """Return the degrees of the hidden units, for events of this many values.

    They go round. If the units are fewer than the degrees, they are spread from the least to the greatest, so that
    every value but the last has a unit that reads it.
    """
    least = 0 if context or size == 1 else 1
    n = size - least
    if units < n:
        return torch.linspace(size - 1, least, units).round().long()
    return torch.arange(units) % n + least
