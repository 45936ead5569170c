"""What modules are made of: which compute the same from the same tensors, and whether one is still what it was."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import chain
from typing import Any

from torch import Tensor, nn

_COMMON = vars(nn.Module()).keys()  # what every module has
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def structure(module: nn.Module) -> Hashable:
    """Equal for modules that differ in nothing but the values of their parameters and buffers: types, settings, shapes,
    whether they are in training, and what stands in them twice.

    A setting that isn't plain, such as an object of a plugin's, equals itself alone.
    """
    modules, tensors = list(module.named_modules(remove_duplicate=False)), list(_named_tensors(module))
    return (
        tuple((name, type(part), part.training, _settings(part)) for name, part in modules),
        tuple((name, tuple(t.shape), t.dtype) for name, t in tensors),
        *(tuple(_first_places(held for _, held in named)) for named in (modules, tensors)),
    )


def holds_one_twice(module: nn.Module) -> bool:
    """Whether a module or a tensor stands in it in two places: layers that are tied."""
    named: list[Any] = [*module.named_modules(remove_duplicate=False), *_named_tensors(module)]
    return len({id(held) for _, held in named}) < len(named)


def parts(module: nn.Module) -> list[nn.Module]:
    """It and the modules in it, a tied one wherever it stands: module.modules() makes names, and takes three times as
    long, which tells where it is asked at each step of each pass."""
    found = [module]
    for part in module._modules.values():
        if part is not None:
            found += parts(part)
    return found


def parameters(module: nn.Module) -> list[Tensor]:
    """Its own and those of its parts, each once."""
    own = (tensor for part in parts(module) for tensor in part._parameters.values())
    return list(dict.fromkeys(tensor for tensor in own if tensor is not None))


def made_of(module: nn.Module) -> list[object]:
    """What it is made of but for the values of its tensors: another list once a part of it was put in, parametrized,
    pruned, given a hook or switched to training. Quick: it is compared at each pass. Settings are not looked at."""
    found: list[object] = []
    for part in parts(module):
        found += (type(part), part.training, *(len(getattr(part, hooks)) for hooks in _HOOKS), *part._modules.values())
        for tensors in (part._parameters, part._buffers):
            found += [name for name, tensor in tensors.items() if tensor is not None]
    return found


def _named_tensors(module: nn.Module) -> chain[tuple[str, Tensor]]:
    return chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))


def _first_places(held: Iterable[object]) -> Iterator[int]:
    """For each object, where it comes first."""
    first: dict[int, int] = {}
    for place, each in enumerate(held):
        yield first.setdefault(id(each), place)


def _settings(module: nn.Module) -> Hashable:
    own = sorted(vars(module).keys() - _COMMON)
    hooks = id(module) if any(getattr(module, name) for name in _HOOKS) else None
    return (hooks, *((name, _plain(getattr(module, name))) for name in own))


def _plain(value: object) -> Hashable:
    """The value, where equality says that it is the same; otherwise which object it is."""
    if isinstance(value, tuple | list):
        return (type(value), tuple(_plain(item) for item in value))
    return (type(value), value) if isinstance(value, bool | int | float | str | None) else ("object", id(value))
