"""What a valid spec promises: it reads, builds and runs, and every part of flowkit says the same of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import jacrev

from flowkit.bijectors import Bijector
from flowkit.bijectors.inverse import Inverse
from flowkit.bijectors.multiscale import FactorOut
from flowkit.domains import REALS, by_coordinate
from flowkit.errors import DirectionError
from flowkit.flow import Flow
from flowkit.plugin import Registry
from flowkit.spec import Repeat, Spec, canonical, latent_shapes, model_hash, read_spec, to_yaml, walk
from flowkit.spec.domains import codomain
from flowkit.testing.subjects import inside
from flowkit_map.interval import Logit, Sigmoid
from tests.fuzz.conditioning import EPS, Rounding, of_inverse, of_inverse_log_det, of_latents, of_log_det

TOLERANCE = 1e-8
"""fp64, relative to the largest value on the way, absolute below 1."""
STRENGTHS = (0.3, 0.03, 0.003, 3e-4, 3e-5)
"""Of the perturbation: the largest is taken that leaves the flow invertible in fp64."""
MARGIN = 100
"""A layer rounds many times, `rounding` counts once."""
BATCH = 3
MOST_FOR_JACOBIAN = 16
"""Values of an event up to which log-dets are judged by autodiff."""


@dataclass(frozen=True)
class Subject:
    """A flow in fp64, built from its spec, and events and contexts for it."""

    spec: Spec
    flow: Flow
    x: Tensor
    context: Tensor | None

    @property
    def embedded(self) -> Tensor | None:
        """The context as layers see it: labels one-hot, and through the encoder."""
        return self.flow.encode_context(self.context, self.x)


def check(source: Any, registry: Registry, seed: int) -> float | None:
    """Raises AssertionError, or whatever flowkit raises, unless everything holds for this spec.

    Returns how strongly it was perturbed; None if its constants alone are too much for fp64, as for a rescaling of
    65,536 levels three times in a row, or as for a sigmoid of 200, which is 1.
    """
    spec = read_spec(source, registry=registry)
    check_text(spec, registry)
    torch.manual_seed(seed)
    flow = Flow.from_spec(spec).double().eval()
    check_description(flow, spec, registry)
    if flow.directions != "both":
        return check_one_way(spec, flow)
    flow.initialize(*batch(flow, 32))
    subject = Subject(spec, flow, *batch(flow, BATCH))
    if reaches_an_end(subject):
        return None
    strength = check_round_trip(subject)
    if reaches_an_end(subject):
        return None
    with torch.no_grad():
        scale = check_shapes(subject)
        check_latents(subject, TOLERANCE * scale)
        check_frozen(subject, TOLERANCE * scale)
        finite = check_sample(subject)
    if math.prod(flow.event_shape) <= MOST_FOR_JACOBIAN:
        check_log_dets(subject)
    return strength if finite else None


ONE_WAY_STRENGTH = 0.1
"""Of the perturbation of a flow that runs one way only, which nothing inverts."""
TOO_LARGE = 1e50
"""A value in whose square fp64 has few powers of ten left: flows that reach it are left alone."""


def check_one_way(spec: Spec, flow: Flow) -> float | None:
    """A flow with one direction: what it has agrees with its spec and with autodiff, and what it lacks is refused."""
    x, context = batch(flow, BATCH)
    if flow.directions == "forward":
        flow.initialize(*batch(flow, 32))
    perturb(flow, ONE_WAY_STRENGTH)
    subject = Subject(spec, flow, x, context)
    lacking: list[Callable[[], Any]] = [lambda: flow.log_prob(x, context), lambda: flow.encode(x, context)]
    if flow.directions == "forward":
        lacking = [lambda: flow.sample(1, context), lambda: setattr(flow, "memory", "reversible")]
        with torch.no_grad():
            scale = check_shapes(subject, finite=False)
            if not scale < TOO_LARGE or reaches_an_end(subject):
                return None
            assert flow.log_prob(x, context).isfinite().all()
            check_frozen(subject, TOLERANCE * scale)
        if math.prod(flow.event_shape) <= MOST_FOR_JACOBIAN:
            check_log_dets(subject)
    elif not check_decoded(subject):
        return None
    for act in lacking:
        with pytest.raises(DirectionError, match=r"layer [0-9]+ .*flow"):
            act()
    return ONE_WAY_STRENGTH


def check_decoded(subject: Subject) -> bool:
    """A flow that runs its inverse only decodes its base's latents to events, and each layer's log-det is right.

    Returns False if values are too large.
    """
    flow, embedded = subject.flow, subject.embedded
    latents = list(flow.sample_latents(BATCH, subject.context, seed=0))
    x, log_det = flow.inverse_and_log_det(latents, subject.context)
    if not x.abs().max() < TOO_LARGE or not log_det.abs().max() < TOO_LARGE:
        return False
    assert x.shape == (BATCH, *subject.spec.event.shape) and log_det.shape == (BATCH,)
    frozen, frozen_log_det = flow.freeze().inverse_and_log_det(latents, subject.context)
    scale = 1 + x.abs().max().item() + max(z.abs().max().item() for z in latents)
    torch.testing.assert_close(frozen, x, atol=1e-7 * scale, rtol=1e-7)
    torch.testing.assert_close(frozen_log_det, log_det, atol=1e-7 * scale, rtol=1e-7)
    assert check_sample(subject)
    if math.prod(flow.event_shape) <= MOST_FOR_JACOBIAN:
        h = latents.pop()[:1]
        context = None if embedded is None else embedded[:1]
        for layer in reversed(list(flow.layers)):
            if isinstance(layer, FactorOut):
                h = layer.put_back(h, latents.pop()[:1])
                continue
            jacobian = jacrev(lambda v, layer=layer: layer.inverse_and_log_det(v, context)[0])(h).detach()
            expected = torch.linalg.slogdet(jacobian.reshape(h.numel(), h.numel())).logabsdet
            h, given = layer.inverse_and_log_det(h, context)
            error = (given - expected).abs().item()
            lost = _lost_by_autodiff(layer.bijector if isinstance(layer, Inverse) else Inverse(layer), h)
            tolerance = TOLERANCE * max(1, abs(expected.item())) + lost
            assert error <= tolerance, f"{type(layer).__name__} is off by {error:.3g}"
    return True


def batch(flow: Flow, n: int) -> tuple[Tensor, Tensor | None]:
    """Continuous events in the event's range, and a context if the flow takes one."""
    if flow.levels is None:
        domains = REALS if flow.spec is None else flow.spec.event.domains
        x = inside(domains, torch.randn(n, *flow.event_shape, dtype=torch.float64))
    else:
        x = torch.rand(n, *flow.event_shape, dtype=torch.float64) * flow.levels
    if flow.context is None:
        return x, None
    if flow.context.classes is not None:
        return x, torch.randint(flow.context.classes, (n,))
    return x, torch.randn(n, *(flow.context.shape or ()), dtype=torch.float64)


