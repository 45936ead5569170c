"""Defines autoregressive layers, which transform each value of an event with parameters computed from those before."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from flowkit.bijectors.bijector import Bijector, full_precision, sum_over_event
from flowkit.bijectors.coupling import Conditioner, Transformer
from flowkit.bijectors.loop import fixed_loop
from flowkit.directions import Shared
from flowkit.errors import InputError, ShapeError
from flowkit.shapes import Shape


class Order(nn.Module, ABC):
    """The sequence of an event's values in an autoregressive layer: each value depends on those before it.

    Args:
        event_shape: The shape of one event, without the batch.
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape: Shape = tuple(event_shape)

    @abstractmethod
    def sequence(self) -> Sequence[int]:
        """Return the indices 0 … D - 1 of the flattened event's values, from the first to the last.

        It must be the same at each call, and for each instance that is built with the same arguments.
        """

    def checked_sequence(self) -> Tensor:
        """Return the sequence as integers [D].

        Raises:
            ShapeError: If the sequence isn't a permutation of 0 … D - 1.
        """
        size, found = math.prod(self.event_shape), list(self.sequence())
        if sorted(found) != list(range(size)):
            name, given = type(self).__name__, ", ".join(map(str, found[:8]))
            raise ShapeError(f"the order {name} gives the sequence {given} …; it must have each of 0 … {size - 1} once")
        return torch.tensor(found, dtype=torch.long)

    def ranks(self) -> Tensor:
        """Return the place of each value in the sequence, 0 … D - 1, as integers [*event]."""
        return self.checked_sequence().argsort().view(self.event_shape)


class MaskedConditioner(Conditioner):
    """A network that computes a transformer's parameters of each value from the values before it in an order.

    θ_i may depend on x_j only if j comes before i. Masks on the weights see to that. All θ may depend on the context.
    """

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return θ, or its difference from a transformer's starting θ.

        Args:
            x: The events, [batch, *event].
            context: The context of each event, [batch, *context]. None in a flow without a context.

        Returns:
            The parameters of each value, [batch, n_params, *event].
        """

    def by_value(self, context: Tensor | None = None) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the function that maps (x, index) to θ of one value alone.

        An inverse calls this method once, and the function for each value. By default the function runs the network
        and picks the value. A network may override this to compute once what doesn't depend on x, such as masked
        weights, and to leave out the θ of all other values. A subclass of such a network that overrides ``forward``
        must override this too.

        Args:
            context: The context of each event, [batch, *context]. None in a flow without a context.

        Returns:
            A function of the events x [batch, *event] and the value's index in the flattened event, integers [1]. It
            returns θ [batch, n_params, 1].
        """
        return lambda x, index: self(x, context).flatten(2).index_select(2, index)

    def freeze(self) -> MaskedConditioner:
        """Return the same network for inference. It precomputes what depends only on parameters: masked weights."""
        return self


class Autoregressive(Bijector):
    """The layer y_i = f(x_i; θ_i(x_<i)), where x_<i are the values before i in the order.

    The Jacobian is triangular in the order, so log|det| = Σ log|∂f/∂x_i|. One pass of the network gives all θ_i, and so
    y. The inverse takes D passes for an event of D values: pass k gives θ_i of the k-th value, which needs only what
    was found before.

    The network is run under autocast if that is enabled, and f in the precision of the event. The log-det is exact
    there too.

    Args:
        order: The sequence of the values. It has the shape of the event.
        conditioner: The masked network that computes θ. It must be built for the same order.
        transformer: The elementwise map f.

    Raises:
        InputError: If the conditioner is no MaskedConditioner, or the order changes between calls.
        ShapeError: If the order isn't a permutation of the event's values.

    References:
        Papamakarios et al. 2017, "Masked Autoregressive Flow for Density Estimation", eq. 3-5.

    Examples:
        >>> import torch
        >>> from flowkit.bijectors import Autoregressive
        >>> from flowkit_autoregressive.made import MADE
        >>> from flowkit_autoregressive.orders import Natural
        >>> from flowkit_glow.affine import Affine
        >>> order = Natural((5,))
        >>> layer = Autoregressive(order, MADE(order, (2, 5)), Affine())
        >>> y, log_det = layer.forward_and_log_det(torch.randn(3, 5))
        >>> y.shape, log_det.shape
        (torch.Size([3, 5]), torch.Size([3]))
    """

    handles_autocast: ClassVar[bool] = True
    sequence: Tensor
    ranks: Tensor

    def __init__(self, order: Order, conditioner: MaskedConditioner, transformer: Transformer) -> None:
        super().__init__(order.event_shape)
        if not isinstance(conditioner, MaskedConditioner):
            raise InputError(f"an autoregressive layer takes a MaskedConditioner, not a {type(conditioner).__name__}")
        self.order, self.conditioner, self.transformer = order, conditioner, transformer
        self.register_buffer("sequence", order.checked_sequence(), persistent=False)
        self.register_buffer("ranks", order.ranks().flatten(), persistent=False)
        if not torch.equal(self.sequence.argsort(), self.ranks):
            raise InputError(f"the order {type(order).__name__} gives another sequence at each call")

    @property
    def directions(self) -> Shared:
        return self.transformer.directions

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        theta = self._from_start(self.conditioner(x, context), x)
        with full_precision(x.device):
            y, log_derivative = self.transformer(x, theta)
            return y, sum_over_event(log_derivative)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y = y.flatten(1)
        network = self.conditioner.by_value(context)

        def solve(place: Tensor, x: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """Find the value at this place [1] of the order. The network reads what was found before."""
            index = self.sequence.index_select(0, place)
            theta = self._from_start(network(x.unflatten(1, self.event_shape), index), x)
            with full_precision(y.device):
                value, log_derivative = self.transformer.inverse(y.index_select(1, index), theta)
                found = torch.where(self.ranks == place, value, x)
                return place + 1, found, log_det + log_derivative.squeeze(1)

        start = torch.zeros_like(self.sequence[:1]), torch.zeros_like(y), y.new_zeros(y.shape[0])
        _, x, log_det = fixed_loop(solve, len(self.sequence), *start)
        return x.unflatten(1, self.event_shape), log_det

    def _from_start(self, difference: Tensor, x: Tensor) -> Tensor:
        """Return θ for what the network gives, in the precision of the event x. Under autocast that is bf16, say."""
        return self.transformer.from_start(difference.to(x.dtype))

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        self.conditioner.initialize(x, context)

    def freeze(self) -> Bijector:
        if not hasattr(self, "order"):  # it is frozen already
            return self
        frozen = Autoregressive(self.order, self.conditioner.freeze(), self.transformer)
        del frozen.order  # the buffers hold it; without it, layers of all orders are alike, and an export traces one
        return frozen
