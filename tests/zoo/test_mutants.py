"""Each first-party layer broken on purpose, one line at a time: the conformance kit fails on every one."""

import math

import pytest
import torch

from flowkit.bijectors import Composition, Coupling
from flowkit.plugin import Policy, Registry
from flowkit.testing import BijectorSubject, Subject, TransformerSubject, run_check, select
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Additive, Affine
from flowkit_glow.conv1x1 import LU, Conv1x1, Plain
from flowkit_glow.householder import Householder
from flowkit_glow.permute import Permute
from flowkit_glow.reordering import Flip, Roll
from flowkit_glow.rescale import Rescale
from flowkit_glow.splits import Channels, Checkerboard
from flowkit_glow.squeeze import Squeeze
from flowkit_map.half_line import Exp, Softplus
from flowkit_map.interval import Logit, Sigmoid, inverse_logit, logit
from flowkit_map.moebius import Moebius
from flowkit_map.phase import Phase
from flowkit_map.sinh_arcsinh import SinhArcsinh
from flowkit_map.to_reals import ToReals
from flowkit_mixture import logistic
from flowkit_mixture.logistic import MixtureOfLogistics
from flowkit_residual.planar import Planar
from flowkit_spline import rational_quadratic
from flowkit_spline.rational_quadratic import CircularRationalQuadratic, Curve, RationalQuadratic
from tests.plugins.cases import BETWEEN_DOMAINS, IMAGE, MIXED, ONE_WAY, TURN, coupling


def changed(layer, **parts):
    """The layer's affine map with a part of it computed otherwise."""
    right = layer.affine
    return lambda s: right(s)._replace(**{name: part(s) for name, part in parts.items()})


