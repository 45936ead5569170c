"""Defines Bijector, the contract of every layer: an invertible map with a known Jacobian determinant."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import torch
from torch import Tensor, nn

from flowkit.directions import Shared, defined
from flowkit.errors import DirectionError, InputError
from flowkit.shapes import Shape


class Bijector(nn.Module, ABC):
    """An invertible, differentiable map of events, y = f(x). Forward always means data -> latent.

    Tensors are batched: x is [batch, *event_shape], y is [batch, *output_shape], log_det is [batch]. A bijector doesn't
    branch on the values of tensors. It computes on the device and in the precision of its inputs.

    A layer that can compute one of its directions only leaves the method of the other one out, which then raises
    DirectionError.

    Args:
        event_shape: The shape of one event x, without the batch: [d], or [channels, height, width].

    Examples:
        A layer is a subclass with its two directions:

        >>> import torch
        >>> from flowkit.bijectors import Bijector
        >>> class Double(Bijector):
        ...     def forward_and_log_det(self, x, context=None):
        ...         return 2 * x, torch.full_like(x[:, 0], self.event_shape[0]) * torch.tensor(2.0).log()
        ...     def inverse_and_log_det(self, y, context=None):
        ...         return y / 2, torch.full_like(y[:, 0], -self.event_shape[0]) * torch.tensor(2.0).log()
        >>> y, log_det = Double((3,)).forward_and_log_det(torch.ones(1, 3))
        >>> y, log_det  # 3 log 2
        (tensor([[2., 2., 2.]]), tensor([2.0794]))
    """

    handles_autocast: ClassVar[bool] = False
    """True if the layer itself decides what runs under autocast, as a coupling does for its network. All other layers
    are run with autocast off."""

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape: Shape = tuple(event_shape)

    @property
    def output_shape(self) -> Shape:
        """The event shape of y."""
        return self.event_shape

    @property
    def directions(self) -> Shared:
        """The directions that the layer can compute: by default those whose methods its class has."""
        return defined(type(self), Bijector, "forward_and_log_det", "inverse_and_log_det")

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return y = f(x) and log|det ∂f/∂x|.

        Args:
            x: The events, [batch, *event_shape].
            context: The context of each event, [batch, *context_shape]. None in a flow without a context.

        Returns:
            y [batch, *output_shape] and the log-det [batch].

        Raises:
            DirectionError: If the layer has no forward direction.
        """
        raise DirectionError(f"{type(self).__name__} has no forward direction, data -> latent")

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return x = f⁻¹(y) and log|det ∂f⁻¹/∂y|, the log-det of this inverse map, opposite in sign to forward's.

        Args:
            y: The outputs, [batch, *output_shape].
            context: The context of each event, [batch, *context_shape]. None in a flow without a context.

        Returns:
            x [batch, *event_shape] and the log-det [batch].

        Raises:
            DirectionError: If the layer has no inverse.
        """
        raise DirectionError(f"{type(self).__name__} has no inverse, latent -> data")

    def recompute(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return x = f⁻¹(y) as a leaf tensor, and f(x) and log|det ∂f/∂x|, through which gradients reach x.

        The backward pass under ``memory: reversible`` calls this with gradients enabled. A layer whose two directions
        can share work may override it. The override must agree with ``forward_and_log_det``.

        Args:
            y: The outputs, [batch, *output_shape].
            context: The context of each event, [batch, *context_shape]. None in a flow without a context.

        Returns:
            x [batch, *event_shape], f(x) [batch, *output_shape], and the log-det of f at x, [batch].
        """
        with torch.no_grad(), forked_generators(y.device):  # forward draws the same random numbers
            x, _ = self.inverse_and_log_det(y, context)
        x = x.detach().requires_grad_()
        return x, *self.forward_and_log_det(x, context)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set parameters from a first batch of data. A flow calls it once, before training, without gradients.

        Args:
            x: The batch as it reaches this layer, [batch, *event_shape]. The layers before it are initialized.
            context: The context of each event, [batch, *context_shape]. None in a flow without a context.
        """

    def freeze(self) -> Bijector:
        """Return the same map as a module for inference. It precomputes everything that depends only on parameters."""
        return self


def sum_over_event(v: Tensor) -> Tensor:
    """Sum over the values of each event.

    Unlike ``flatten(1).sum(1)``, this doesn't copy tensors in channels_last memory.

    Args:
        v: Values, [batch, *event].

    Returns:
        The sums, [batch].
    """
    return v.sum(tuple(range(1, v.dim())))


def clamp_rounding(value: Tensor, low: float, high: float, of: Tensor | None = None) -> Tensor:
    """Return values clamped to [low, high], which they may have left by rounding. Gradients pass unchanged.

    A map to an interval or a circle needs this at the ends, because values outside have the density 0.

    Args:
        value: Values of any shape.
        low: The lower end.
        high: The upper end.
        of: What a map of [low, high] to itself was given. Where that lies outside, values stay outside, too.
    """
    inner = value.clamp(low, high) if of is None else value.clamp(of.clamp(max=low), of.clamp(min=high))
    return value + (inner - value).detach() if value.requires_grad else inner


def std_or_1(std: Tensor, largest: Tensor) -> Tensor:
    """Return standard deviations, but 1 for values that are constant in the batch that they are of.

    Rounding may give a constant a small standard deviation, which depends on its absolute value, ``largest``.

    Args:
        std: Standard deviations over a batch, of any shape.
        largest: The largest absolute values in the batch, of a shape that broadcasts to that of ``std``.
    """
    rounding = largest * torch.finfo(std.dtype).eps * 100
    return torch.where(std > rounding, std, torch.ones_like(std))


def required_context(context: Tensor | None, what: str) -> Tensor:
    """Return the context of a layer or a base that can't work without one.

    Args:
        context: The context that a method was called with.
        what: What is computed from the context, such as "this base computes its mean".

    Raises:
        InputError: If it is None. The message says ``what``.
    """
    if context is None:
        raise InputError(f"{what} from the context: pass one")
    return context


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context that switches autocast off.

    Affine maps, transformers, log-dets and densities run in it, so that they keep the precision of the event.

    Args:
        device: The device on which the code inside the block computes.
    """
    kind = device.type
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if on else nullcontext()


def forked_generators(device: torch.device) -> AbstractContextManager[None]:
    """Return a context that restores the random number generators at its end.

    Code that runs after the context draws the same random numbers again.
    """
    if device.type == "cpu":
        return torch.random.fork_rng([])
    return torch.random.fork_rng([device], device_type=device.type)
