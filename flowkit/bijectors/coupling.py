"""Defines couplings, which transform one part of an event with parameters computed from the other part by a network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from flowkit.bijectors.bijector import Bijector, full_precision, sum_over_event
from flowkit.directions import Shared, defined, shared
from flowkit.errors import DirectionError


class Split(nn.Module, ABC):
    """A way to divide an event in two parts and to merge them again: merge(*split(x)) = x. It only moves elements.

    Args:
        event_shape: The shape of one event, without the batch.
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)

    @abstractmethod
    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Divide events into the kept and the transformed part.

        Args:
            x: The events, [batch, *event].

        Returns:
            kept [batch, *kept] and transformed [batch, *transformed].
        """

    @abstractmethod
    def merge(self, kept: Tensor, transformed: Tensor) -> Tensor:
        """Return the events that these are the parts of, [batch, *event].

        Args:
            kept: The kept part, [batch, *kept].
            transformed: The transformed part, [batch, *transformed].
        """


class Transformer(nn.Module, ABC):
    """An elementwise invertible map y = f(x; θ). It doesn't depend on how θ is computed.

    x, y and the log-derivative are [batch, *event]. θ is [batch, n_params, *event], or [1, n_params, *event] if all
    events share it. A log-derivative that depends on θ alone may then be [1, *event].

    Training starts at θ = 0, where f should be the identity. A transformer that has to start elsewhere, as a mixture
    whose components may not be equal, passes its ``starting_theta`` to ``super().__init__``. f should be near the
    identity there. A conditioner's output is then the difference from the starting θ, and learned parameters start at
    it.

    A transformer that can compute one of its directions only leaves the method of the other one out.

    Args:
        starting_theta: The θ at which training starts, one number for each parameter. None stands for 0.

    Examples:
        >>> import torch
        >>> from flowkit.bijectors import Transformer
        >>> class Shift(Transformer):
        ...     n_params = 1
        ...     def forward(self, x, theta):
        ...         return x + theta[:, 0], torch.zeros_like(x)
        ...     def inverse(self, y, theta):
        ...         return y - theta[:, 0], torch.zeros_like(y)
        >>> y, log_derivative = Shift()(torch.zeros(1, 3), torch.ones(1, 1, 3))
        >>> y, log_derivative
        (tensor([[1., 1., 1.]]), tensor([[0., 0., 0.]]))
    """

    n_params: int
    """The number of parameters for each element."""

    starting_theta: Tensor | None
    """The θ at which training starts, [n_params], or None for 0. It isn't in the state_dict."""

    def __init__(self, starting_theta: Sequence[float] | None = None) -> None:
        super().__init__()
        start = None if starting_theta is None else torch.tensor(starting_theta)
        self.register_buffer("starting_theta", start, persistent=False)

    def from_start(self, difference: Tensor) -> Tensor:
        """Return θ for its difference from the starting θ, [batch, n_params, *event].

        Args:
            difference: The output of a conditioner, [batch, n_params, *event].
        """
        if self.starting_theta is None:
            return difference
        return difference + self.starting_theta.reshape(-1, *(1 for _ in difference.shape[2:])).to(difference.dtype)

    @property
    def directions(self) -> Shared:
        """The directions that the transformer can compute: by default those whose methods its class has."""
        return defined(type(self), Transformer, "forward", "inverse")

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and log|∂y/∂x|, elementwise.

        Args:
            x: The values, [batch, *event].
            theta: The parameters θ of each value, [batch, n_params, *event] or [1, n_params, *event].

        Returns:
            y [batch, *event], and the log-derivative, [batch, *event]. The latter may be [1, *event] if it depends on a
            shared θ alone.

        Raises:
            DirectionError: If the transformer has no forward direction.
        """
        raise DirectionError(f"{type(self).__name__} has no forward direction, data -> latent")

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and log|∂x/∂y|, elementwise: the log-derivative of this inverse map.

        Args:
            y: The outputs, [batch, *event].
            theta: The parameters θ of each value, [batch, n_params, *event] or [1, n_params, *event].

        Returns:
            x and the log-derivative, with the shapes that ``forward`` returns.

        Raises:
            DirectionError: If the transformer has no inverse.
        """
        raise DirectionError(f"{type(self).__name__} has no inverse, latent -> data")


def bounded_log_scale(t: Tensor, low: float, high: float) -> Tensor:
    """Return log s(t) for a scale s between ``low`` and ``high``. It is 0 with slope 1 at t = 0.

    It is a scaled and shifted tanh of t. For low = 1/high it is L tanh(t / L) with L = log high.

    Args:
        t: Unbounded numbers, of any shape.
        low: The lower bound of s, 0 < low < 1.
        high: The upper bound of s, high > 1.

    Examples:
        >>> import torch
        >>> from flowkit.bijectors import bounded_log_scale
        >>> bounded_log_scale(torch.tensor([-100.0, 0.0, 100.0]), 0.25, 4.0).exp()
        tensor([0.2500, 1.0000, 4.0000])
    """
    middle, half = math.log(high * low) / 2, math.log(high / low) / 2
    if middle == 0:  # low = 1/high, as usual: this takes two operators fewer
        return half * torch.tanh(t * (1 / half))
    start = -middle / half  # the tanh where log s = 0
    slope = 1 / (half * (1 - start**2))
    return middle + half * torch.tanh(slope * t + math.atanh(start))


