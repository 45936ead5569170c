"""Follows the domain of the data through a flow to the support of its base distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from flowkit.domains import REALS, Circle, Domain, Domains, Interval, by_coordinate, halved, simplified, spelled
from flowkit.errors import Path, PluginError, format_path
from flowkit.plugin.config import BaseConfig, BijectorConfig, TransformerConfig
from flowkit.plugin.domain_field import written_domain
from flowkit.plugin.failure import guarded
from flowkit.plugin.reference import Use
from flowkit.plugin.spelling import line
from flowkit.shapes import Shape
from flowkit.spec.model import AutoregressiveSpec, CouplingSpec, ElementwiseSpec, FactorOutSpec, Spec
from flowkit.spec.walk import Step


class Mismatch(Exception):
    """Raised for a layer or a base distribution that takes another domain than the one that reaches it.

    ``takes`` is the domain that it takes. None stands for any that all values share.
    """

    def __init__(self, message: str, takes: Domains | None):
        super().__init__(message)
        self.takes = takes


def domain_problem(spec: Spec, steps: Sequence[Step], data: str = "event") -> tuple[Path, str, str | None] | None:
    """Return path, message and suggestion for the first layer, or the base, that takes another domain than it is given.

    A flow is a density on the domain of its data only if the domains fit. ``data`` is what messages call the data.
    """
    domains, origin = spec.event.domains, f"The {data} has this domain"
    path: Path = ("base",)
    taker: Step | None = None
    try:
        for step in steps:
            path, given, taker = step.path, domains, step
            domains = codomain(step, given)
            if domains != given:
                origin = f"{step.name} at {format_path(step.path)} gives this domain"
        path, taker = ("base",), None
        _check("the base distribution", base_support(spec.base, steps[-1].output_shape), domains)
    except PluginError as error:
        return path, str(error), None
    except Mismatch as error:
        return path, str(error), f"{origin}. {_inverted(taker, domains) or _advice(domains, error.takes, path, taker)}"
    return None


def reached_domains(spec: Spec, steps: Sequence[Step]) -> list[Domains]:
    """Return the domain that reaches each step of a valid spec."""
    reached = [spec.event.domains]
    for step in steps[:-1]:
        reached.append(codomain(step, reached[-1]))
    return reached


def codomain(step: Step, given: Domains) -> Domains:
    """Return the domain after a step that is given the domain ``given``.

    Raises Mismatch if the step takes another domain, and PluginError if a rule of its plugin is broken.
    """
    if isinstance(step.item, FactorOutSpec):
        kept, leaves = halved(given)
        base = step.item.base
        name = "a latent that leaves is standard normal: it" if base is None else f"the base {base.name}"
        _check(name, _support_of_leaving(step), leaves)
        return kept
    takes = taken(step)
    if takes is None:
        return _shared(step.name, given)
    _check(step.name, takes, given)
    match step.item:
        case Use(config=BijectorConfig() as config):
            gives = config.domain if step.is_inverse else config.codomain
            return _given(step.item, step.output_shape, lambda: gives(step.input_shape))
        case CouplingSpec(kept=Use() as unconditional):
            name = f"the kept part of {step.name}: {unconditional.name}"
            _check(name, transformer_domain(unconditional), given)
    return given


def taken(step: Step) -> Domains | None:
    """Return the domain that a step takes. None stands for any domain.

    Raises PluginError if a rule of a plugin is broken.
    """
    match step.item:
        case Use(config=BijectorConfig() as config):
            takes = _ruled(step.item, step.input_shape, lambda: config.domain(step.input_shape))
            if takes is None or not step.is_inverse:
                return takes
            return _given(step.item, step.input_shape, lambda: config.codomain(step.input_shape))
        case (
            CouplingSpec(coupling=transformer)
            | ElementwiseSpec(elementwise=transformer)
            | AutoregressiveSpec(autoregressive=transformer)
        ):
            return transformer_domain(transformer)
    return None


def data_domain(spec: Spec, steps: Sequence[Step]) -> Domains:
    """Return the domain of the data that a flow takes. It is followed from the supports of the bases to the data.

    Raises PluginError if a rule of a plugin is broken.
    """
    domains = base_support(spec.base, steps[-1].output_shape)
    for step in reversed(steps):
        if isinstance(step.item, FactorOutSpec):
            domains = _joined(step, domains, _support_of_leaving(step))
        elif (takes := taken(step)) is not None:
            domains = takes
    return domains


def _support_of_leaving(step: Step) -> Domains:
    """Return the support of the latent that leaves at a factor-out."""
    assert isinstance(step.item, FactorOutSpec) and step.latent_shape is not None
    return REALS if step.item.base is None else base_support(step.item.base, step.latent_shape)


def _joined(step: Step, kept: Domains, leaves: Domains) -> Domains:
    """Return the domain of the event that a factor-out divides into these two parts.

    All values of an image have the same domain. If its halves have two, none fits, and the kept half's is returned.
    """
    if len(step.input_shape) > 1 or step.latent_shape is None:
        return kept
    sizes = step.output_shape[0], step.latent_shape[0]
    halves = zip((kept, leaves), sizes, strict=True)
    return simplified(tuple(d for half, n in halves for d in (half if isinstance(half, tuple) else (half,) * n)))


def transformer_domain(use: Use) -> Domain:
    """Return the domain that a transformer maps to itself."""
    assert isinstance(use.config, TransformerConfig)
    config = use.config
    domain = _given(use, (), config.domain)
    assert not isinstance(domain, tuple), "refused above, because the event of a transformer has no shape"
    return domain


def base_support(use: Use, event: Shape) -> Domains:
    """Return the support of a base distribution over events of this shape."""
    assert isinstance(use.config, BaseConfig)
    config = use.config
    return _given(use, event, lambda: config.support(event))


def _given(use: Use, event: Shape, rule: Callable[[], Any]) -> Domains:
    """Return a domain that must not be None."""
    declared = _ruled(use, event, rule)
    if declared is None:
        raise PluginError(f"plugin {use.plugin}: its domain rule gives None, and only the domain of a bijector may")
    return declared


def _ruled(use: Use, event: Shape, rule: Callable[[], Any]) -> Domains | None:
    """Return what a domain rule of a config gives, for events of this shape.

    Raises PluginError if the rule fails, or gives no domain.
    """
    with guarded(f"plugin {use.plugin}: its domain rule fails"):
        declared = rule()
        if isinstance(declared, tuple) and (len(event) != 1 or len(declared) != event[0]):
            raise TypeError(f"it gives {len(declared)} domains for an event of shape {list(event)}")
        if declared is not None and not all(
            isinstance(domain, Interval | Circle) for domain in by_coordinate(declared)
        ):
            raise TypeError(f"it gives {declared!r}, which is no domain: see Interval and Circle of flowkit.plugin")
        return None if declared is None else simplified(declared)


def _check(name: str, takes: Domains, given: Domains) -> None:
    if takes != given:
        raise Mismatch(f"{name} takes {spelled(takes)}; the domain that reaches it is {spelled(given)}", takes)


def _shared(name: str, domains: Domains) -> Domains:
    if isinstance(domains, tuple):
        raise Mismatch(
            f"{name} may move values between coordinates, and their domains differ: {spelled(domains)}", None
        )
    return domains


def _inverted(step: Step | None, given: Domains) -> str | None:
    """Suggest the inverse of a layer whose inverse takes the domain that reaches the layer."""
    if given == REALS or step is None or step.is_inverse or not isinstance(step.item, Use):
        return None
    config = step.item.config
    assert isinstance(config, BijectorConfig)
    if _ruled(step.item, step.output_shape, lambda: config.codomain(step.input_shape)) != given:
        return None
    return f"The layer's inverse takes it: {{use: {step.name}, inverse: true}}"


def _advice(given: Domains, takes: Domains | None, path: Path, step: Step | None) -> str:
    """Say what to do about a domain that a layer doesn't take."""
    if path == ("base",) and all(isinstance(domain, Circle) for domain in by_coordinate(given)):
        return f"Write {line({'use': 'base/uniform', 'bounds': written_domain(given)})}"
    if isinstance(takes, Circle) and isinstance(given, Circle):
        return f"Give it the bounds {line(written_domain(given))}, or leave bounds out"
    if any(isinstance(domain, Circle) for domain in by_coordinate(given)):
        return "Layers on circles are map/phase, map/moebius and spline/circular, and their base is base/uniform"
    if given != REALS:
        return _map_or_bounds(given, takes, path, step)
    instead = "take a base on the reals, such as base/standard_normal" if path[-1] == "base" else "leave this layer out"
    if step is not None and _repeat_around(path):
        instead += f", or put it before the repeat at {format_path(_repeat_around(path))} if it should stand there once"
    return f"If the data has another domain, declare it: event: {{domain: …}}; otherwise {instead}"


def _map_or_bounds(given: Domains, takes: Domains | None, path: Path, step: Step | None) -> str:
    """Say what to do about a domain with ends. Only a layer that takes the reals can stand behind map/to_reals."""
    if takes in (None, REALS):
        repeat = _repeat_around(path)
        where = f"before the repeat at {format_path(repeat)}" if repeat else "first"
        return f"Map it to the reals {where}: {{use: map/to_reals}}"
    ends = [end for each in by_coordinate(given) for end in (each.low, each.high)]
    if isinstance(takes, tuple) or all(map(isfinite, ends)):
        fields = type(step.item.config).model_fields if step is not None and isinstance(step.item, Use) else {}
        if "low" in fields and len(ends) == 2:
            return f"Give it low: {line(ends[0])} and high: {line(ends[1])}"
        return f"Give it the bounds {line(written_domain(given))}"
    return "Take one for this domain in its place"


def _repeat_around(path: Path) -> Path:
    """Return the path of the outermost repeat around a step, or () if there is none."""
    flows = [n for n, part in enumerate(path) if part == "flow"]
    return path[: flows[0] + 2] if len(flows) > 1 else ()
