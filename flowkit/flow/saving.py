"""Saves weights as safetensors, and reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from flowkit.errors import RunError
from flowkit.spec.run import RESULTS, SPEC
from flowkit_runtime.atomic import replacing
from flowkit_runtime.errors import shortened
from flowkit_runtime.files import open_file

MAX_HEADER = 2**24
"""The most bytes of a safetensors file's header. That is 100 for each of 160,000 tensors."""

AGAIN = f"remove {RESULTS}, and `flowkit train --resume` writes the weights again if the run has its checkpoint"
"""What to do about damaged weights."""


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file. Tensors that share memory are written once for each of their names."""
    apart = {name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(apart))


def read_weights(flow: nn.Module, path: Path) -> None:
    """Load the weights of a safetensors file. Raises RunError if the file is damaged, or belongs to another flow."""
    tensors = read_tensors(path, AGAIN)
    try:
        check_tensors(tensors, flow.state_dict())
    except ValueError as error:
        advice = "put back the spec that it was trained with, or train again"
        raise RunError(f"{path} doesn't fit {SPEC}: {error}: {advice}") from error
    flow.load_state_dict(tensors)


def read_tensors(path: Path, advice: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file. Raises RunError, with the advice, if it can't be read."""
    try:
        with open_file(path) as file:
            if int.from_bytes(file.read(8), "little") > MAX_HEADER:
                raise ValueError("its header is too long")
        with safe_open(path, framework="pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: {advice}") from error
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror or error}") from error
    except (ValueError, SafetensorError, RuntimeError, AttributeError) as error:  # the last two: a dtype torch lacks
        raise RunError(f"{path} can't be read ({shortened(error)}): {advice}") from error


def check_tensors(there: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless both have the same names, shapes and dtypes.

    Values must be finite wherever the wanted ones are.
    """
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
    """Return {name: dtype and shape}, for example ``float32 [2, 3]``."""
    return {name: f"{tensor.dtype} {list(tensor.shape)}".removeprefix("torch.") for name, tensor in tensors.items()}
