"""The context of a flow, as its layers see it: one float tensor [batch, *shape], or None."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from flowkit.errors import InputError
from flowkit.flow.inputs import check_tensor
from flowkit.plugin.config import Shape
from flowkit.spec.model import Context


def context_shape(context: Context | None) -> Shape | None:
    """The shape that conditioners read: labels come one-hot."""
    if context is None:
        return None
    return (context.classes,) if context.classes is not None else context.shape


def embed(spec: Context | None, context: Tensor | None, like: Tensor) -> Tensor | None:
    """The context of a batch, one row for each event, on the device and in the precision of ``like``."""
    rows = per_event(spec, context, like.shape[0])
    if spec is None or rows is None:
        return None
    if spec.classes is None:
        return rows.to(like)
    try:
        return F.one_hot(rows.long(), spec.classes).to(like)  # [batch, classes]
    except RuntimeError as error:  # one_hot checks the range, without making a GPU wait for it
        raise InputError(f"context holds labels outside 0 … {spec.classes - 1}") from error


def per_event(spec: Context | None, context: Tensor | None, n: int) -> Tensor | None:
    """The context [n, *shape] of n events; a single row, batched or not, serves them all.

    Raises InputError: there is none, or one that the spec doesn't have, or it has another shape or type.
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
    if context.shape == (n, *shape):
        return context
    if context.shape in (shape, (1, *shape)):
        return context.expand(n, *shape)
    raise InputError(
        f"context has shape {list(context.shape)}; this batch needs {[n, *shape]}, or {list(shape)} for all events"
    )


def _check_type(context: Tensor, labels: bool) -> None:
    if labels and (context.is_floating_point() or context.is_complex() or context.dtype == torch.bool):
        raise InputError("this flow's context are labels: pass integers, one for each event, or one for all")
    if context.is_complex():
        raise InputError("context holds complex numbers, and this flow's are real")
