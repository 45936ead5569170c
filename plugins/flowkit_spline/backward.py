"""The gradients of the rational-quadratic spline, by hand: fewer operators than automatic differentiation runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flowkit_spline.curve import Bin, Curve
from flowkit_spline.evaluation import bin_of, ends_of, evaluate, unit


class Backward(torch.autograd.Function):
    """``evaluate``'s output and log-derivative, with their gradients. Second derivatives are left to autodiff."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, theta: Tensor, bound: float, inverse: bool) -> tuple[Tensor, Tensor]:
        done = evaluate(value, theta, bound, inverse)
        ctx.bound, ctx.inverse = bound, inverse
        tables = done.inside, done.probabilities, done.sides, done.slope_logits
        ctx.save_for_backward(value, theta, *tables, done.curve.xi, *done.curve.b)
        return done.output, done.log_derivative

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return (*_by_autodiff(ctx, g), None, None)
        _, _, inside, probabilities, sides, slope_logits, xi, *b = ctx.saved_tensors
        c = Curve(Bin(*b), xi)
        g_output, g_log = g[0] * inside * unit(ctx.bound), g[1] * inside
        g_at, g_bin = (_through_inverse if ctx.inverse else _through_curve)(c, g_output, g_log)
        g_value = torch.addcmul(g[0], g_at - g_output, inside, value=1 / unit(ctx.bound)).squeeze(0)
        here = bin_of(sides)
        g_theta = [_through_softmax(g_bin, probabilities, sides, here), _through_slopes(g_bin, slope_logits, here)]
        return g_value, torch.cat([g.movedim(0, 1) for g in g_theta], 1), None, None


def _by_autodiff(ctx: Any, g: tuple[Tensor, ...]) -> list[Tensor | None]:
    """The same gradients, with a graph: for create_graph=True."""
    inputs, needed = ctx.saved_tensors[:2], ctx.needs_input_grad[:2]
    value, theta = inputs
    done = evaluate(value, theta, ctx.bound, ctx.inverse)
    wanted = [t for t, need in zip(inputs, needed, strict=True) if need]
    grads = iter(torch.autograd.grad((done.output, done.log_derivative), wanted, g, create_graph=True))
    return [next(grads) if need else None for need in needed]


def _through_curve(c: Curve, g_v: Tensor, g_log: Tensor) -> tuple[Tensor, Bin]:
    """Of v = v0 + height η(ξ; s, d0, d1), ξ = (u - u0) / width: the gradients for u and the bin."""
    g_xi, g_s, g_d0, g_d1 = c.adjoints(g_v * c.b.height, g_log)
    g_u = g_xi / c.b.width
    return g_u, Bin(-g_u, g_v, *_through_size(c, -g_u, g_v, g_s), g_d0, g_d1)


def _through_inverse(c: Curve, g_u: Tensor, g_log: Tensor) -> tuple[Tensor, Bin]:
    """Of u = u0 + width ξ, ξ from η(ξ; s, d0, d1) = (v - v0) / height, dξ = (dη - η_s ds - …) / η_ξ: for v and the bin.

    The log-derivative is -log dv/du.
    """
    g_xi = g_u * c.b.width - c.adjoints(0.0, g_log)[0]
    g_eta = g_xi * c.denominator.square() / (c.s * c.numerator)
    _, g_s, g_d0, g_d1 = c.adjoints(-g_eta, -g_log)
    g_v = g_eta / c.b.height
    return g_v, Bin(g_u, -g_v, *_through_size(c, g_u, -g_v, g_s), g_d0, g_d1)


def _through_size(c: Curve, g_u0: Tensor, g_v0: Tensor, g_s: Tensor) -> tuple[Tensor, Tensor]:
    """Of the point (u0 + width ξ, v0 + height η) and s = height / width: the gradients for width and height."""
    g_height = g_s / c.b.width
    return g_u0 * c.xi - g_height * c.s, g_v0 * c.eta + g_height


def _through_softmax(g: Bin, probabilities: Tensor, sides: Tensor, here: Tensor) -> Tensor:
    """For the logits of widths and heights, [2K, batch, *event]."""
    g_corner, g_size = torch.cat([g.u, g.v]).unsqueeze(1), torch.cat([g.width, g.height]).unsqueeze(1)
    g_shares = (g_corner * sides[1:]).addcmul_(g_size, here)
    return torch.ops.aten._softmax_backward_data(g_shares, probabilities, 1, g_shares.dtype).flatten(0, 1)


def _through_slopes(g: Bin, logits: Tensor, here: Tensor) -> Tensor:
    """For the logits of the derivatives at inner knots, [K - 1, batch, *event]."""
    g_ends = torch.ops.aten.softplus_backward(torch.cat([g.d0, g.d1]), logits, 1, 20)  # F.softplus' β, threshold
    left, right = ends_of(here)
    return (g_ends[0] * left).addcmul_(g_ends[1], right)
