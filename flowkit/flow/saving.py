"""Flows on disk and as specs: weights as safetensors, a finished run, a flow built in Python as a spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from flowkit.errors import PluginError, RunError
from flowkit.files import replacing
from flowkit.flow.coupling import Coupling
from flowkit.flow.factor_out import FactorOut
from flowkit.flow.lock import check_lock
from flowkit.plugin.reference import Use
from flowkit.plugin.registry import Registry
from flowkit.spec import Spec, read_spec
from flowkit_runtime.files import open_file, stays_inside

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow

WEIGHTS, SPEC, RESULTS = "weights.safetensors", "spec.yaml", "results.json"
"""The files of a run that a flow is loaded from; results.json is written last and marks the run as finished."""

MAX_HEADER = 2**24
"""The most bytes of a safetensors file's header: 100 for each of 160,000 tensors."""


def write_weights(flow: nn.Module, path: Path) -> None:
    """Write all parameters and buffers."""
    with replacing(path) as temporary:
        temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in flow.state_dict().items()}))


def read_run(directory: Path) -> Spec:
    """The spec of a finished run. Raises RunError saying what is missing or not to be trusted, SpecError."""
    if not (directory / SPEC).is_file():
        raise RunError(f"{directory} is not a run: it has no {SPEC}. `flowkit train SPEC` makes one")
    if not (directory / RESULTS).is_file():
        raise RunError(f"{directory} is not finished: `flowkit train --resume {directory}` goes on with it")
    for name in (SPEC, RESULTS, WEIGHTS):
        check_inside(directory / name, directory)
    check_lock(directory)
    return read_spec(directory / SPEC)


def check_inside(path: Path, directory: Path) -> None:
    """Raises RunError if ``path`` is, or goes through, a link that leaves the run."""
    if not stays_inside(path, directory):
        raise RunError(f"{path} is a link that leaves the run: put the file itself there")


def read_weights(flow: nn.Module, path: Path) -> None:
    """Load what ``write_weights`` wrote. Raises RunError if the file is damaged, or of another flow."""
    try:
        with open_file(path) as file:
            if int.from_bytes(file.read(8), "little") > MAX_HEADER:
                raise ValueError("its header is too long")
        with safe_open(path, framework="pt") as weights:
            shapes = {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
            _check_shapes(shapes, flow, path)
            tensors = {name: weights.get_tensor(name) for name in shapes}
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path} can't be read ({error}): train again") from error
    for name, tensor in tensors.items():
        if tensor.is_complex() or not tensor.isfinite().all():
            raise RunError(f"{path}: {name} holds NaN, infinity or complex numbers: train again")
    flow.load_state_dict(tensors)


def _check_shapes(there: dict[str, tuple[int, ...]], flow: nn.Module, path: Path) -> None:
    here = {name: tuple(tensor.shape) for name, tensor in flow.state_dict().items()}
    differing = [name for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name)]
    if differing:
        name = differing[0]
        has, needs = (list(shapes[name]) if name in shapes else "missing" for shapes in (there, here))
        raise RunError(
            f"{path} is of another flow than {SPEC}: {name} is {has} there and {needs} in the flow, one of "
            f"{len(differing)} that differ: put back the spec that it was trained with, or train again"
        )


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
    """{use: name, **fields}, each field read from the attribute of its name; a module there is a plugin in turn."""
    found = registry.find_target(type(module))
    if found is None:
        raise PluginError(f"{type(module).__qualname__} is not the target of any installed plugin: register it")
    fields = found.descriptor.config.model_fields
    missing = [name for name in fields if not hasattr(module, name)]
    if missing:
        raise PluginError(f"{found} does not keep its fields as attributes: {', '.join(missing)}")
    return {"use": found.name, **{name: _field(getattr(module, name), registry) for name in fields}}


def _field(value: Any, registry: Registry) -> Any:
    """A field as a spec writes it: a plugin inside of it as the module that was built of it, or as it came."""
    match value:
        case list() | tuple() | nn.ModuleList():
            return [_field(item, registry) for item in value]
        case dict() | nn.ModuleDict():
            return {key: _field(item, registry) for key, item in value.items()}
        case nn.Module():
            return _use(value, registry)
        case Use():
            return value.dump()
    return value
