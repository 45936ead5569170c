"""Defines base distributions, the densities of a flow's latents."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from flowkit.bijectors.bijector import sum_over_event
from flowkit.errors import InputError
from flowkit.shapes import Shape

NoiseKind = Literal["normal", "uniform"]


@dataclass(frozen=True)
class Noise:
    """One array of random numbers that a base distribution is sampled from: [batch, *shape].

    ``normal`` numbers are standard normal. ``uniform`` numbers are (k + ½) / 2²³ for whole k from 0 to 2²³ - 1. They
    are exact in fp32, and never 0 or 1.

    Args:
        kind: The distribution of the numbers, ``normal`` or ``uniform``.
        shape: The shape of the array for one event.

    Raises:
        InputError: If ``kind`` is neither.
    """

    kind: NoiseKind
    shape: Shape

    def __post_init__(self) -> None:
        if self.kind not in get_args(NoiseKind):
            raise InputError(f"noise is {' or '.join(get_args(NoiseKind))}, not {self.kind!r}")


class Base(nn.Module, ABC):
    """A density p(z) or p(z | context) of events [*event_shape]. It is sampled by transforming noise.

    z is [batch, *event_shape]. The context is [batch, *context_shape], or None in a flow without a context. A base
    doesn't branch on the values of tensors. It computes on the device and in the precision of its inputs.

    Args:
        event_shape: The shape of one latent, without the batch.

    Examples:
        >>> import torch
        >>> from flowkit.bijectors import StandardNormal
        >>> base = StandardNormal((2,))
        >>> base.noise
        (Noise(kind='normal', shape=(2,)),)
        >>> base.log_prob(torch.zeros(1, 2))  # -log 2π
        tensor([-1.8379])
    """

    reparametrized = True
    """False if ``from_noise`` makes a choice, as a mixture chooses a component. A sample then is no differentiable
    function of the parameters."""

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape: Shape = tuple(event_shape)

    @property
    def noise(self) -> tuple[Noise, ...]:
        """The noise that ``from_noise`` transforms: by default one normal number for each value of the event."""
        return (Noise("normal", self.event_shape),)

    @abstractmethod
    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(z) in nats, [batch].

        Args:
            z: The latents, [batch, *event_shape].
            context: The context of each latent, [batch, *context_shape]. None in a flow without a context.
        """

    @abstractmethod
    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        """Transform noise to samples z ~ p.

        Args:
            noise: One tensor [batch, *shape] for each entry of ``self.noise``, in its order.
            context: The context of each sample, [batch, *context_shape]. None in a flow without a context.

        Returns:
            The samples, [batch, *event_shape].
        """

    def initialize(self, z: Tensor, context: Tensor | None = None) -> None:
        """Set parameters from a first batch of latents. A flow calls it once, before training, without gradients.

        Args:
            z: The latents, [batch, *event_shape].
            context: The context of each latent, [batch, *context_shape]. None in a flow without a context.
        """

    def freeze(self) -> Base:
        """Return the same density as a module for inference.

        It precomputes everything that depends only on parameters.
        """
        return self


class StandardNormal(Base):
    """The standard normal distribution N(0, I): log p(z) = -½ Σ (z² + log 2π)."""

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return log_normal(z)

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        (eps,) = noise
        return eps


def log_normal(z: Tensor) -> Tensor:
    """Return the log-density of N(0, I) in nats, [batch].

    Args:
        z: The latents, [batch, *event].
    """
    return -0.5 * (sum_over_event(z.square()) + math.prod(z.shape[1:]) * math.log(2 * math.pi))


def as_uniform(u: Tensor) -> Tensor:
    """Round numbers in [0, 1) to those of uniform noise, (k + ½) / 2²³."""
    return (torch.floor(u * 2**23) + 0.5) / 2**23


def from_flat_noise(base: Base, *given: Tensor) -> Tensor:
    """Call ``from_noise`` with the noise and the context, if there is one, as separate arguments."""
    n = len(base.noise)
    return base.from_noise(given[:n], *given[n:])
