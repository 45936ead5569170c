"""Lists the operators of torch that are translated in another way than by torch.onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from flowkit.errors import ExportError
from flowkit.export import elementary, normal_tails
from flowkit.plugin.failure import in_a_line
from flowkit_runtime.errors import shortened

Translations = dict[Callable[..., Any], Callable[..., Any]]
"""An operator, such as ``torch.ops.aten.erfc.default`` -> a function that writes it with onnxscript's operators."""

TRANSLATIONS: Translations = {
    torch.ops.aten.softmax.int: elementary.softmax,
    torch.ops.aten.scaled_dot_product_attention.default: elementary.scaled_dot_product_attention,
    torch.ops.aten.lerp.Tensor: elementary.lerp,
    torch.ops.aten.sigmoid.default: elementary.sigmoid,
    torch.ops.aten.log_sigmoid.default: elementary.log_sigmoid,
    torch.ops.aten.softplus.default: elementary.softplus,
    torch.ops.aten.logaddexp.default: elementary.logaddexp,
    torch.ops.aten.logsumexp.default: elementary.logsumexp,
    torch.ops.aten.expm1.default: elementary.expm1,
    torch.ops.aten.log1p.default: elementary.log1p,
    torch.ops.aten.erfc.default: normal_tails.erfc,
    torch.ops.aten.special_erfc.default: normal_tails.erfc,
    torch.ops.aten.special_erfcx.default: normal_tails.erfcx,
    torch.ops.aten.special_log_ndtr.default: normal_tails.log_ndtr,
}
"""Flowkit's own. A layer may bring others."""

METHOD = "onnx_translations"
"""A static method of a torch module, which returns translations for the layer that the module is in."""


def translations_of(module: nn.Module) -> Translations:
    """Return the translations that a module and the modules in it bring, and flowkit's for all other operators.

    Raises ExportError if a module brings what is none, or two modules translate an operator in different ways.
    """
    found: Translations = {}
    brought_by: dict[Any, str] = {}
    for method, name in methods_of(module).items():
        for operator, translation in _brought(method, name).items():
            if found.setdefault(operator, translation) is not translation:
                raise ExportError(
                    f"{name} and {brought_by[operator]} both translate {operator} to ONNX, in different ways, and are "
                    "parts of one layer: leave one out"
                )
            brought_by[operator] = name
    return TRANSLATIONS | found


def methods_of(module: nn.Module) -> dict[Callable[[], Any], str]:
    """Return each method that brings translations once, however many parts have it, with a class that has it."""
    classes = dict.fromkeys(type(part) for part in module.modules())
    return {getattr(cls, METHOD): cls.__name__ for cls in classes if hasattr(cls, METHOD)}


def _brought(method: Callable[[], Any], name: str) -> Mapping[Any, Callable[..., Any]]:
    try:
        brought = method()
    except Exception as error:  # a plugin may raise anything
        raise ExportError(f"{METHOD} of {name} fails: {in_a_line(error)}") from error
    if not isinstance(brought, Mapping) or not all(
        isinstance(operator, torch._ops.OpOverload) and callable(translation)
        for operator, translation in brought.items()
    ):
        wanted = "a dict of functions by operators of torch, such as torch.ops.aten.erfc.default"
        raise ExportError(f"{METHOD} of {name} must return {wanted}, not {shortened(repr(brought))}")
    return brought
