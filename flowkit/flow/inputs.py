"""What a flow says of tensors, and words, that it can't take: each check raises InputError, but
for ``without_score``, whose callers know whose fault that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit.errors import InputError
from flowkit.plugin.config import Shape
from flowkit.spec import Train

NO_MINIMUM = (torch.uint16, torch.uint32, torch.uint64)
"""Types that torch can hold and convert, and do little else with."""

MEMORY_STRATEGIES: tuple[str, ...] = get_args(Train.model_fields["memory"].annotation)
"""What they do: flowkit/flow/memory.py."""


def check_memory(strategy: str) -> None:
    if strategy not in MEMORY_STRATEGIES:
        *others, last = MEMORY_STRATEGIES
        raise InputError(f"memory must be {', '.join(others)} or {last}, not {strategy!r}")


def check_events(x: Tensor, event_shape: Shape, dtype: torch.dtype, levels: int | None) -> None:
    """Continuous events, [batch, *event_shape], in the flow's precision."""
    if not isinstance(x, Tensor):
        raise InputError(f"x is a {type(x).__module__}.{type(x).__name__}; a flow takes tensors: torch.as_tensor(x)")
    if x.shape[1:] != event_shape:
        raise InputError(f"x has shape {list(x.shape)}; this flow takes {_batched(event_shape)}")
    if not x.is_floating_point():
        instead = "x.float()" if levels is None else "score(x) for integer data, or dequantize(x) first"
        raise InputError(f"a density needs continuous values, and x is {_name(x.dtype)}: use {instead}")
    if x.dtype != dtype:
        raise InputError(f"x is {_name(x.dtype)} and this flow is {_name(dtype)}: convert one, as in x.to(flow.dtype)")


def check_levels(x: Tensor, levels: int) -> None:
    """Integers 0 … levels - 1."""
    if x.numel() == 0 or (x.dtype == torch.uint8 and levels >= 256):
        return
    whole = x.long() if x.dtype in NO_MINIMUM else x
    low, high = whole.min().item(), whole.max().item()
    if low < 0 or high >= levels:
        raise InputError(f"x ranges from {low} to {high}; this flow's levels are 0 … {levels - 1}")


def check_latents(latents: Sequence[Tensor], shapes: Sequence[Shape]) -> None:
    """One [batch, *shape] for each of the shapes."""
    given = [tuple(z.shape[1:]) for z in latents]
    if given != list(shapes):
        raise InputError(f"latents have event shapes {given}; this flow has {list(shapes)}")


def _batched(shape: Shape) -> str:
    return f"[{', '.join(['batch', *map(str, shape)])}]"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def without_score(scores: NDArray[np.floating], events: NDArray[Any], what: str = "events") -> str | None:
    """How many events have no finite score, and which is the first, in words; None if all have one."""
    (lost,) = np.nonzero(~np.isfinite(scores))
    if not lost.size:
        return None
    low, high = events[lost[0]].min(), events[lost[0]].max()
    return (
        f"{lost.size} of {len(scores)} {what} have no finite score, first event {lost[0]} (counted from 0), of values "
        f"from {low:.4g} to {high:.4g}"
    )