MUTANTS = {
    "actnorm: no bias": (lambda: ActNorm(IMAGE), ActNorm, "affine", changed(ActNorm, offset=lambda s: 0 * s.bias)),
    "actnorm: log-det": (
        lambda: ActNorm(IMAGE), ActNorm, "affine", changed(ActNorm, log_det=lambda s: s.log_scale.exp().sum())),
    "conv1x1: transposed": (
        lambda: Conv1x1(IMAGE), Conv1x1, "affine", changed(Conv1x1, matrix=lambda s: s.matrix().mT)),
    "conv1x1: determinant": (
        lambda: Conv1x1(IMAGE, "plain"), Plain, "log_abs_det", lambda s: torch.linalg.det(s.weight).abs()),
    "conv1x1: inverse is the transpose": (
        lambda: Conv1x1(IMAGE, "plain"), Plain, "inverse", lambda s: s.weight.T),
    "lu: log-det of s": (lambda: Conv1x1(IMAGE), LU, "log_abs_det", lambda s: s.log_abs_s.exp().sum()),
    "lu: no permutation": (
        lambda: Conv1x1((6, 2, 1)), LU, "forward", lambda s: s._factors()[0] @ s._factors()[1]),
    "householder: inverse is W": (lambda: Householder(IMAGE), Householder, "affine_inverse", Householder.affine),
    "householder: vectors of any length": (
        lambda: Householder(IMAGE), Householder, "_product",
        lambda s: torch.eye(4).to(s.v) - 2 * s.v.T @ torch.linalg.solve_triangular(
            2 * s.v @ s.v.T, s.v, upper=True, unitriangular=True)),
    "permute: inverse": (lambda: Permute((5,), "random"), Permute, "affine_inverse", Permute.affine),
    "rescale: log-det sign": (
        lambda: Rescale(IMAGE, 0, 17), Rescale, "affine",
        changed(Rescale, log_det=lambda s: torch.tensor(s.event_shape[0] * math.log(s.high - s.low)))),
    "rescale: one channel": (
        lambda: Rescale(IMAGE, 0, 17), Rescale, "affine",
        changed(Rescale, log_det=lambda s: torch.tensor(-math.log(s.high - s.low)))),
    "permute: inverse of a list": (lambda: Permute((3,), [1, 2, 0]), Permute, "affine_inverse", Permute.affine),
    "flip: inverse along the other axis": (
        lambda: Flip(IMAGE, "height"), Flip, "inverse_and_log_det",
        lambda s, y, c=None: Flip(IMAGE).forward_and_log_det(y)),
    "roll: inverse in the same direction": (
        lambda: Roll(IMAGE, "height"), Roll, "inverse_and_log_det", Roll.forward_and_log_det),
    "squeeze: inverse": (
        lambda: Squeeze((1, 4, 4)), Squeeze, "inverse_and_log_det",
        lambda s, y, c=None: (y.flip(1).reshape(-1, 1, 4, 4), y.new_zeros(len(y)))),
    "affine: scale": (
        TransformerSubject(Affine, (4,)), Affine, "_log_scale", lambda s, t: torch.tanh(t).detach() + 0 * t),
    "affine: log-derivative": (
        TransformerSubject(Affine, (4,)), Affine, "forward",
        lambda s, x, th: (s._log_scale(th[:, 0]).exp() * x + th[:, 1], s._log_scale(th[:, 0]).exp())),
    "additive: sign": (
        TransformerSubject(Additive, (4,)), Additive, "inverse",
        lambda s, y, th: (y + th[:, 0], torch.zeros_like(y))),
    "logit: width of the interval": (
        BETWEEN_DOMAINS["logit"], Logit, "forward_and_log_det",
        lambda s, x, c=None: (logit(x, -1.0, 2.0)[0], logit((x + 1) / 3, 0.0, 1.0)[1].sum(1))),
    "softplus: log-det of exp": (
        BETWEEN_DOMAINS["softplus"], Softplus, "forward_and_log_det",
        lambda s, x, c=None: (torch.logaddexp(x, torch.zeros_like(x)), x.sum(1))),
    "sigmoid: width of the interval": (
        BETWEEN_DOMAINS["sigmoid"], Sigmoid, "forward_and_log_det",
        lambda s, x, c=None: (inverse_logit(x, -1.0, 2.0)[0], inverse_logit(x, 0.0, 1.0)[1].sum(1))),
    "exp: log-det of the inverse": (
        BETWEEN_DOMAINS["exp"], Exp, "inverse_and_log_det", lambda s, y, c=None: (y.log(), y.log().sum(1))),
    "to-reals: the third column like the fourth": (
        BETWEEN_DOMAINS["to-reals"], ToReals, "inverse_and_log_det",
        lambda s, y, c=None: ToReals((4,), (*MIXED[:2], *MIXED[:1:-1])).inverse_and_log_det(y)),
    "sinh-arcsinh: weight of the tails": (
        BETWEEN_DOMAINS["sinh-arcsinh"], SinhArcsinh, "_log_tail", lambda s: s.t.detach()),
    "phase: not around the circle": (BETWEEN_DOMAINS["phase"], Phase, "_around", lambda s, x: x),
    "planar: slope with w·u twice": (
        ONE_WAY["planar-numeric"], Planar, "_shift", lambda s: (s.u.flatten(), 1 + 2 * s.w.flatten() @ s.u.flatten())),
    "moebius: inverse with the same w": (
        TransformerSubject(lambda: Moebius(TURN), (5,), domain=TURN), Moebius, "inverse",
        lambda s, y, th: s.forward(y, th)),
    "circular: inverse is the spline": (
        TransformerSubject(lambda: CircularRationalQuadratic(TURN, bins=4), (5,), domain=TURN),
        CircularRationalQuadratic, "inverse", lambda s, y, th: s.forward(y, th)),
    "coupling: half the log-det": (
        lambda: coupling(IMAGE, Affine()), Coupling, "forward_and_log_det",
        lambda s, x, c=None, right=Coupling.forward_and_log_det: (right(s, x, c)[0], right(s, x, c)[1] / 2)),
    "channels: merge swapped": (
        lambda: coupling(IMAGE, Affine()), Channels, "merge", lambda s, k, t: torch.cat([t, k], 1)),
    "checkerboard: merge": (
        lambda: coupling((1, 3, 4), Affine(), split="checkerboard"), Checkerboard, "merge",
        lambda s, k, t: torch.stack([k, t], -1).flatten(-2)),
    "composition: one log-det": (
        lambda: Composition([ActNorm(IMAGE), coupling(IMAGE, Affine())]), Composition, "forward_and_log_det",
        lambda s, x, c=None: s.layers[1].forward_and_log_det(s.layers[0].forward_and_log_det(x)[0])),
    "mixture: density without the scales": (
        TransformerSubject(lambda: MixtureOfLogistics(3), (2,)), MixtureOfLogistics, "forward",
        lambda s, x, th: (
            logistic._logit_of_mixture(x, *s._mixture(th))[0],
            logistic._logit_of_mixture(x, *s._mixture(th))[1] + s._mixture(th)[2].mean(1))),
    "mixture: scales of another parameter": (
        TransformerSubject(lambda: MixtureOfLogistics(3), (2,)), MixtureOfLogistics, "inverse",
        lambda s, y, th, right=MixtureOfLogistics.inverse: right(s, y, th.roll(1, 1))),
    "spline: log-derivative": (
        TransformerSubject(RationalQuadratic, (2,)), Curve, "log_derivative", lambda c: (c.s / c.denominator).log()),
    "spline: wrong bin": (
        TransformerSubject(lambda: RationalQuadratic(bound=1.0), (2,)), rational_quadratic, "_sides",
        lambda inner, at, right=rational_quadratic._sides: right(inner.roll(1, 0), at)),
    "spline: gradient for a knot's derivative": (
        TransformerSubject(RationalQuadratic, (2,)), Curve, "adjoints",
        lambda c, g_eta, g_log, right=Curve.adjoints: (*right(c, g_eta, g_log)[:3], torch.zeros_like(g_log))),
}  # fmt: skip


FATAL = {"round_trip", "log_det", "log_derivative", "gradients", "domains"}
"""Checks of values and gradients, one of which each of them fails."""
KINDS = {"bijector", "transformer", "split"}
"""The kinds each of whose plugins has a mutant."""


def subject_of(name):
    made, *_ = MUTANTS[name]
    return made if isinstance(made, Subject) else BijectorSubject(made)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_layer_fails(name, monkeypatch):
    _, owner, attribute, broken = MUTANTS[name]
    subject = subject_of(name)
    monkeypatch.setattr(owner, attribute, broken)
    assert any(run_check(subject, check).outcome == "failed" for check in select(subject) if check in FATAL)


def test_every_layer_and_split_has_a_mutant():
    found, _ = Registry.discover(Policy(no_plugins=True)).load_all()
    broken = {type(part) for name in MUTANTS for part in subject_of(name).fresh().modules()}
    without = [each.name for each in found if each.kind in KINDS and each.load() not in broken]
    assert not without, f"add mutants to MUTANTS: {', '.join(without)}"