@torch.no_grad()
def perturb(flow: Flow, strength: float) -> None:
    """Move every parameter at random, matrices by strength / √fan-in: wide networks get no wilder than narrow ones."""
    for parameter in flow.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
        parameter.add_(torch.randn_like(parameter), alpha=strength / math.sqrt(fan_in))


def check_text(spec: Spec, registry: Registry) -> None:
    """Written as YAML and read again it is the same spec, and the same model."""
    again = read_spec(to_yaml(spec), registry=registry)
    assert again == spec
    assert model_hash(again) == model_hash(spec)


def check_description(flow: Flow, spec: Spec, registry: Registry) -> None:
    """The layers, taken as if built in Python, describe themselves as the spec does, its repeats written out."""
    built = Flow(flow.layers, base=list(flow.bases), levels=flow.levels, context=flow.context, encoder=flow.encoder)
    plain = {**canonical(spec), "flow": _written_out(spec.flow)}
    assert model_hash(built.to_spec()) == model_hash(read_spec(plain, registry=registry))


def check_round_trip(subject: Subject) -> float | None:
    """Perturb the flow; inverse(forward(x)) = x then. Where it isn't, rounding must explain it, and not for ever.

    Returns the strength of the perturbation at which it holds.
    """
    flow, start = subject.flow, copy.deepcopy(subject.flow.state_dict())
    for strength in STRENGTHS:
        flow.load_state_dict(start)
        perturb(flow, strength)
        with torch.no_grad():
            latents, _ = flow.forward_and_log_det(subject.x, subject.context)
            back, _ = flow.inverse_and_log_det(latents, subject.context)
            errors = (back - subject.x).abs().flatten(1).amax(1)
            if errors.max() <= TOLERANCE * check_shapes(subject, finite=False):
                return strength
        worst = errors.argmax()  # NaN, if there is one
        embedded = None if subject.embedded is None else subject.embedded[worst, None]
        carried = of_inverse(flow, subject.x[worst, None], embedded), moved_by_rounding(subject)
        explained = MARGIN * torch.tensor(carried).max().item()  # NaN, if one is
        hopeless = not explained <= subject.x[worst].abs().max()  # no digit is left; NaN, where it overflows
        hopeless |= reaches_an_end(subject)
        assert errors[worst] <= explained or hopeless, (
            f"inverse(forward(x)): off by {errors[worst]:.3g}; rounding explains {explained:.3g}"
        )
    return None


