"""Which modules compute the same from the same tensors."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import chain

from torch import nn

_COMMON = vars(nn.Module()).keys()  # what every module has
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def structure(module: nn.Module) -> Hashable:
    """Equal for modules that differ in nothing but the values of their parameters and buffers: types, settings, shapes.

    A setting that isn't plain, such as an object of a plugin's, equals itself alone.
    """
    tensors = chain(module.named_parameters(), module.named_buffers())
    return (
        tuple((name, type(part), _settings(part)) for name, part in module.named_modules()),
        tuple((name, tuple(t.shape), t.dtype) for name, t in tensors),
    )


def _settings(module: nn.Module) -> Hashable:
    own = sorted(vars(module).keys() - _COMMON)
    hooks = id(module) if any(getattr(module, name) for name in _HOOKS) else None
    return (hooks, *((name, _plain(getattr(module, name))) for name in own))


def _plain(value: object) -> Hashable:
    """The value, where equality says that it is the same; otherwise which object it is."""
    if isinstance(value, tuple | list):
        return (type(value), tuple(_plain(item) for item in value))
    return (type(value), value) if isinstance(value, bool | int | float | str | None) else ("object", id(value))
