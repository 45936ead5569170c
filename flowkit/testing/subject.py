"""What the checks are run on: fresh, perturbed bijectors and batches for them, all from one seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flowkit.flow import Bijector, Transformer
from flowkit.plugin import Shape


@dataclass(frozen=True)
class Subject:
    """A bijector under test: how to make it, the shape of its context if it takes one, the seed of all draws."""

    make: Callable[[], Bijector]
    context_shape: Shape | None = None
    seed: int = 0
    perturbation: float = 0.3

    def bijector(self, seed: int = 0) -> Bijector:
        """A new one in fp64 and evaluation mode, every parameter moved at random: nothing counts at initialisation."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + seed)
            bijector = self.make().double().eval()
            perturb(bijector, self.perturbation)
        return bijector

    def batch(self, n: int = 3, shape: Shape | None = None) -> tuple[Tensor, Tensor | None]:
        """x [n, *shape], by default the event's, and a context, standard normal."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + 1)
            x = torch.randn(n, *(shape or self.make().event_shape), dtype=torch.float64)
            context = self.context_shape and torch.randn(n, *self.context_shape, dtype=torch.float64)
        return x, context if isinstance(context, Tensor) else None


class Elementwise(Bijector):
    """A transformer with free parameters, so that the checks of bijectors serve transformers too."""

    def __init__(self, transformer: Transformer, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape)
        self.transformer = transformer
        self.theta = nn.Parameter(torch.zeros(transformer.n_params, *event_shape))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._summed(x, *self.transformer(x, self._theta(x)))

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._summed(y, *self.transformer.inverse(y, self._theta(y)))

    def _theta(self, x: Tensor) -> Tensor:
        return self.theta.expand(x.shape[0], *self.theta.shape)

    @staticmethod
    def _summed(given: Tensor, value: Tensor, log_derivative: Tensor) -> tuple[Tensor, Tensor]:
        assert log_derivative.shape == given.shape, (
            f"the log-derivative must be elementwise, {list(given.shape)}, not {list(log_derivative.shape)}"
        )
        return value, log_derivative.flatten(1).sum(1)


@torch.no_grad()
def perturb(module: nn.Module, scale: float) -> None:
    """Add normal noise of this scale to every parameter."""
    for parameter in module.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=scale)
