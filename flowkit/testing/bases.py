"""Checks what a base distribution must do beside what every module must."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from flowkit.bijectors import Base
from flowkit.bijectors.base_distribution import from_flat_noise, log_normal
from flowkit.testing.common import LARGE, context
from flowkit.testing.compare import LOG_DET_TOLERANCE, as_by_autodiff, gradients_of, jacobian, moderate, within
from flowkit.testing.couplings import initialize
from flowkit.testing.effects import compare_with_frozen, initialize_saved
from flowkit.testing.histogram import compare_with_density, ends_of
from flowkit.testing.subjects import BaseSubject, exact, only_where

POINTS = {1: 20001, 2: 301}
"""Points along each axis of the quadrature, by the event's size."""
GRIDS = (4, 16)
"""The numbers of grids, which begin at other parts of a step, over which the quadrature is averaged."""
N_CONTEXTS = 2
"""The number of contexts for which a density is integrated and sampled."""


def _is_map_of_noise(subject: BaseSubject) -> bool:
    """Return True if the noise is as many numbers as the event has values, and makes no choice."""
    base = subject.fresh()
    return base.reparametrized and sum(math.prod(each.shape) for each in base.noise) == math.prod(base.event_shape)


def _is_small(subject: BaseSubject) -> bool:
    return math.prod(subject.fresh().event_shape) in POINTS


@exact
@only_where(_is_map_of_noise, "its noise isn't one number for each value, or makes a choice: see the check samples")
def density(subject: BaseSubject) -> None:
    """log p(z) is the density of z = from_noise(ε): log p(ε) - log|det ∂z/∂ε|, by autodiff, to 1e-9.

    ε is the noise, normal or uniform. Three times farther out, and for large offsets, scales and contexts, it holds to
    1e-6. The determinant has one sign: from_noise folds nothing.
    """
    base = subject.module()
    near = _compare_density(subject, base, 1.0, LOG_DET_TOLERANCE)
    signs = near | _compare_density(subject, base, 3.0, 1e-6)
    assert len(signs) == 1, "the determinant of ∂z/∂ε has both signs: from_noise folds, and some z come from two ε"
    _compare_density(subject, subject.far_module(), 1.0, 1e-6, subject.far_context)


def _compare_density(
    subject: BaseSubject,
    base: Base,
    distance: float,
    tolerance: float,
    context_of: Callable[[Tensor], Tensor] = lambda context: context,
) -> set[float]:
    """Compare densities with autodiff for noise of this scale, and return the signs of the determinants."""
    noise, given = subject.noise(base, 6, distance=distance), list(map(context_of, subject.contexts(6)))
    slogdets = [torch.linalg.slogdet(_jacobian(base, row)) for row in zip(*noise, *given, strict=True)]
    normal = [log_normal(each) for each, kind in zip(noise, base.noise, strict=True) if kind.kind == "normal"]
    expected = sum(normal, torch.zeros(6, dtype=torch.float64)) - torch.stack([log_det for _, log_det in slogdets])
    z = from_flat_noise(base, *noise, *given)
    log_prob = base.log_prob(z, *given).detach()
    if (rows := moderate(z)).any():
        advice = f" of from_noise: {OTHER_DENSITY}"
        as_by_autodiff("log_prob", log_prob[rows], expected[rows], lambda: advice, tolerance)
    return {sign.item() for sign, _ in slogdets}


def _jacobian(base: Base, row: tuple[Tensor, ...]) -> Tensor:
    """Return ∂z/∂ε of one event. ``row`` has its noise, and its context if there is one."""
    n = len(base.noise)
    parts, given = row[:n], [each[None] for each in row[n:]]
    sizes = [part.numel() for part in parts]

    def sample(eps: Tensor) -> Tensor:
        noise = [flat.reshape(1, *part.shape) for flat, part in zip(eps.split(sizes), parts, strict=True)]
        return from_flat_noise(base, *noise, *given)

    return jacobian(sample, torch.cat([part.flatten() for part in parts]))


OTHER_DENSITY = (
    "do both use the same location and scale, and has log_prob its normalizing constant? If from_noise makes a choice, "
    "as a mixture does, say reparametrized = False"
)


@exact
@only_where(_is_small, "the integral is taken for events of one or two values")
def normalized(subject: BaseSubject) -> None:
    """∫ p(z) dz = 1 to 1e-3, by quadrature, for events of one or two values, and for each of two contexts.

    The grid is dense where samples lie. Where p jumps, the sum depends on where the grid begins, and may be off by as
    much. Grids that all lose the same part of a step don't show that, so a sum that is off is taken over more of them.
    """
    base = subject.module()
    for given in _contexts(subject):
        where = _quartiles(subject, base, given)
        ends = torch.tensor(ends_of(subject.support, where.shape[1]), dtype=where.dtype)
        for grids in GRIDS:
            begins = (torch.arange(grids, dtype=where.dtype) + 0.5) / grids
            integrals = torch.stack([_integral(base, given, where, ends, begin) for begin in begins])
            integral, spread = integrals.mean().item(), (integrals.max() - integrals.min()).item()
            if abs(integral - 1) <= 1e-3 + spread:
                break
        else:
            raise AssertionError(f"the density integrates to {integral:.6g}, not 1")


def _contexts(subject: BaseSubject) -> list[list[Tensor]]:
    """Return several contexts of one event, or one empty list if there is no context."""
    drawn = subject.contexts(N_CONTEXTS)
    if not drawn:
        return [[]]
    if subject.labels:
        return [[row[None]] for row in torch.eye(drawn[0].shape[1]).to(drawn[0])[:N_CONTEXTS]]
    return [[row[None]] for row in drawn[0]]


