"""Checks the tensors and arguments that a flow is given, and converts contexts for the layers.

Each check raises InputError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from flowkit.bijectors.memory import REVERSIBLE_COMPILED, STRATEGIES
from flowkit.errors import InputError
from flowkit.plugin.failure import in_a_line
from flowkit.plugin.rows import Rows
from flowkit.shapes import Shape
from flowkit.spec.model import ContextSpec
from flowkit_runtime import errors as runtime
from flowkit_runtime.inputs import broadcasts

T = TypeVar("T")

NO_MINIMUM = (torch.uint16, torch.uint32, torch.uint64)
"""Integer types for which torch implements no minimum. They are converted to int64 first."""


def check_memory(strategy: str) -> None:
    """Check that ``strategy`` is the name of a memory strategy."""
    if strategy not in tuple(STRATEGIES):  # a list, say, has no hash
        *others, last = STRATEGIES
        raise InputError(f"memory must be {', '.join(others)} or {last}, not {strategy!r}")


def check_compilable(strategy: str, scope: str = "flow") -> None:
    """Check that a compiled flow can run this memory strategy, and that ``scope`` is a valid one."""
    if strategy == "reversible":
        raise InputError(REVERSIBLE_COMPILED)
    if scope not in ("flow", "step"):
        raise InputError(f"scope must be 'flow' or 'step', not {scope!r}")


def as_flowkit(check: Callable[..., T], *args: Any) -> T:
    """Run one of flowkit_runtime's checks and return its result. Its InputError becomes flowkit's own InputError."""
    try:
        return check(*args)
    except runtime.InputError as error:
        raise InputError(str(error)) from None


@contextmanager
def enough_memory() -> Iterator[None]:
    """Turn a failed allocation inside the block into an InputError, because the size follows from an argument."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # on a CPU, torch raises a plain RuntimeError
        known = isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
        if not known:
            raise
        raise InputError(f"there isn't enough memory: {in_a_line(error)}; work on fewer events at a time") from error


def check_tensor(name: str, x: Tensor) -> None:
    if not isinstance(x, Tensor):
        kind = f"{type(x).__module__}.{type(x).__name__}".removeprefix("builtins.")
        raise InputError(f"{name} is a {kind}; a flow takes tensors: torch.as_tensor({name})")
    if x.layout != torch.strided:
        raise InputError(f"{name} is of layout {_name(x.layout)}; a flow takes dense tensors: {name}.to_dense()")


def check_shape(x: Tensor, event_shape: Shape) -> None:
    """Check that x is [batch, *event_shape]."""
    check_tensor("x", x)
    if x.shape[1:] != event_shape:
        raise InputError(f"x has shape {list(x.shape)}; this flow takes {_batched(event_shape)}")


def check_events(x: Tensor, event_shape: Shape, dtype: torch.dtype, levels: int | None) -> None:
    """Check that x holds continuous events, [batch, *event_shape], in the flow's precision."""
    check_shape(x, event_shape)
    if not x.is_floating_point():
        instead = "x.float()" if levels is None else "nll(x) or bits_per_dim(x), or dequantize(x)[0] first"
        raise InputError(f"a density needs continuous values, and x is {_name(x.dtype)}: use {instead}")
    if x.dtype != dtype:
        raise InputError(f"x is {_name(x.dtype)} and this flow is {_name(dtype)}: convert one, as in x.to(flow.dtype)")


def check_scale(temperature: float, dtype: torch.dtype) -> None:
    """Check that noise of this temperature is finite in the flow's precision. No value of unscaled noise exceeds 10."""
    if 10 * temperature > torch.finfo(dtype).max:
        raise InputError(f"temperature {temperature:g} makes noise that {_name(dtype)} can't hold: take a lower one")


