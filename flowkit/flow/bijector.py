"""The contract of every layer: an invertible map with a known Jacobian determinant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from flowkit.flow.gradients import Gradients, gradients_at, outdated_undo
from flowkit.flow.replay import kept_generators
from flowkit.plugin.config import Shape


class Bijector(nn.Module, ABC):
    """An invertible, differentiable map of events, y = f(x). Forward is always data -> latent.

    Tensors are batched: x is [batch, *event_shape], y is [batch, *output_shape], log_det is [batch]. A bijector has
    no data-dependent branches, runs on the device and in the precision of what it is given, and is abstract or final.
    """

    handles_autocast: ClassVar[bool] = False
    """Whether autocast is left on for it, because it has networks in it and sees to the precision of the rest itself,
    as a coupling does. Anything else is run without."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if outdated_undo(cls, Bijector):
            cls.undo = Bijector.undo  # type: ignore[method-assign]

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape: Shape = tuple(event_shape)

    @property
    def output_shape(self) -> Shape:
        """The event shape of y."""
        return self.event_shape

    @abstractmethod
    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """y = f(x) and log|det ∂f/∂x|."""

    @abstractmethod
    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x = f⁻¹(y) and log|det ∂f⁻¹/∂y|: of this inverse map, so the sign is opposite to the forward one."""

    def undo(
        self, y: Tensor, context: Tensor | None, grads: tuple[Tensor, Tensor], tensors: Sequence[Tensor]
    ) -> tuple[Tensor, Gradients]:
        """x = f⁻¹(y), and the gradients for x and each of ``tensors``, which f reads besides, of those for f(x) and
        log|det ∂f/∂x|: for ``memory: reversible``.

        A layer that can share work between the two directions overrides it. Subclasses that change another method
        of it, and not this one, have this one as it is here again.
        """
        with torch.no_grad(), kept_generators(y.device):
            x, _ = self.inverse_and_log_det(y, context)
        return x, gradients_at(lambda x: self.forward_and_log_det(x, context), [x], grads, tensors)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set parameters from a first batch of data. Called once, before training, without gradients."""

    def freeze(self) -> Bijector:
        """The same map as a module for inference, with what only depends on parameters computed once."""
        return self


def sum_over_event(v: Tensor) -> Tensor:
    """[batch, *event] -> [batch]. Unlike flatten(1).sum(1) it copies nothing that lies in channels_last memory."""
    return v.sum(tuple(range(1, v.dim())))
