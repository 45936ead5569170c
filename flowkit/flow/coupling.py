"""Coupling: one part of the event is transformed with parameters that a network computes from the other part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from flowkit.flow.bijector import Bijector, sum_over_event
from flowkit.flow.gradients import Gradients, added, gradients, gradients_at, outdated_undo
from flowkit.flow.precision import full_precision
from flowkit.flow.structure import parameters


class Split(nn.Module, ABC):
    """Divides an event in two, and puts it together again: merge(*split(x)) = x."""

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)

    @abstractmethod
    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [batch, *event] -> (kept [batch, *kept], transformed [batch, *transformed])."""

    @abstractmethod
    def merge(self, kept: Tensor, transformed: Tensor) -> Tensor:
        """The event whose parts these are, [batch, *event]."""


class Transformer(nn.Module, ABC):
    """An elementwise invertible map y = f(x; θ). It may not know how θ was made.

    x, y and the log-derivative are [batch, *event]; θ is [batch, n_params, *event]. By convention f is the
    identity, or near it, at θ = 0, where a conditioner starts.
    """

    n_params: int
    """How many parameters each element takes."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if outdated_undo(cls, Transformer):
            cls.undo = Transformer.undo  # type: ignore[method-assign]

    @abstractmethod
    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """y and log|∂y/∂x|, elementwise."""

    @abstractmethod
    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """x and log|∂x/∂y|, elementwise: of this inverse map."""

    def undo(
        self, y: Tensor, theta: Tensor, grads: tuple[Tensor, Tensor], tensors: Sequence[Tensor]
    ) -> tuple[Tensor, Gradients]:
        """x = f⁻¹(y; θ), and the gradients for x, θ and each of ``tensors``, the transformer's own, of those for f(x)
        and, to be broadcast, log|∂f/∂x|: for ``memory: reversible``.

        A transformer that can share work between the two directions overrides it. Subclasses that change another method
        of it, and not this one, have this one as it is here again.
        """
        with torch.no_grad():
            x = self.inverse(y, theta)[0]
        grads = grads[0], grads[1].expand_as(y)
        return x, gradients_at(self, [x, theta], grads, tensors)


class Conditioner(nn.Module, ABC):
    """A network from the kept part, and the context if there is one, to the transformer's parameters."""

    @abstractmethod
    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        """[batch, *kept], [batch, *context] -> [batch, n_params, *transformed]."""

    def initialize(self, kept: Tensor, context: Tensor | None = None) -> None:
        """Set parameters from a first batch. Called once, before training, without gradients."""


class Coupling(Bijector):
    """(x₁, x₂) -> (f(x₁; θ(x₂)), x₂), x₁ being the transformed part and x₂ the kept one.

    The Jacobian is block triangular, so that log|det| = Σ log|∂f/∂x₁| whatever the network θ is
    (Dinh et al. 2017, "Density estimation using Real NVP", eq. 6). So it is exact under autocast too, where the network
    computes in bf16, and f in the precision of the event.
    """

    handles_autocast: ClassVar[bool] = True

    def __init__(self, split: Split, conditioner: Conditioner, transformer: Transformer) -> None:
        super().__init__(split.event_shape)
        self.split, self.conditioner, self.transformer = split, conditioner, transformer

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, transformed = self._split(x)
        theta = self._theta(kept, context)
        with full_precision(x.device):
            y, log_derivative = self.transformer(transformed, theta)
            return self.split.merge(kept, y), sum_over_event(log_derivative)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, transformed = self._split(y)
        theta = self._theta(kept, context)
        with full_precision(y.device):
            x, log_derivative = self.transformer.inverse(transformed, theta)
            return self.split.merge(kept, x), sum_over_event(log_derivative)

    def undo(
        self, y: Tensor, context: Tensor | None, grads: tuple[Tensor, Tensor], tensors: Sequence[Tensor]
    ) -> tuple[Tensor, Gradients]:
        """As any layer's, but θ, which costs the most, is computed once for both directions: it is θ(x₂) = θ(y₂).

        A split only moves elements, so that a gradient is split and merged as the event is.
        """
        (kept, transformed), (g_kept, g_transformed) = self._split(y), self._split(grads[0])
        leaf = kept.detach().requires_grad_()
        with torch.enable_grad():
            theta = self._theta(leaf, context)
        own = [p for p in parameters(self.transformer) if p.requires_grad]
        with full_precision(y.device):
            g_log = grads[1].view(-1, *(1,) * (transformed.dim() - 1))
            x, found = self.transformer.undo(transformed, theta.detach(), (g_transformed, g_log), own)
            g_x, g_theta, *g_own = found
            through, *of_network = gradients([theta], [leaf, *tensors], [g_theta])
            of_own: dict[Tensor, Any] = dict(zip(own, g_own, strict=True))
            of_tensors = [added(g, of_own.get(t)) for t, g in zip(tensors, of_network, strict=True)]
            return self.split.merge(kept, x), [self.split.merge(added(g_kept, through), g_x), *of_tensors]

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(x.device):
            return self.split.split(x)

    def _theta(self, kept: Tensor, context: Tensor | None) -> Tensor:
        """The network runs under autocast, if that is on; what it gives goes on in the precision of the event."""
        return self.conditioner(kept, context).to(kept.dtype)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        self.conditioner.initialize(self._split(x)[0], context)