@torch.no_grad()
def _quartiles(subject: BaseSubject, base: Base, given: list[Tensor]) -> Tensor:
    """Return the quartiles of 1000 samples of each value, [3, values]."""
    z = from_flat_noise(base, *subject.noise(base, 1000), *_for_all(given, 1000))
    return z.flatten(1).quantile(torch.tensor([0.25, 0.5, 0.75], dtype=z.dtype), 0)


@torch.no_grad()
def _integral(base: Base, given: list[Tensor], quartiles: Tensor, ends: Tensor, begin: Tensor) -> Tensor:
    """Return the sum over a grid on the support, heavy tails included, that begins at this part of a step.

    ``ends`` are those of the support, [values, 2]. On the whole line half of the points lie between the outer quartiles
    of a value, if these are as far from the median.
    """
    low, median, high = quartiles
    scale = ((high - low) / 2).clamp(min=torch.finfo(torch.float64).tiny)
    first, last = ((ends.mT - median) / scale).atan()
    n = POINTS[len(median)]
    angle = first + (last - first) * (torch.arange(n, dtype=torch.float64)[:, None] + begin) / n  # [n, values]
    weight = scale * (last - first) / n / angle.cos().square()
    points = torch.cartesian_prod(*(median + scale * angle.tan()).unbind(1)).reshape(-1, *base.event_shape)
    weights = torch.cartesian_prod(*weight.unbind(1)).reshape(len(points), -1).prod(1)
    return (base.log_prob(points, *_for_all(given, len(points))).exp() * weights).sum()


def _for_all(given: list[Tensor], n: int) -> list[Tensor]:
    """Return the context of one event as that of n events."""
    return [each.expand(n, *each.shape[1:]) for each in given]


@exact
@only_where(
    lambda subject: _is_small(subject) and not _is_map_of_noise(subject),
    "samples are counted for events of one or two values, where the check density doesn't apply",
)
@torch.no_grad()
def samples(subject: BaseSubject) -> None:
    """Each cell of a grid holds the share of 500,000 samples that the density says, for each of two contexts.

    The events have one or two values. The cells are quantiles of the samples, and the density is integrated over each.
    """
    base = subject.module()
    for given in _contexts(subject):

        def log_prob(z: Tensor, given: list[Tensor] = given) -> Tensor:
            return base.log_prob(z.reshape(-1, *base.event_shape), *_for_all(given, len(z)))

        noise = subject.noise(base, SAMPLES)
        z = from_flat_noise(base, *noise, *_for_all(given, SAMPLES))
        compare_with_density(z.flatten(1), log_prob, subject.support)


SAMPLES = 500_000


def _learns_by_samples(subject: BaseSubject) -> bool:
    base = subject.fresh()
    return base.reparametrized and any(parameter.requires_grad for parameter in base.parameters())


@only_where(_learns_by_samples, "it has no parameters, or is declared to make a choice")
def reparametrized(subject: BaseSubject) -> None:
    """Samples have gradients for every parameter on which the density depends, unless reparametrized is False."""
    base = subject.module()
    trained = {name: p for name, p in base.named_parameters() if p.requires_grad}
    density, samples = (
        gradients_of(next(iter(call(base).values())).square().sum(), trained) for call in subject.calls(base, 16)
    )
    without = [name for name in trained if density[name].any() and not samples[name].any()]
    assert not without, (
        f"the density depends on {', '.join(without)}, and samples have no gradient for it: is something detached? If "
        "from_noise makes a choice, as a mixture does, say reparametrized = False"
    )


@torch.no_grad()
def temperature(subject: BaseSubject) -> None:
    """Normal noise scaled by a temperature of 0, ½ or 1 gives finite events of finite density."""
    base, given = subject.module(), subject.contexts(3)
    for scale in (0.0, 0.5, 1.0):
        z = from_flat_noise(base, *subject.noise(base, 3, distance=scale), *given)
        log_prob = base.log_prob(z, *given)
        assert z.isfinite().all() and log_prob.isfinite().all(), f"not finite at temperature {scale}"


@torch.no_grad()
def domains(subject: BaseSubject) -> None:
    """from_noise gives values in the support, for normal noise three times as far out as usual too."""
    base = subject.module()
    noise = subject.noise(base, LARGE, distance=3.0)
    within("from_noise", from_flat_noise(base, *noise, *subject.contexts(LARGE)), subject.support)


@torch.no_grad()
def tails(subject: BaseSubject) -> None:
    """Noise at its ends gives finite events of finite density, in fp32 too: normal ±6, and the outermost uniforms."""
    for dtype in (torch.float64, torch.float32):
        base = subject.module().to(dtype)
        noise = [
            (6 * each.sign() if kind.kind == "normal" else (each > 0.5) * (1 - 2**-23) + 2**-24).to(dtype)
            for kind, each in zip(base.noise, subject.noise(base, 4), strict=True)
        ]
        given = [each.to(dtype) for each in subject.contexts(4)]
        z = from_flat_noise(base, *noise, *given)
        for name, value in (("from_noise", z), ("log_prob", base.log_prob(z, *given))):
            assert value.isfinite().all(), (
                f"{name} is not finite for noise of ±6, or next to 0 and 1, in {dtype}: a distribution function is 1 "
                "there by rounding; use what is left to 1, as torch.special.erfc and log_ndtr do"
            )


def freeze(subject: BaseSubject) -> None:
    """freeze gives a base with the same density, and the same samples of the same noise; the base stays as it was."""
    compare_with_frozen(subject, _frozen)


def _frozen(base: Base) -> Base:
    frozen = base.freeze()
    assert isinstance(frozen, Base) and frozen.noise == base.noise, "freeze gives a base with other noise"
    return frozen


CHECKS = (
    context, density, normalized, samples, reparametrized, temperature, domains, tails, initialize, initialize_saved,
    freeze,
)  # fmt: skip
