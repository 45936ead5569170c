"""Compares the structure of modules, which is equal for those that compute the same from the same tensors."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import chain

from torch import Tensor, nn

_COMMON = vars(nn.Module()).keys()  # the attributes that every module has
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def structure(module: nn.Module) -> Hashable:
    """Return a key that is equal for modules which differ in nothing but the values of their parameters and buffers.

    It holds types, settings, shapes, training modes, and which tensors and modules stand in two places. A setting that
    isn't plain, such as an object of a plugin's own class, equals itself alone.
    """
    modules, tensors = list(module.named_modules(remove_duplicate=False)), list(_named_tensors(module))
    return (
        tuple((name, type(part), part.training, _settings(part)) for name, part in modules),
        tuple((name, tuple(t.shape), t.dtype) for name, t in tensors),
        *(tuple(_first_places(held for _, held in named)) for named in (modules, tensors)),
    )


def _named_tensors(module: nn.Module) -> chain[tuple[str, Tensor]]:
    return chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))


def _first_places(held: Iterable[object]) -> Iterator[int]:
    """Yield for each object the place where it comes first."""
    first: dict[int, int] = {}
    for place, each in enumerate(held):
        yield first.setdefault(id(each), place)


def _settings(module: nn.Module) -> Hashable:
    own = sorted(vars(module).keys() - _COMMON)
    hooks = id(module) if any(getattr(module, name) for name in _HOOKS) else None
    return (hooks, *((name, _plain(getattr(module, name))) for name in own))


def _plain(value: object) -> Hashable:
    """Return the value, where equality says that it is the same; otherwise which object it is."""
    if isinstance(value, tuple | list):
        return (type(value), tuple(_plain(item) for item in value))
    return (type(value), value) if isinstance(value, bool | int | float | str | None) else ("object", id(value))