def channels_last(x: Tensor) -> Tensor:
    """Return images [batch, c, h, w] in channels_last memory, in which channel maps and convolutions run fastest.

    Layers keep that memory format. Under torch.vmap, which has no memory formats, x is returned unchanged.
    """
    if x.dim() != 4 or torch._C._are_functorch_transforms_active():
        return x
    return x.contiguous(memory_format=torch.channels_last)


def check_some(x: Tensor) -> None:
    """Check that x holds at least one event, and that all are finite."""
    if not len(x):
        raise InputError("x holds no events: give some of the data")
    if not x.isfinite().all():
        raise InputError("x holds NaN or infinity: leave such events out")


def check_levels(x: Tensor, levels: int) -> None:
    """Check that x holds whole numbers in 0 … levels - 1, in any real dtype."""
    if x.is_complex():
        raise InputError(f"x holds complex numbers, and this flow's levels are 0 … {levels - 1}")
    if x.numel() == 0 or (x.dtype == torch.uint8 and levels >= 256):
        return
    if x.is_floating_point() and not (x == x.floor()).all():
        value = x[x != x.floor()][0].item()
        raise InputError(f"x holds {value:g}, and integer data are whole numbers; log_prob(x) is for points between")
    whole = x.long() if x.dtype in NO_MINIMUM else x
    low, high = whole.min().item(), whole.max().item()
    if low < 0 or high >= levels:
        raise InputError(f"x ranges from {low} to {high}; this flow's levels are 0 … {levels - 1}")


def check_latents(latents: Sequence[Tensor], shapes: Sequence[Shape], dtype: torch.dtype) -> None:
    """Check that there is one latent [batch, *shape] for each of the shapes, in the flow's precision."""
    if not isinstance(latents, list | tuple):
        raise InputError(f"latents must be a tuple of tensors, one for each of {list(shapes)}: as encode gives them")
    for z in latents:
        check_tensor("z", z)
    given = [tuple(z.shape[1:]) for z in latents]
    if given != list(shapes):
        raise InputError(f"latents have event shapes {given}; this flow has {list(shapes)}")
    if len(rows := {len(z) for z in latents}) > 1:
        raise InputError(f"latents differ in their number of events: {', '.join(map(str, sorted(rows)))}")
    if other := [z.dtype for z in latents if z.dtype != dtype]:
        raise InputError(f"a latent is {_name(other[0])} and this flow is {_name(dtype)}: convert it, z.to(flow.dtype)")


def embed(spec: ContextSpec | None, context: Tensor | None, like: Tensor) -> Tensor | None:
    """Return the context of a batch on the device and in the precision of ``like``, labels one-hot.

    It has one row for each event, or a single one for all, as it was given.
    """
    rows = given_rows(spec, context, like.shape[0])
    if spec is None or rows is None:
        return None
    if spec.classes is None:
        return rows.to(like)
    try:
        return F.one_hot(rows.long(), spec.classes).to(like)  # [batch, classes]
    except RuntimeError as error:  # one_hot checks the range, without a synchronisation on GPUs
        raise InputError(f"context holds labels outside 0 … {spec.classes - 1}") from error


def repeated(rows: Tensor | None, n: int) -> Tensor | None:
    """Return rows [n, …]. A single one is repeated n times."""
    if rows is None or rows.shape[0] == n:
        return rows
    return rows.expand(n, *rows.shape[1:]).contiguous()  # with other strides torch.compile would make another graph


def given_rows(spec: ContextSpec | None, context: Tensor | None, n: int) -> Tensor | None:
    """Return the context of n events, [n, *shape], or [1, *shape] if it is a single one for all.

    Raises InputError if the context is missing, if the spec has none, or if its shape or type is wrong.
    """
    if spec is None:
        if context is not None:
            raise InputError("this flow takes no context: its spec has no `context:` section")
        return None
    if context is None:
        wanted = f"a label 0 … {spec.classes - 1}" if spec.classes else f"an array of shape {list(spec.shape or ())}"
        raise InputError(f"this flow is conditional: pass context, {wanted} for each event, or one for all")
    check_tensor("context", context)
    _check_type(context, labels=spec.classes is not None)
    shape = spec.shape or ()
    if context.shape in ((n, *shape), (1, *shape)):
        return context
    if context.shape == shape:
        return context[None]
    raise InputError(
        f"context has shape {list(context.shape)}; this batch needs {[n, *shape]}, or {list(shape)} for all events"
    )


