"""Defines Student's t-distribution."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijectors import Base, Noise, sum_over_event


class StudentT(Base):
    """Independent t-distributions with ν degrees of freedom, whose tails are as heavy as |z|^-(ν + 1).

    log p(z) = Σ [log Γ((ν+1)/2) - log Γ(ν/2) - ½ log πν - (ν+1)/2 log(1 + z²/ν)] for any ν > 0, and ν = exp(log_nu).
    Location and scale are those of the layer before: an actnorm, for example.

    A value is sampled from two normal numbers by a polar form: z = ε₀ √(expm1(s/ν) / (s/ν)) with s = ε₀² + ε₁². For
    ν → ∞ it is ε₀.

    Args:
        event_shape: The shape of one latent.
        degrees_of_freedom: ν, or its start if it is learned.
        learned: Learn ν, one for each value of the event.

    References:
        - Jaini et al. 2020, "Tails of Lipschitz Triangular Flows".
        - Laszkiewicz et al. 2022, "Marginal Tail-Adaptive Normalizing Flows".
        - Bailey 1994, "Polar Generation of Random Variates with the t-Distribution".

    Examples:
        >>> import torch
        >>> from flowkit_base.student_t import StudentT
        >>> StudentT((1,), degrees_of_freedom=1.0).log_prob(torch.zeros(1, 1)).detach()  # Cauchy: -log π
        tensor([-1.1447])
    """

    log_nu: Tensor
    constant: Tensor | None
    """log p(0) for each value, [*event], of a frozen distribution."""

    def __init__(self, event_shape: Sequence[int], degrees_of_freedom: float = 5.0, learned: bool = True) -> None:
        super().__init__(event_shape)
        self.degrees_of_freedom, self.learned = degrees_of_freedom, learned
        start = torch.full(self.event_shape, math.log(degrees_of_freedom))
        if learned:
            self.log_nu = nn.Parameter(start)
        else:
            self.register_buffer("log_nu", start)
        self.register_buffer("constant", None, persistent=False)

    @property
    def noise(self) -> tuple[Noise, ...]:
        return (Noise("normal", self.event_shape), Noise("normal", self.event_shape))

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        nu, log_constant = self.log_nu.exp(), self.log_constant() if self.constant is None else self.constant
        return sum_over_event(log_constant - (nu + 1) / 2 * torch.log1p(z.square() / nu))

    def from_noise(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        return _polar(noise, self.log_nu.exp())

    def log_constant(self) -> Tensor:
        """Return log p(0) for each value, [*event].

        It is computed in fp64. For large ν the gamma functions nearly cancel.
        """
        nu = self.log_nu.double().exp()
        log_constant = torch.lgamma((nu + 1) / 2) - torch.lgamma(nu / 2) - (math.pi * nu).log() / 2
        return log_constant.to(self.log_nu)

    def freeze(self) -> StudentT:
        frozen = copy.deepcopy(self)
        frozen.constant = self.log_constant().detach()  # ONNX has no gamma function
        return frozen


def _polar(noise: Sequence[Tensor], nu: Tensor) -> Tensor:
    """Return ε₀ √(expm1(a) / a) with a = (ε₀² + ε₁²) / ν. Near a = 0 the square root is 1 + a/4."""
    eps, other = noise
    a = (eps.square() + other.square()) / nu
    small = a < SMALL
    safe = torch.where(small, SMALL, a)  # the branch that isn't taken must be finite, too: its gradient counts
    growth = (safe / 2).exp() * (-torch.expm1(-safe) / safe).sqrt()  # expm1(a) = e^a (1 - e^-a), without overflow
    return eps * torch.where(small, 1 + a / 4, growth)


SMALL = 1e-8
"""The bound below which √(expm1(a) / a) is 1 + a/4 to rounding in fp64."""
