"""Defines the monotonic rational-quadratic spline (Durkan et al. 2019), its inverse, and their gradients.

In order, the file holds the transformer; ``spline``, which finds the bin of each element; ``Curve``, the formula inside
a bin; and their gradients. These are written by hand, because they take fewer operators than automatic differentiation.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from flowkit.bijectors import Transformer, clamp_rounding
from flowkit.plugin import Circle

MIN_SHARE = 1e-3
"""The smallest width and height of a bin, relative to bins of equal size. It keeps slopes finite."""
MIN_SLOPE = 1e-3
"""The smallest derivative at a knot."""
SLOPE_1 = math.log(math.expm1(1 - MIN_SLOPE))
"""The logit for which a derivative is 1: softplus(SLOPE_1) + MIN_SLOPE = 1. Derivatives have it at ±B, and at θ = 0."""
STEEP = 1e30
"""The slope of a line that stands for a step. Any difference between two positions, times this slope, is at least 1."""
MIDDLE = 1 / (2 * (1 - MIN_SHARE))
"""Half of the side of the spline's square, in the unit of length in which a bin's width is softmax + ε."""


class RationalQuadratic(Transformer):
    """A monotonic rational-quadratic spline on [-B, B] with linear tails.

    θ holds K widths and K heights before softmax, and K - 1 derivatives at the inner knots before softplus. The
    derivatives at ±B are 1, as in the tails. At θ = 0 the spline is the identity.

    Args:
        bins: The number K of bins.
        bound: B. Outside of [-B, B] the map is the identity.

    References:
        Durkan et al. 2019, "Neural Spline Flows", §3.1.

    Examples:
        >>> import torch
        >>> from flowkit_spline.rational_quadratic import RationalQuadratic
        >>> transformer = RationalQuadratic(bins=8)
        >>> y, log_derivative = transformer(torch.tensor([[-5.0, 0.0, 1.0]]), torch.randn(1, transformer.n_params, 3))
        >>> y[0, 0].item(), abs(log_derivative[0, 0].item())  # in the tail
        (-5.0, 0.0)
    """

    def __init__(self, bins: int = 8, bound: float = 3.0) -> None:
        super().__init__()
        self.bins, self.bound = bins, bound
        self.n_params = 3 * bins - 1

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return self._map(x, theta, inverse=False)

    def inverse(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return self._map(y, theta, inverse=True)

    def _map(self, value: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        if _only_gradients_are_asked_for(value, theta):
            return Spline.apply(value, theta, self.bound, inverse)
        done = spline(value, theta, self.bound, inverse)
        return done.output, done.log_derivative


class CircularRationalQuadratic(RationalQuadratic):
    """A monotonic rational-quadratic spline of a circle to itself.

    θ holds K widths and K heights before softmax, and K derivatives before softplus. The ends of the circle are one
    knot, which is mapped to itself and has one derivative. A layer ``map/phase`` moves that point. At θ = 0 the spline
    is the identity.

    Args:
        bounds: The circle.
        bins: The number K of bins.

    References:
        Rezende et al. 2020, "Normalizing Flows on Tori and Spheres", §2.1.
    """

    def __init__(self, bounds: Circle, bins: int = 8) -> None:
        super().__init__(bins, (bounds.high - bounds.low) / 2)
        self.bounds, self.middle = bounds, (bounds.high + bounds.low) / 2
        self.n_params = 3 * bins

    def _map(self, value: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        output, log_derivative = super()._map(value - self.middle, theta, inverse)
        return clamp_rounding(output + self.middle, self.bounds.low, self.bounds.high, of=value), log_derivative


def _only_gradients_are_asked_for(*tensors: Tensor) -> bool:
    """Return True if plain gradients are needed, for which the hand-written ones can be used.

    Return False without gradients, in torch.export, under torch.func, and for forward-mode tangents. These take the
    formula itself.
    """
    if not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors)) or torch.compiler.is_exporting():
        return False
    return torch.compiler.is_compiling() or all(
        torch.func.debug_unwrap(t) is t and forward_ad.unpack_dual(t).tangent is None for t in tensors
    )


class Bin(NamedTuple):
    """The bin of each element: its lower-left knot (u, v), width, height, and the derivatives at its two knots."""

    u: Tensor
    v: Tensor
    width: Tensor
    height: Tensor
    d0: Tensor
    d1: Tensor


class Evaluation(NamedTuple):
    """The spline at each element, and the tensors that its gradients need.

    The output and the log-derivative have shape [batch, *event]. All other tensors have the parameters as their first
    dimension, so that one number for each element is [1, batch, *event].
    """

    output: Tensor
    log_derivative: Tensor
    inside: Tensor
    """1 where the spline is, which is (-B, B) or the whole circle, and 0 in the tails."""
    probabilities: Tensor
    """The softmax of widths and heights, [2, K, batch or 1, *event]."""
    sides: Tensor
    """½ for knots at or before the element, -½ for those after it, [K + 1, batch, *event]."""
    slope_logits: Tensor
    """The derivatives d0 and d1 before softplus, [2, batch, *event]."""
    curve: Curve


def spline(value: Tensor, theta: Tensor, bound: float, inverse: bool) -> Evaluation:
    """Apply the spline, or its inverse, to each element of ``value`` [batch, *event].

    θ is [batch or 1, 3K - 1, *event]. With 3K parameters the spline is that of a circle, whose ends ±B are one knot.

    Parameters are moved to the first dimension, where softmax returns them contiguous, so that operations over bins run
    over whole batches. Positions are measured from the middle of the square, because the data is there. Measured from a
    corner, they would have twice the rounding error.
    """
    bins = (theta.shape[1] + 1) // 3
    logits, slopes = theta.movedim(1, 0).split([2 * bins, theta.shape[1] - 2 * bins])
    probabilities = logits.unflatten(0, (2, bins)).softmax(1)
    shares = probabilities + MIN_SHARE / (1 - MIN_SHARE) / bins
    value = value.unsqueeze(0)
    tails = bound if len(slopes) < bins else math.inf  # a circle has none: its ends belong to the spline
    inside = value.detach().abs().lt_(tails)  # in place, as 0.0 or 1.0: floats multiply faster than bools
    at = value.clamp(-bound, bound) * (1 / _unit(bound))
    searched = shares.flatten(0, 1).narrow(0, bins * inverse, bins - 1)
    sides = _sides(searched.detach().cumsum(0), at.detach() + MIDDLE)
    here = _bin_of(sides)
    u, v = _sums(shares, sides[1:])  # the bin's start: half of the bins before it, less half of the others
    width, height = _sums(shares, here)
    ends = _ends_of(here, len(slopes))
    slope_logits = SLOPE_1 + torch.cat([(slopes * knot).sum(0, keepdim=True) for knot in ends])
    b = Bin(u, v, width, height, *(MIN_SLOPE + F.softplus(slope_logits)).chunk(2))
    if inverse:
        curve = Curve(b, solve(b, clamp_rounding((at - v) / height, 0, 1)))
        found, log_derivative = u + width * curve.xi, -curve.log_derivative()
    else:
        curve = Curve(b, clamp_rounding((at - u) / width, 0, 1))
        found, log_derivative = v + height * curve.eta, curve.log_derivative()
    output = torch.addcmul(value, inside, found - at, value=_unit(bound)).squeeze(0)
    return Evaluation(output, (log_derivative * inside).squeeze(0), inside, probabilities, sides, slope_logits, curve)


def _unit(bound: float) -> float:
    """Return the unit of length in which a bin's width is softmax + ε."""
    return bound / MIDDLE


