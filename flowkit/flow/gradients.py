"""Gradients of a piece of a pass, outside of autograd's own backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from flowkit.flow.precision import full_precision

Gradients = Sequence[Any]
"""One for each tensor, None for what isn't used."""


def gradients(outputs: Sequence[Tensor], inputs: Sequence[Tensor], grads: Sequence[Tensor]) -> Gradients:
    """Of the inputs, of those of the outputs; there may be fewer outputs than ``grads``."""
    pairs = [(output, grad) for output, grad in zip(outputs, grads, strict=False) if output.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    of, given = zip(*pairs, strict=True)
    with full_precision(given[0].device), _without_hooks(inputs):  # torch wants no autocast in a backward pass
        return torch.autograd.grad(of, inputs, given, allow_unused=True)


@contextmanager
def _without_hooks(tensors: Sequence[Tensor]) -> Iterator[None]:
    """A parameter's hooks are for its whole gradient, for which autograd calls them later."""
    hooked = [(tensor, tensor._backward_hooks) for tensor in tensors if tensor._backward_hooks]
    for tensor, _ in hooked:
        tensor._backward_hooks = None
    try:
        yield
    finally:
        for tensor, hooks in hooked:
            tensor._backward_hooks = hooks


def gradients_at(
    function: Callable[..., Sequence[Tensor]],
    at: Sequence[Tensor],
    grads: Sequence[Tensor],
    tensors: Sequence[Tensor] = (),
) -> Gradients:
    """Those for ``at`` and for ``tensors``, which the function reads besides, of those for function(*at)."""
    leaves = [t.detach().requires_grad_() for t in at]
    with torch.enable_grad():
        outputs = function(*leaves)
    return gradients(outputs, [*leaves, *tensors], grads)


def outdated_undo(cls: type, kind: type) -> bool:
    """Whether ``undo`` is inherited from a class, of this kind, of which a method was changed since."""
    by = next(base for base in cls.__mro__ if "undo" in vars(base))
    since = cls.__mro__[: cls.__mro__.index(by)]
    return bool(_methods(since) & _methods(base for base in by.__mro__ if issubclass(base, kind)))


def _methods(classes: Iterable[type]) -> set[str]:
    """Those that a pass may be made of, and properties."""
    named = {name for each in classes for name, value in vars(each).items() if hasattr(value, "__get__")}
    return {name for name in named if not name.startswith("__")} - {"initialize", "freeze"}


def added(one: Any, other: Any) -> Any:
    """The sum of two gradients, either of which may be None."""
    return one if other is None else other if one is None else one + other
