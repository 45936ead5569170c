"""Wrong transformers whose inverse is a search."""

from __future__ import annotations

import torch

from flowkit.bijectors import Transformer, bounded_log_scale, numeric_inverse
from tests.zoo.zoo import wrong


class Bend(Transformer):
    """y = x + a(t) tanh x + b, inverted right."""

    n_params = 2

    def __init__(self):
        super().__init__(starting_theta=[-2.0, 0.0])

    def forward(self, x, theta):
        return self._curve(x, theta)

    def inverse(self, y, theta):
        a = _height(theta)
        return numeric_inverse(lambda x: self._curve(x, theta), y, y - theta[:, 1] - a, y - theta[:, 1] + a)

    def _curve(self, x, theta):
        a, t = _height(theta), x.tanh()
        return x + a * t + theta[:, 1], torch.log1p(a * (1 - t * t))


def _height(theta):
    return bounded_log_scale(theta[:, 0], 0.01, 4.0).exp()


@wrong("transformer", "round_trip", r"inverse\(forward\(v\)\) is not v")
class TooFewBisections(Bend):
    """Bisects so few times that Newton's steps don't converge: fine where the map is nearly linear, wrong elsewhere."""

    def inverse(self, y, theta):
        a = _height(theta)
        start = y - theta[:, 1]
        return numeric_inverse(lambda x: self._curve(x, theta), y, start - a, start + a, bisections=2)


@wrong("transformer", "round_trip", r"inverse\(forward\(v\)\) is not v")
class BracketMissesTheRoot(Bend):
    """Searches around y, as if the shift were small: where it isn't, the search ends at the end of the bracket."""

    def inverse(self, y, theta):
        a = _height(theta)
        return numeric_inverse(lambda x: self._curve(x, theta), y, y - a, y + a)


@wrong("transformer", "inverse_log_derivative", "it has no gradient: .*numeric_inverse has them")
class SearchesWithoutGradients(Bend):
    """A search under no_grad with all digits, and no step with gradients after it: training through it does nothing."""

    def inverse(self, y, theta):
        with torch.no_grad():
            x, log_derivative = super().inverse(y, theta)
        return x, log_derivative


@wrong("transformer", "gradients", "the gradient of value of inverse for theta")
class GradientsForTheValueAlone(Bend):
    """The step after the search has gradients for y, and none for the parameters: conditioners learn nothing."""

    def inverse(self, y, theta):
        with torch.no_grad():
            x, _ = super().inverse(y, theta)
        value, log_slope = self._curve(x, theta.detach())
        x = x - (value - y) / log_slope.exp()
        return x, -self._curve(x, theta)[1]