@torch.no_grad()
def moved_by_rounding(subject: Subject) -> float:
    """Return how far the decoded events move if each latent is moved by up to ε of the largest one.

    `of_inverse` can't see this of a flow with a plateau, where the derivative itself changes within one rounding.
    """
    latents, _ = subject.flow.forward_and_log_det(subject.x, subject.context)
    moved = [z + EPS * z.abs().max() * (2 * torch.rand_like(z) - 1) for z in latents]
    (x, _), (near, _) = (subject.flow.inverse_and_log_det(each, subject.context) for each in (latents, moved))
    return (near - x).abs().max().item()


def check_shapes(subject: Subject, finite: bool = True) -> float:
    """Each layer gives the shape that `walk` says. Returns the largest value on the way, at least 1."""
    x = subject.x
    scale = max(1.0, x.abs().max().item())
    for layer, step in zip(subject.flow.layers, walk(subject.spec), strict=True):
        assert x.shape[1:] == step.input_shape, step
        if isinstance(layer, FactorOut):
            x, z = layer.take_out(x)
            assert z.shape[1:] == step.latent_shape, step
        else:
            x, log_det = layer.forward_and_log_det(x, subject.embedded)
            assert log_det.shape == (BATCH,), step
        assert x.shape[1:] == step.output_shape, step
        assert x.isfinite().all() or not finite, step
        scale = max(scale, x.abs().max().item())
    return scale


@torch.no_grad()
def reaches_an_end(subject: Subject) -> bool:
    """Whether a value comes so near to an end of its domain that no layer maps it back: sigmoid(40) is 1 by rounding.
    So is exp(1000) infinite.

    The logit takes what is nearer to an end than ε/2 of the interval's width for that distance.
    """
    x, domains = subject.x, subject.spec.event.domains
    for layer, step in zip(subject.flow.layers, walk(subject.spec), strict=True):
        x = layer.take_out(x)[0] if isinstance(layer, FactorOut) else layer.forward_and_log_det(x, subject.embedded)[0]
        domains = codomain(step, domains)
        for index, domain in enumerate(by_coordinate(domains)):
            values, width = x[:, index] if isinstance(domains, tuple) else x, domain.high - domain.low
            margin = EPS * width if math.isfinite(width) else 0.0
            near = (values - domain.low <= margin) | (domain.high - values <= margin)
            infinite = values.isinf() & (domain != REALS)  # exp has overflowed
            if (near | infinite).any():
                return True
    return False


def check_latents(subject: Subject, tolerance: float) -> None:
    """Latents have the shapes that validation says; the log-dets of both directions cancel; log_prob is finite."""
    latents, log_det = subject.flow.forward_and_log_det(subject.x, subject.context)
    assert [tuple(z.shape[1:]) for z in latents] == latent_shapes(subject.spec) == subject.flow.latent_shapes
    _, inverse_log_det = subject.flow.inverse_and_log_det(latents, subject.context)
    near = tolerance * (1 + log_det.abs().max().item())
    _close("log_det there and back", -inverse_log_det, log_det, near, subject, of_both_log_dets)
    log_prob = subject.flow.log_prob(subject.x, subject.context)
    assert log_prob.shape == (BATCH,) and log_prob.isfinite().all()


def of_both_log_dets(flow: Flow, x: Tensor, context: Tensor | None) -> float:
    """A sigmoid near 1 has lost the digits of its distance from 1, by which the log-det of its inverse is known."""
    return of_log_det(flow, x, context) + of_inverse_log_det(flow, x, context)


