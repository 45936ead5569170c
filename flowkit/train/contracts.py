"""Checks once, before a training begins, that layers and bases give what their contracts ask for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from flowkit.bijectors import Bijector, FactorOut
from flowkit.bijectors.multiscale import to_latents
from flowkit.errors import FlowkitError, PluginError
from flowkit.flow import Flow
from flowkit.flow.building import named_layers
from flowkit.plugin.blame import blame
from flowkit.plugin.failure import guarded, reason


@torch.no_grad()
def check_outputs(flow: Flow, x: Tensor, context: Tensor | None) -> None:
    """Raise PluginError for a layer or a base whose outputs for these events have another form than its contract says.

    They would fail elsewhere in words about tensors, or be broadcast to the density of something else.
    """
    x = x if flow.levels is None else flow.dequantize(x)[0]
    given = flow.encode_context(context, x)
    names = (name for name, layer in named_layers(flow.layers, flow.spec) if not isinstance(layer, FactorOut))

    def through(bijectors: Sequence[Bijector], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(len(x))
        for bijector, name in zip(bijectors, names, strict=False):  # names go on in the next segment
            x, log_det = _checked(name, bijector, x, context)
        return x, log_det

    latents, _ = to_latents(flow.layers, x, given, through)
    for base, z in zip(flow.bases, latents, strict=True):
        name = f"the base distribution {type(base).__name__}"
        with _named(name):
            density = base.log_prob(z, given)
        _check(f"{name}: what log_prob returns", density, (len(z),), z)


def _checked(name: str, layer: Bijector, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return y and the log-det of a layer. Raise PluginError, with its name, if they have another form."""
    with guarded(f"{name}: initialize must take x and context"):
        inspect.signature(layer.initialize).bind(x, context)
    with _named(name):
        outputs = layer.forward_and_log_det(x, context)
    if not (isinstance(outputs, tuple | list) and len(outputs) == 2):
        raise PluginError(f"{name}: forward_and_log_det must return two tensors, y and log_det, not {_form(outputs)}")
    y, log_det = outputs
    _check(f"{name}: y of forward_and_log_det", y, (len(x), *layer.output_shape), x)
    _check(f"{name}: log_det of forward_and_log_det", log_det, (len(x),), x)
    return y, log_det


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Raise PluginError with the layer's name, unless the error is known to be that of an installed plugin."""
    try:
        yield
    except FlowkitError:
        raise
    except Exception as error:
        if blame(error) is not None:  # the command names the plugin and its line
            raise
        raise PluginError(f"{name} fails: {reason(error)}") from error


def _check(what: str, value: Any, shape: Sequence[int], like: Tensor) -> None:
    """Raise PluginError unless the value is a tensor of this shape, of the type of another one."""
    if not isinstance(value, Tensor) or tuple(value.shape) != tuple(shape) or value.dtype != like.dtype:
        wanted = f"{list(shape)} {like.dtype}".replace("torch.", "")
        raise PluginError(f"{what} must be a tensor {wanted} for a batch of {len(like)}, not {_form(value)}")


def _form(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{list(value.shape)} {value.dtype}".replace("torch.", "")
    return f"{len(value)} values" if isinstance(value, tuple | list) else f"a {type(value).__name__}"


def check_weights(flow: Flow) -> None:
    """Raise PluginError for a weight that can't be trained, or can't be saved, because it isn't a tensor of numbers."""
    for name, value in flow.state_dict().items():
        if not isinstance(value, Tensor):
            raise PluginError(f"{name} in the state_dict is a {type(value).__name__}: keep tensors, by register_buffer")
    for name, parameter in flow.named_parameters():
        if parameter.is_complex():
            raise PluginError(f"the parameter {name} is complex: keep its real and its imaginary part as two")