def _sides(inner: Tensor, from_left: Tensor) -> Tensor:
    """Return `Evaluation.sides` for the inner knots. The first knot is before every element, and the last is after it.

    A steep line stands for the step at 0, because torch.compile is slow with bools that are kept for the backward pass.
    """
    others = [0, 0] * (inner.dim() - 1)
    knots = F.pad(F.pad(inner, [*others, 1, 0], value=-math.inf), [*others, 0, 1], value=math.inf)
    return (from_left - knots).mul_(STEEP).add_(0.5).clamp_(-0.5, 0.5)


def _bin_of(sides: Tensor) -> Tensor:
    """Return 1 for the bin that holds each element, otherwise 0, [K, batch, *event]."""
    return sides[:-1] - sides[1:]


def _ends_of(here: Tensor, n_slopes: int) -> tuple[Tensor, Tensor]:
    """Return indicators of the knots at the left and at the right end of the bin, [n_slopes, batch, *event] each.

    These are the K - 1 inner knots, or the K knots of a circle, the first of which ends the last bin.
    """
    if n_slopes == len(here):
        return here, here.roll(1, 0)
    return here[1:], here[:-1]


def _sums(shares: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted sums of the widths and of the heights over the bins."""
    of_widths, of_heights = (shares * weights).sum(1).chunk(2)
    return of_widths, of_heights


class Curve:
    """The curve of a bin at ξ (Durkan et al. 2019, eq. 4-5), with s = height / width.

    It is computed by repeated interpolation:

        first = (1 - ξ) d0 + ξ s
        second = (1 - ξ) s + ξ d1
        numerator = (1 - ξ) first + ξ second
        denominator = (1 - ξ) second + ξ first
        η = ξ first / denominator
        dv/du = s² numerator / denominator²

    ξ runs from 0 to 1 over the bin's width, and η over its height. Each interpolation is a mean of positive numbers, so
    there is no cancellation, however steep the bin is.
    """

    def __init__(self, b: Bin, xi: Tensor) -> None:
        self.b, self.xi, self.s = b, xi, b.height / b.width
        self.first, self.second = torch.lerp(b.d0, self.s, xi), torch.lerp(self.s, b.d1, xi)
        self.numerator = torch.lerp(self.first, self.second, xi)
        self.denominator = torch.lerp(self.second, self.first, xi)
        self.eta = xi * self.first / self.denominator

    def log_derivative(self) -> Tensor:
        """Return log dv/du."""
        return (self.numerator * (self.s / self.denominator).square()).log()

    def adjoints(self, g_eta: Tensor | float, g_log: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the gradients for ξ, s, d0 and d1, given those for η and the log-derivative."""
        b, xi, rest = self.b, self.xi, 1 - self.xi
        # η = α / (α + β), α = ξ first, β = (1 - ξ) second, α + β = denominator
        g_alpha = (g_eta * (1 - self.eta) - 2 * g_log) / self.denominator
        g_beta = -(g_eta * self.eta + 2 * g_log) / self.denominator
        g_numerator = g_log / self.numerator
        g_first = torch.addcmul(xi * g_alpha, rest, g_numerator)
        g_second = torch.addcmul(rest * g_beta, xi, g_numerator)
        g_s = torch.addcmul(xi * g_first, rest, g_second) + 2 * g_log / self.s
        g_xi = self.first * g_alpha - self.second * g_beta + (self.second - self.first) * g_numerator
        g_xi = g_xi + (self.s - b.d0) * g_first + (b.d1 - self.s) * g_second
        return g_xi, g_s, rest * g_first, xi * g_second


def solve(b: Bin, eta: Tensor) -> Tensor:
    """Return the ξ at which the curve has reached the share η of the bin's height.

    With z = ξ / (1 - ξ) the equation is (1 - η) s z² + q z - η s = 0, where q = (1 - η) d0 - η d1. Both terms of its
    discriminant, q² + 4 s² η (1 - η), are non-negative. Where q < 0, the same equation is solved for 1 - ξ, from the
    other end of the bin. This avoids cancellation, and keeps ξ in [0, 1].
    """
    s, q = b.height / b.width, torch.lerp(b.d0, -b.d1, eta)
    root = (q.square() + 4 * s.square() * eta * (1 - eta)).sqrt()
    mirrored = q < 0
    rise = 2 * s * torch.where(mirrored, 1 - eta, eta)
    xi = rise / (rise + root + torch.where(mirrored, -q, q))
    return torch.where(mirrored, 1 - xi, xi)


class Spline(torch.autograd.Function):
    """Computes ``spline``'s output and log-derivative with hand-written gradients. Second derivatives use autograd."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, theta: Tensor, bound: float, inverse: bool) -> tuple[Tensor, Tensor]:
        done = spline(value, theta, bound, inverse)
        ctx.bound, ctx.inverse, ctx.n_slopes = bound, inverse, theta.shape[1] - 2 * ((theta.shape[1] + 1) // 3)
        tables = done.inside, done.probabilities, done.sides, done.slope_logits
        ctx.save_for_backward(value, theta, *tables, done.curve.xi, *done.curve.b)
        return done.output, done.log_derivative

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return (*_by_autodiff(ctx, g), None, None)
        _, _, inside, probabilities, sides, slope_logits, xi, *b = ctx.saved_tensors
        c = Curve(Bin(*b), xi)
        g_output, g_log = g[0] * inside * _unit(ctx.bound), g[1] * inside
        g_at, g_bin = (_through_inverse if ctx.inverse else _through_curve)(c, g_output, g_log)
        g_value = torch.addcmul(g[0], g_at - g_output, inside, value=1 / _unit(ctx.bound)).squeeze(0)
        here = _bin_of(sides)
        ends = _ends_of(here, ctx.n_slopes)
        g_slopes = _through_slopes(g_bin, slope_logits, ends)
        g_slopes = g_slopes.sum_to_size(len(g_slopes), *probabilities.shape[2:])  # summed over events that share θ
        g_theta = [_through_softmax(g_bin, probabilities, sides, here), g_slopes]
        return g_value, torch.cat([g.movedim(0, 1) for g in g_theta], 1), None, None


def _by_autodiff(ctx: Any, g: tuple[Tensor, ...]) -> list[Tensor | None]:
    """Return the same gradients with a graph of their own, for ``create_graph=True``."""
    inputs, needed = ctx.saved_tensors[:2], ctx.needs_input_grad[:2]
    value, theta = inputs
    done = spline(value, theta, ctx.bound, ctx.inverse)
    wanted = [t for t, need in zip(inputs, needed, strict=True) if need]
    grads = iter(torch.autograd.grad((done.output, done.log_derivative), wanted, g, create_graph=True))
    return [next(grads) if need else None for need in needed]


def _through_curve(c: Curve, g_v: Tensor, g_log: Tensor) -> tuple[Tensor, Bin]:
    """Return the gradients for u and for the bin, where v = v0 + height η(ξ; s, d0, d1) and ξ = (u - u0) / width."""
    g_xi, g_s, g_d0, g_d1 = c.adjoints(g_v * c.b.height, g_log)
    g_u = g_xi / c.b.width
    return g_u, Bin(-g_u, g_v, *_through_size(c, -g_u, g_v, g_s), g_d0, g_d1)


def _through_inverse(c: Curve, g_u: Tensor, g_log: Tensor) -> tuple[Tensor, Bin]:
    """Return the gradients for v and for the bin, where u = u0 + width ξ and η(ξ; s, d0, d1) = (v - v0) / height.

    The last equation gives dξ = (dη - η_s ds - …) / η_ξ. The log-derivative is -log dv/du.
    """
    g_xi = g_u * c.b.width - c.adjoints(0.0, g_log)[0]
    g_eta = g_xi * c.denominator.square() / (c.s * c.numerator)
    _, g_s, g_d0, g_d1 = c.adjoints(-g_eta, -g_log)
    g_v = g_eta / c.b.height
    return g_v, Bin(g_u, -g_v, *_through_size(c, g_u, -g_v, g_s), g_d0, g_d1)


def _through_size(c: Curve, g_u0: Tensor, g_v0: Tensor, g_s: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients for width and height, on which u0 + width ξ, v0 + height η and s = height / width depend."""
    g_height = g_s / c.b.width
    return g_u0 * c.xi - g_height * c.s, g_v0 * c.eta + g_height


def _through_softmax(g: Bin, probabilities: Tensor, sides: Tensor, here: Tensor) -> Tensor:
    """Return the gradient for the logits of widths and heights, [2K, batch or 1, *event]."""
    g_corner, g_size = torch.cat([g.u, g.v]).unsqueeze(1), torch.cat([g.width, g.height]).unsqueeze(1)
    g_shares = (g_corner * sides[1:]).addcmul_(g_size, here).sum_to_size(probabilities.shape)
    return torch.ops.aten._softmax_backward_data(g_shares, probabilities, 1, g_shares.dtype).flatten(0, 1)


def _through_slopes(g: Bin, logits: Tensor, ends: tuple[Tensor, Tensor]) -> Tensor:
    """Return the gradient for the logits of the derivatives at the knots, [n_slopes, batch, *event]."""
    # F.softplus has the defaults β = 1, threshold = 20.
    g_ends = torch.ops.aten.softplus_backward(torch.cat([g.d0, g.d1]), logits, 1, 20)
    left, right = ends
    return (g_ends[0] * left).addcmul_(g_ends[1], right)
