"""What a valid spec promises: it reads, builds and runs, and every part of flowkit says the same of it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.func import jacrev

from flowkit.flow import Flow
from flowkit.flow.factor_out import FactorOut
from flowkit.plugin import Registry
from flowkit.spec import Repeat, Spec, canonical, latent_shapes, model_hash, read_spec, to_yaml, walk
from flowkit.testing import perturb

TOLERANCE = 1e-8
"""fp64, relative to the largest value on the way, absolute below 1."""
PERTURBATION = 0.05
BATCH = 3
MOST_FOR_JACOBIAN = 16
"""Values of an event up to which log-dets are judged by autodiff."""


def check(source: Any, registry: Registry, seed: int) -> None:
    """Raises AssertionError, or whatever flowkit raises, unless everything holds for this spec."""
    spec = read_spec(source, registry=registry)
    check_text(spec, registry)
    torch.manual_seed(seed)
    flow = Flow.from_spec(spec).double().eval()
    check_description(flow, spec, registry)
    flow.initialize(*batch(flow, 8))
    perturb(flow, PERTURBATION)
    x, context = batch(flow, BATCH)
    with torch.no_grad():
        scale = check_shapes(flow, spec, x, context)
        check_round_trip(flow, spec, x, context, TOLERANCE * scale)
        check_frozen(flow, x, context, TOLERANCE * scale)
        check_sample(flow, context)
    if flow.size <= MOST_FOR_JACOBIAN:
        check_log_det(flow, x, context)


def batch(flow: Flow, n: int) -> tuple[Tensor, Tensor | None]:
    """Continuous events in the event's range, and a context if the flow takes one."""
    if flow.levels is None:
        x = torch.randn(n, *flow.event_shape, dtype=torch.float64)
    else:
        x = torch.rand(n, *flow.event_shape, dtype=torch.float64) * flow.levels
    if flow.context is None:
        return x, None
    if flow.context.classes is not None:
        return x, torch.randint(flow.context.classes, (n,))
    return x, torch.randn(n, *(flow.context.shape or ()), dtype=torch.float64)


def check_text(spec: Spec, registry: Registry) -> None:
    """Written as YAML and read again it is the same spec, and the same model."""
    again = read_spec(to_yaml(spec), registry=registry)
    assert again == spec
    assert model_hash(again) == model_hash(spec)


def check_description(flow: Flow, spec: Spec, registry: Registry) -> None:
    """The layers, taken as if built in Python, describe themselves as the spec does, its repeats written out."""
    built = Flow(flow.layers, base=flow.base, levels=flow.levels, context=flow.context)
    plain = {**canonical(spec), "flow": _written_out(spec.flow)}
    assert model_hash(built.to_spec()) == model_hash(read_spec(plain, registry=registry))


def check_shapes(flow: Flow, spec: Spec, x: Tensor, context: Tensor | None) -> float:
    """Each layer gives the shape that `walk` says. Returns the largest value on the way, at least 1."""
    embedded = _embedded(flow, context)
    scale = max(1.0, x.abs().max().item())
    for layer, step in zip(flow.layers, walk(spec), strict=True):
        assert x.shape[1:] == step.input_shape, step
        if isinstance(layer, FactorOut):
            x, z = layer.split(x)
            assert z.shape[1:] == step.latent_shape, step
        else:
            x, log_det = layer.forward_and_log_det(x, embedded)
            assert log_det.shape == (BATCH,), step
        assert x.shape[1:] == step.output_shape, step
        assert x.isfinite().all(), step
        scale = max(scale, x.abs().max().item())
    return scale


def check_round_trip(flow: Flow, spec: Spec, x: Tensor, context: Tensor | None, tolerance: float) -> None:
    """The latents have the shapes that validation says, give x back, and the log-dets cancel; log_prob is finite."""
    latents, log_det = flow.forward_and_log_det(x, context)
    assert [tuple(z.shape[1:]) for z in latents] == latent_shapes(spec) == flow.latent_shapes
    back, inverse_log_det = flow.inverse_and_log_det(latents, context)
    _close("inverse(forward(x))", back, x, tolerance)
    _close("log_det there and back", -inverse_log_det, log_det, tolerance * (1 + log_det.abs().max().item()))
    log_prob = flow.log_prob(x, context)
    assert log_prob.shape == (BATCH,) and log_prob.isfinite().all()


def check_frozen(flow: Flow, x: Tensor, context: Tensor | None, tolerance: float) -> None:
    """freeze() is the same map."""
    latents, log_det = flow.forward_and_log_det(x, context)
    frozen_latents, frozen_log_det = flow.freeze().forward_and_log_det(x, context)
    for z, frozen in zip(latents, frozen_latents, strict=True):
        _close("latent, frozen", frozen, z, tolerance)
    _close("log_det, frozen", frozen_log_det, log_det, tolerance * (1 + log_det.abs().max().item()))


def check_sample(flow: Flow, context: Tensor | None) -> None:
    """Samples have the event's shape and type; the seed decides them."""
    given = None if context is None else context[:2]
    sample = flow.sample(2, given, seed=0)
    types = {None: torch.float64} | {levels: torch.uint8 for levels in range(257)}
    assert sample.shape == (2, *flow.event_shape)
    assert sample.dtype == types.get(flow.levels, torch.int32)
    assert torch.equal(sample, flow.sample(2, given, seed=0))


def check_log_det(flow: Flow, x: Tensor, context: Tensor | None) -> None:
    """log_det is log|det| of the Jacobian by automatic differentiation."""
    one, given = x[:1], None if context is None else context[:1]

    def latents(v: Tensor) -> Tensor:
        return torch.cat([z.flatten() for z in flow.forward_and_log_det(v, given)[0]])

    jacobian = jacrev(latents)(one).reshape(flow.size, flow.size)
    expected = torch.linalg.slogdet(jacobian).logabsdet.detach()
    _close(
        "log_det", flow.forward_and_log_det(one, given)[1].detach(), expected, TOLERANCE * (1 + abs(expected.item()))
    )


def _written_out(items: list[Any]) -> list[Any]:
    """The steps with every repeat expanded."""
    groups = [_written_out(item.flow) * item.repeat if isinstance(item, Repeat) else [item] for item in items]
    return [step for group in groups for step in group]


def _embedded(flow: Flow, context: Tensor | None) -> Tensor | None:
    if context is None or flow.context is None or flow.context.classes is None:
        return context
    return torch.nn.functional.one_hot(context, flow.context.classes).double()


def _close(name: str, given: Tensor, expected: Tensor, tolerance: float) -> None:
    error = (given - expected).abs().max().item()
    assert error <= tolerance and not math.isnan(error), f"{name}: off by {error:.3g}, more than {tolerance:.3g}"
