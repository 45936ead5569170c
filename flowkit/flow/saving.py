"""Flows on disk and as specs: weights as safetensors, a finished run, a flow built in Python as a spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from flowkit.errors import PluginError, RunError
from flowkit.files import replacing
from flowkit.flow.coupling import Coupling
from flowkit.flow.factor_out import FactorOut
from flowkit.plugin.registry import Registry
from flowkit.spec import Spec, read_spec

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow

WEIGHTS, SPEC, RESULTS = "weights.safetensors", "spec.yaml", "results.json"
"""The files of a run that a flow is loaded from; results.json is written last and marks the run as finished."""


def write_weights(flow: nn.Module, path: Path) -> None:
    """Write all parameters and buffers."""
    with replacing(path) as temporary:
        temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in flow.state_dict().items()}))


def read_run(directory: Path) -> tuple[Spec, dict[str, Tensor]]:
    """The spec and the weights of a finished run. Raises RunError saying what is missing."""
    if not (directory / SPEC).is_file():
        raise RunError(f"{directory} is not a run: it has no {SPEC}. `flowkit train SPEC` makes one")
    if not (directory / RESULTS).is_file():
        raise RunError(f"{directory} is not finished: `flowkit train --resume {directory}` goes on with it")
    try:
        return read_spec(directory / SPEC), load_file(directory / WEIGHTS)
    except (SafetensorError, FileNotFoundError) as error:
        raise RunError(f"{directory / WEIGHTS} can't be read ({error}): train again") from error


def set_weights(flow: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Give the flow the weights of a file. Raises RunError if they are another flow's."""
    own = flow.state_dict()
    differing = [name for name in sorted(own.keys() | weights.keys()) if _shape(own, name) != _shape(weights, name)]
    if differing:
        there, here = (_shape(tensors, differing[0]) for tensors in (weights, own))
        raise RunError(
            f"{path} is of another flow than {SPEC}: {differing[0]} is {there} there and {here} in the flow, one of "
            f"{len(differing)} that differ: put back the spec that it was trained with, or train again"
        )
    flow.load_state_dict(weights)


def _shape(tensors: dict[str, Tensor], name: str) -> str:
    return str(list(tensors[name].shape)) if name in tensors else "missing"


def describe(flow: Flow) -> Spec:
    """The spec of a flow that was built in Python. Raises PluginError for a layer that no plugin registers."""
    registry = Registry.discover()
    event = {"shape": list(flow.event_shape), "levels": flow.levels}
    source: dict[str, Any] = {"flowkit": 1, "event": event, "base": _use(flow.base, registry)}
    if flow.context is not None:
        source["context"] = flow.context.model_dump(mode="json", exclude_none=True)
    source["flow"] = [_step(layer, registry) for layer in flow.layers]
    return read_spec(source, registry=registry)


def _step(layer: nn.Module, registry: Registry) -> dict[str, Any]:
    match layer:
        case FactorOut():
            return {"factor_out": "channels"}
        case Coupling():
            return {
                "coupling": _use(layer.transformer, registry),
                "conditioner": _use(layer.conditioner, registry),
                "split": _use(layer.split, registry),
            }
    return _use(layer, registry)


def _use(module: nn.Module, registry: Registry) -> dict[str, Any]:
    """{use: name, **fields}, each field read from the attribute of its name."""
    found = registry.find_target(type(module))
    if found is None:
        raise PluginError(f"{type(module).__qualname__} is not the target of any installed plugin: register it")
    fields = found.descriptor.config.model_fields
    missing = [name for name in fields if not hasattr(module, name)]
    if missing:
        raise PluginError(f"{found.name} does not keep its fields as attributes: {', '.join(missing)}")
    return {"use": found.name, **{name: getattr(module, name) for name in fields}}
