"""Writes the spec of layers and bases that were built in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_jsonable_python
from torch import nn

from flowkit.bijectors import Autoregressive, Base, Coupling, Elementwise, Encoder, FactorOut, Inverse
from flowkit.bijectors.multiscale import Layer
from flowkit.domains import REALS
from flowkit.errors import PluginError
from flowkit.plugin.domain_field import written_domain
from flowkit.plugin.reference import Use
from flowkit.plugin.registry import Registry
from flowkit.spec import model, read_spec
from flowkit.spec.domains import data_domain
from flowkit.spec.read import read_fields
from flowkit.spec.walk import walk


def spec_of(
    layers: Sequence[Layer],
    bases: Sequence[Base],
    levels: int | None,
    context: model.ContextSpec | None,
    encoder: Encoder | None,
    dequantizer: tuple[Sequence[Layer], Sequence[Base]] | None,
) -> model.Spec:
    """Return the spec of a flow that was built in Python. Raises PluginError for a layer that no plugin registers."""
    registry = Registry.discover()
    event = {"shape": list(layers[0].event_shape), "levels": levels}
    source: dict[str, Any] = {"flowkit": 1, "event": event, **_flow(layers, bases, registry)}
    if context is not None:
        source["context"] = context.model_dump(mode="json", exclude_none=True)
    if encoder is not None:
        source["context"]["encoder"] = _use(encoder, registry)
    if dequantizer is not None:
        source["dequantization"] = _flow(*dequantizer, registry)
    spec = read_fields(source, (), registry)
    if spec is not None and (domain := data_domain(spec, walk(spec))) != REALS:
        source["event"] |= {"domain": written_domain(domain)}
    return read_spec(source, registry=registry)


def _flow(layers: Sequence[Layer], bases: Sequence[Base], registry: Registry) -> dict[str, Any]:
    *leaving, last = (_use(base, registry) for base in bases)
    steps = [_step(layer, registry) for layer in layers]
    for step, base in zip((step for step in steps if "factor_out" in step), leaving, strict=True):
        step["base"] = base
    return {"flow": steps, "base": last}


def _step(layer: nn.Module, registry: Registry) -> dict[str, Any]:
    match layer:
        case Inverse():
            return {**_step(layer.bijector, registry), "inverse": True}
        case FactorOut():
            return {"factor_out": "channels"}
        case Coupling():
            return {
                "coupling": _use(layer.transformer, registry),
                "conditioner": _use(layer.conditioner, registry),
                "split": _use(layer.split, registry),
                **_kept(layer.kept, registry),
            }
        case Autoregressive():
            return {
                "autoregressive": _use(layer.transformer, registry),
                "conditioner": _use(layer.conditioner, registry),
                "order": _use(layer.order, registry),
            }
        case Elementwise():
            step = {"elementwise": _use(layer.transformer, registry)}
            return step if layer.conditioner is None else step | {"conditioner": _use(layer.conditioner, registry)}
    return _use(layer, registry)


def _kept(layer: nn.Module | None, registry: Registry) -> dict[str, Any]:
    """Return the entry of a coupling for the layer of its kept part."""
    if layer is None:
        return {}
    if isinstance(layer, Elementwise) and layer.conditioner is None:
        return {"kept": _use(layer.transformer, registry)}
    raise PluginError(
        f"a spec can't say that the kept part of a coupling goes through {type(layer).__qualname__}: it takes a "
        "transformer with learned parameters"
    )


def _use(module: nn.Module, registry: Registry) -> dict[str, Any]:
    """Return the entry {use: name, **fields} of a module.

    Each field is read from the attribute of the same name. A module in such an attribute is written as an entry, too.
    """
    found = registry.find_target(type(module))
    if found is None:
        raise PluginError(f"{type(module).__qualname__} is not the target of any installed plugin: register it")
    fields = found.descriptor.config.model_fields
    missing = [name for name in fields if not hasattr(module, name)]
    if missing:
        raise PluginError(f"{found} does not keep its fields as attributes: {', '.join(missing)}")
    return {"use": found.name, **{name: _field(getattr(module, name), registry) for name in fields}}


def _field(value: Any, registry: Registry) -> Any:
    """Return the value of a field as a spec contains it.

    A plugin in a field is either a module that was built, or a ``Use`` that the layer kept unbuilt.
    """
    match value:
        case list() | tuple() | nn.ModuleList():
            return [_field(item, registry) for item in value]
        case dict() | nn.ModuleDict():
            texts = to_jsonable_python(dict.fromkeys(value))  # keys that are numbers, dates or of an enum
            return {text: _field(item, registry) for text, item in zip(texts, value.values(), strict=True)}
        case nn.Module():
            return _use(value, registry)
        case Use():
            return value.dump()
    return value