class Conditioner(nn.Module, ABC):
    """A network that computes a transformer's parameters from the kept part, and from the context if there is one.

    In an elementwise layer the context takes the place of the kept part, and ``context`` is None.
    """

    @abstractmethod
    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        """Return θ, or its difference from a transformer's starting θ.

        Args:
            kept: The kept part of the events, [batch, *kept].
            context: The context of each event, [batch, *context]. None in a flow without a context.

        Returns:
            The parameters of each transformed value, [batch, n_params, *transformed].
        """

    def initialize(self, kept: Tensor, context: Tensor | None = None) -> None:
        """Set parameters from a first batch. A flow calls it once, before training, without gradients.

        Args:
            kept: The kept part of the events, [batch, *kept].
            context: The context of each event, [batch, *context]. None in a flow without a context.
        """


class Coupling(Bijector):
    """The layer (x₁, x₂) -> (f(x₁; θ(x₂)), x₂), where x₁ is the transformed part and x₂ the kept part.

    With ``kept``, a bijector of the kept part, it is (x₁, x₂) -> (f(x₁; θ(x₂)), g(x₂)), where g has parameters of its
    own and reads no context. The network reads x₂, not g(x₂).

    The Jacobian is block triangular, so log|det| = Σ log|∂f/∂x₁| + log|det ∂g/∂x₂| for any network θ. The log-det is
    therefore exact under autocast too, where the network computes in bf16, and f in the precision of the event.

    Args:
        split: The division of the event into x₁ and x₂.
        conditioner: The network θ.
        transformer: The elementwise map f.
        kept: The bijector g of the kept part, or None to leave x₂ as it is.

    References:
        - Dinh et al. 2017, "Density estimation using Real NVP", eq. 6.
        - Durkan et al. 2019, "Neural Spline Flows", for the transformed kept part.

    Examples:
        >>> import torch
        >>> from flowkit.bijectors import Coupling
        >>> from flowkit_glow.affine import Affine
        >>> from flowkit_glow.mlp import MLP
        >>> from flowkit_glow.splits import Channels
        >>> layer = Coupling(Channels((4,)), MLP((2,), (2, 2)), Affine())
        >>> y, log_det = layer.forward_and_log_det(torch.randn(3, 4))
        >>> y.shape, log_det.shape
        (torch.Size([3, 4]), torch.Size([3]))
    """

    handles_autocast: ClassVar[bool] = True

    def __init__(
        self, split: Split, conditioner: Conditioner, transformer: Transformer, kept: Bijector | None = None
    ) -> None:
        super().__init__(split.event_shape)
        self.split, self.conditioner, self.transformer, self.kept = split, conditioner, transformer, kept

    @property
    def directions(self) -> Shared:
        return shared(part.directions for part in (self.transformer, self.kept) if part is not None)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, transformed = self._split(x)
        return self._transform(kept, transformed, self._theta(kept, context))

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, transformed, kept_log_det = self._untransform_kept(y)
        theta = self._theta(kept, context)
        with full_precision(y.device):
            x, log_derivative = self.transformer.inverse(transformed, theta)
            return self.split.merge(kept, x), _added(sum_over_event(log_derivative), kept_log_det)

    def recompute(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return what ``Bijector.recompute`` returns, with one run of the network for both directions. Both read x₂.

        A subclass that overrides ``forward_and_log_det`` must override this too. ``Bijector.recompute`` is always
        correct.

        Args:
            y: The outputs, [batch, *event_shape].
            context: The context of each event, [batch, *context_shape]. None in a flow without a context.
        """
        x = y.detach().requires_grad_()  # x₂ = y₂, and x₁ follows below
        if self.kept is not None:
            with torch.no_grad():
                x.data = self.split.merge(*self._untransform_kept(y)[:2])
        kept, transformed = self._split(x)
        theta = self._theta(kept, context)
        with torch.no_grad(), full_precision(y.device):
            transformed.data = self.transformer.inverse(transformed, theta)[0]
            x.data = self.split.merge(kept, transformed)
        return x, *self._transform(kept, transformed, theta)

    def _transform(self, kept: Tensor, transformed: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(kept.device):
            y, log_derivative = self.transformer(transformed, theta)
            kept, kept_log_det = (kept, None) if self.kept is None else self.kept.forward_and_log_det(kept)
            return self.split.merge(kept, y), _added(sum_over_event(log_derivative), kept_log_det)

    def _untransform_kept(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return x₂, y₁, and log|det| of the inverse map of the kept part if that is transformed."""
        with full_precision(y.device):
            kept, transformed = self.split.split(y)
            if self.kept is None:
                return kept, transformed, None
            kept, log_det = self.kept.inverse_and_log_det(kept)
            return kept, transformed, log_det

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(x.device):
            return self.split.split(x)

    def _theta(self, kept: Tensor, context: Tensor | None) -> Tensor:
        """Run the network, under autocast if that is enabled. Return θ in the precision of the event."""
        return self.transformer.from_start(self.conditioner(kept, context).to(kept.dtype))

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        kept, _ = self._split(x)
        self.conditioner.initialize(kept, context)
        if self.kept is not None:
            self.kept.initialize(kept)


def _added(log_det: Tensor, of_kept: Tensor | None) -> Tensor:
    return log_det if of_kept is None else log_det + of_kept