def per_sample(spec: ContextSpec | None, context: Tensor | None, shape: Shape) -> Tensor | None:
    """Return the contexts [prod(shape), *context_shape] of samples of a shape, to which they are broadcast.

    Raises InputError as ``given_rows`` does.
    """
    rows, batch = sample_rows(spec, context, shape)
    return None if rows is None else broadcast_rows(rows, batch, shape)


def broadcast_rows(rows: Tensor, batch: Shape, shape: Shape) -> Tensor:
    """Broadcast rows [prod(batch), …] to a shape, and return [prod(shape), …]."""
    own = rows.shape[1:]
    return rows.reshape(*batch, *own).expand(*shape, *own).reshape(-1, *own).contiguous()


def sample_rows(spec: ContextSpec | None, context: Tensor | None, shape: Shape) -> tuple[Tensor | None, Shape]:
    """Return a batch of contexts as rows [prod(batch), …], and its shape, which is broadcast to a shape of samples.

    Raises InputError if it can't be, or as ``given_rows`` does.
    """
    batch, own = batch_shape(spec, context), () if spec is None else spec.shape or ()
    if context is not None and not broadcasts(batch, shape):
        n = math.prod(shape)
        each = (
            f"; for {n} samples of each draw sample(({n}, {batch[0]}), context)"
            if len(shape) == len(batch) == 1
            else ""
        )
        wanted = f"{[*shape, *own]}, or {list(own)} for all"
        raise InputError(f"context has shape {list(context.shape)}; these samples need {wanted}{each}")
    return None if context is None else context.reshape(math.prod(batch), *context.shape[len(batch) :]), batch


def batch_shape(spec: ContextSpec | None, context: Tensor | None) -> Shape:
    """Return the shape of a batch of contexts, [*shape, *context_shape]. It is () for a single one, and without any.

    Raises InputError as ``given_rows`` does.
    """
    if spec is None or context is None:
        given_rows(spec, context, 1)
        return ()
    check_tensor("context", context)
    _check_type(context, labels=spec.classes is not None)
    own = spec.shape or ()
    if context.shape[max(0, context.dim() - len(own)) :] != own:
        raise InputError(f"context has shape {list(context.shape)}; it must end with {list(own)}")
    return tuple(context.shape[: context.dim() - len(own)])


def _check_type(context: Tensor, labels: bool) -> None:
    if labels and (context.is_floating_point() or context.is_complex() or context.dtype == torch.bool):
        raise InputError("this flow's context are labels: pass integers, one for each event, or one for all")
    if context.is_complex():
        raise InputError("context holds complex numbers, and this flow's are real")


def _batched(shape: Shape) -> str:
    return f"[{', '.join(['batch', *map(str, shape)])}]"


def _name(dtype: torch.dtype | torch.layout) -> str:
    return str(dtype).removeprefix("torch.")


def without_score(scores: NDArray[np.floating], events: NDArray[Any] | Rows, what: str = "events") -> str | None:
    """Return a message with the number of events that have no finite score, and the first of them.

    None if all have one.

    ``scores`` are [n], ``events`` are [n, *event], and ``what`` is the noun for them.
    """
    (lost,) = np.nonzero(~np.isfinite(scores))
    if not lost.size:
        return None
    low, high = events[lost[0]].min(), events[lost[0]].max()
    return (
        f"{lost.size} of {len(scores)} {what} have no finite score, first event {lost[0]} (counted from 0), of values "
        f"from {low:.4g} to {high:.4g}"
    )
