"""Flows on disk and as specs: weights as safetensors, a finished run, a flow built in Python as a spec."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from flowkit.errors import PluginError, RunError
from flowkit.files import replacing
from flowkit.flow.coupling import Coupling
from flowkit.flow.factor_out import FactorOut
from flowkit.flow.lock import SPEC, read_run_spec
from flowkit.plugin.reference import Use
from flowkit.plugin.registry import Registry
from flowkit.spec import Spec, read_spec
from flowkit_runtime.bundle import MANIFEST
from flowkit_runtime.errors import shortened
from flowkit_runtime.files import open_file, stays_inside

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow

WEIGHTS, RESULTS = "weights.safetensors", "results.json"
"""The weights of a finished run, and its figures: results.json is written last and marks the run as finished."""

MAX_HEADER = 2**24
"""The most bytes of a safetensors file's header: 100 for each of 160,000 tensors."""


def write_weights(flow: nn.Module, path: Path) -> None:
    """Write all parameters and buffers."""
    write_tensors(flow.state_dict(), path)


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file. Tensors of tied layers stand in it under each of their names."""
    apart = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(apart))


def read_run(directory: Path) -> Spec:
    """The spec of a finished run. Raises RunError saying what is missing or not to be trusted, SpecError."""
    if not (directory / SPEC).is_file():
        raise RunError(f"{directory} is not a run: it has no {SPEC}. `flowkit train SPEC` makes one")
    check_no_bundle(directory)
    if not (directory / RESULTS).is_file():
        raise RunError(
            f"{directory} is not finished: `flowkit train --resume {directory}` goes on with it, and with `--finish` "
            "finishes it now, with the best weights so far"
        )
    for name in (SPEC, RESULTS, WEIGHTS):
        check_inside(directory / name, directory)
    return read_run_spec(directory)


def check_no_bundle(directory: Path) -> None:
    """Raises RunError if it is what a run was exported to: that has a spec too."""
    if (directory / MANIFEST).exists():
        raise RunError(f"{directory} is a bundle, which `flowkit export` wrote: name the run that it was made of")


def check_inside(path: Path, directory: Path) -> None:
    """Raises RunError if ``path`` is, or goes through, a link that leaves the run."""
    if not stays_inside(path, directory):
        raise RunError(f"{path} is a link that leaves the run: put the file itself there")


def read_weights(flow: nn.Module, path: Path) -> None:
    """Load what ``write_weights`` wrote. Raises RunError if the file is damaged, or of another flow."""
    try:
        tensors = read_tensors(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} can't be read ({error}): train again") from error
    try:
        check_tensors(tensors, flow.state_dict())
    except ValueError as error:
        advice = "put back the spec that it was trained with, or train again"
        raise RunError(f"{path} doesn't fit {SPEC}: {error}: {advice}") from error
    flow.load_state_dict(tensors)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises OSError, ValueError."""
    with open_file(path) as file:
        if int.from_bytes(file.read(8), "little") > MAX_HEADER:
            raise ValueError("its header is too long")
    try:
        with safe_open(path, framework="pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, RuntimeError, AttributeError) as error:  # the last two of types that torch lacks
        raise ValueError(shortened(error)) from error


def check_tensors(there: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raises ValueError unless they have the same names, shapes and types, and are finite where those wanted are."""
    has, needs = _signature(there), _signature(wanted)
    differing = [name for name in sorted(has.keys() | needs.keys()) if has.get(name) != needs.get(name)]
    if differing:
        name = differing[0]
        each = (shortened(signature.get(name, "missing")) for signature in (has, needs))
        is_and_should_be = "{} there and {} in the flow".format(*each)
        raise ValueError(f"{shortened(name)} is {is_and_should_be}, one of {len(differing)} that differ")
    for name, tensor in there.items():
        if (~tensor.isfinite() & wanted[name].isfinite().to(tensor.device)).any():  # a mask may hold -inf
            raise ValueError(f"{name} holds NaN or infinity")


def _signature(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """{name: type and shape}, as ``float32 [2, 3]``."""
    return {name: f"{tensor.dtype} {list(tensor.shape)}".removeprefix("torch.") for name, tensor in tensors.items()}


def parts(flow: Flow) -> list[nn.Module]:
    """What a spec names: layers and base, and what they are made of, as couplings are of a conditioner."""
    named = [*flow.layers, flow.base]
    inner = [part for module in named for name, part in module.named_children() if name != "parametrizations"]
    return [*named, *inner]


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