def check_frozen(subject: Subject, tolerance: float) -> None:
    """freeze() is the same map."""
    latents, log_det = subject.flow.forward_and_log_det(subject.x, subject.context)
    frozen_latents, frozen_log_det = subject.flow.freeze().forward_and_log_det(subject.x, subject.context)
    for z, frozen in zip(latents, frozen_latents, strict=True):
        _close("latent, frozen", frozen, z, tolerance, subject, of_latents)
    near = tolerance * (1 + log_det.abs().max().item())
    _close("log_det, frozen", frozen_log_det, log_det, near, subject, of_log_det)


def check_sample(subject: Subject) -> bool:
    """Samples have the event's shape and type; the seed decides them.

    Returns False if they overflow: a channel that hardly varies in the data is stretched by an actnorm, so that a
    latent far from those of the data decodes to what the scale of a sigmoid, which has no bound, takes beyond fp64.
    """
    flow, context = subject.flow, None if subject.context is None else subject.context[:2]
    sample = flow.sample(2, context, seed=0)
    dtype = torch.float64 if flow.levels is None else torch.uint8 if flow.levels <= 256 else torch.int32
    assert sample.shape == (2, *flow.event_shape)
    assert sample.dtype == dtype
    torch.testing.assert_close(flow.sample(2, context, seed=0), sample, rtol=0, atol=0, equal_nan=True)
    return bool(sample.isfinite().all())


def _lost_by_autodiff(layer: Bijector, y: Tensor) -> float:
    """Return the rounding error of autodiff's log-det where the layer is a sigmoid s, whose derivative it computes as
    s (1 - s): near 1 the difference has lost its digits. y is the layer's output."""
    of_interval = layer.bijector if isinstance(layer, Inverse) else layer
    if not isinstance(of_interval, Logit if isinstance(layer, Inverse) else Sigmoid):
        return 0.0
    share = (y - of_interval.low) / (of_interval.high - of_interval.low)
    return (EPS / (1 - share).clamp(min=EPS)).sum().item()


def check_log_dets(subject: Subject) -> None:
    """Each layer's log_det is log|det| of its Jacobian by automatic differentiation, and the flow's is their sum.

    Layer by layer, because the Jacobian of a long flow can be too ill conditioned for slogdet.
    """
    x, embedded = subject.x[:1], None if subject.embedded is None else subject.embedded[:1]
    total = torch.zeros(1, dtype=torch.float64)
    for layer in subject.flow.layers:
        if isinstance(layer, FactorOut):
            x, _ = layer.take_out(x)
            continue
        jacobian = jacrev(lambda v, layer=layer: layer.forward_and_log_det(v, embedded)[0])(x).detach()
        expected = torch.linalg.slogdet(jacobian.reshape(x.numel(), x.numel())).logabsdet
        with torch.no_grad():
            x, log_det = layer.forward_and_log_det(x, embedded)
        error = (log_det - expected).abs().item()
        assert error <= TOLERANCE * max(1, abs(expected.item())) + _lost_by_autodiff(layer, x), (
            f"log_det of {type(layer).__name__} is off by {error:.3g}"
        )
        total = total + log_det
    with torch.no_grad():
        _, log_det = subject.flow.forward_and_log_det(subject.x, subject.context)
    _close("log_det", log_det[:1], total, TOLERANCE * max(1, abs(total.item())), subject, of_log_det)


def _written_out(items: list[Any]) -> list[Any]:
    """The steps with every repeat expanded."""
    groups = [_written_out(item.flow) * item.repeat if isinstance(item, Repeat) else [item] for item in items]
    return [step for group in groups for step in group]


def _close(name: str, given: Tensor, expected: Tensor, tolerance: float, subject: Subject, rounding: Rounding) -> None:
    """Raises AssertionError if they are further apart than this, and than rounding explains. NaN is too far."""
    error = (given - expected).abs().max().item()
    if not error <= tolerance:
        explained = MARGIN * rounding(subject.flow, subject.x, subject.embedded)
        assert error <= explained, (
            f"{name}: off by {error:.3g}, more than {tolerance:.3g}; rounding explains {explained:.3g}"
        )
