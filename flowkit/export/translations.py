"""Which operators of torch are written in another way than torch.onnx's."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from types import FunctionType
from typing import Any

import torch
from torch import nn

from flowkit.errors import ExportError
from flowkit.export import elementary, normal_tails
from flowkit.export.structure import plain
from flowkit.plugin.failure import in_a_line

Translations = dict[Callable[..., Any], Callable[..., Any]]
"""An operator, such as ``torch.ops.aten.erfc.default`` -> a function that writes it with onnxscript's operators."""

TRANSLATIONS: Translations = {
    torch.ops.aten.softmax.int: elementary.softmax,
    torch.ops.aten.lerp.Tensor: elementary.lerp,
    torch.ops.aten.sigmoid.default: elementary.sigmoid,
    torch.ops.aten.log_sigmoid.default: elementary.log_sigmoid,
    torch.ops.aten.softplus.default: elementary.softplus,
    torch.ops.aten.expm1.default: elementary.expm1,
    torch.ops.aten.log1p.default: elementary.log1p,
    torch.ops.aten.erfc.default: normal_tails.erfc,
    torch.ops.aten.special_erfc.default: normal_tails.erfc,
    torch.ops.aten.special_erfcx.default: normal_tails.erfcx,
    torch.ops.aten.special_log_ndtr.default: normal_tails.log_ndtr,
}
"""Those of every export."""

METHOD = "onnx_translations"
"""A static method of a torch module, which returns translations of its own."""


def translations_of(modules: Iterable[nn.Module]) -> Translations:
    """Return the translations of every export and those that these modules bring.

    Raises ExportError if a module brings what is none, or two modules, or a module and flowkit, translate an operator
    in different ways: a graph has one translation of each operator.
    """
    found = dict(TRANSLATIONS)
    brought_by = dict.fromkeys(found, "flowkit")
    for method, name in _methods(modules).items():
        for operator, translation in _brought(method, name).items():
            if _identity(found.setdefault(operator, translation)) != _identity(translation):
                both = f"{name} and {brought_by[operator]} both translate {operator}"
                raise ExportError(f"{both} to ONNX, in different ways: leave one out")
            brought_by.setdefault(operator, name)
    return found


def _identity(held: object) -> Hashable:
    """Return a key that is equal for functions of the same code which hold the same values.

    A ``def`` in the body of a method makes a new function at each call, and layers may share what makes it.
    """
    if not isinstance(held, FunctionType):
        return plain(held)
    cells = [cell.cell_contents for cell in held.__closure__ or ()]
    return (
        held.__code__,
        tuple(_identity(value) for value in cells if value is not held),  # it holds itself if it is recursive
        tuple(_identity(value) for value in held.__defaults__ or ()),
        tuple((name, _identity(value)) for name, value in sorted((held.__kwdefaults__ or {}).items())),
    )


def _methods(modules: Iterable[nn.Module]) -> dict[Callable[[], Any], str]:
    """Each method once, however many modules have it, with the name of a class that has it."""
    classes = dict.fromkeys(type(module) for module in modules)
    return {getattr(cls, METHOD): cls.__name__ for cls in classes if hasattr(cls, METHOD)}


def _brought(method: Callable[[], Any], name: str) -> Mapping[Any, Callable[..., Any]]:
    try:
        brought = method()
    except Exception as error:  # a plugin may raise anything
        raise ExportError(f"{METHOD} of {name} fails: {in_a_line(error)}") from error
    if not isinstance(brought, Mapping):
        raise ExportError(f"{METHOD} of {name} must return a dict, not {type(brought).__name__}")
    for operator, translation in brought.items():
        if not isinstance(operator, torch._ops.OpOverload):
            advice = "write an overload, such as torch.ops.aten.erfc.default"
            raise ExportError(f"{METHOD} of {name} has the key {operator!r}, which is no operator of torch: {advice}")
        if not callable(translation):
            raise ExportError(f"{METHOD} of {name} translates {operator} by {translation!r}, which is no function")
    return brought
