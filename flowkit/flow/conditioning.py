"""What a flow is conditioned on, as the layers see it: one float tensor [batch, *shape], or None."""

from __future__ import annotations

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
    """The context of a batch, checked against the spec, on the device and in the precision of ``like``."""
    if spec is None:
        if context is not None:
            raise InputError("this flow takes no context: its spec has no `context:` section")
        return None
    if context is None:
        wanted = f"a label 0 … {spec.classes - 1}" if spec.classes else f"an array of shape {list(spec.shape or ())}"
        raise InputError(f"this flow is conditional: pass context, {wanted} for each event")
    check_tensor("context", context)
    expected = (like.shape[0], *(spec.shape or ()))
    if context.shape != expected:
        raise InputError(f"context has shape {list(context.shape)}; this batch needs {list(expected)}")
    if spec.classes is None:
        return context.to(like)
    if context.is_floating_point():
        raise InputError("this flow's context are labels: pass integers, one for each event")
    try:
        return F.one_hot(context.long(), spec.classes).to(like)  # [batch, classes]
    except RuntimeError as error:  # one_hot checks the range, without making a GPU wait for it
        raise InputError(f"context holds labels outside 0 … {spec.classes - 1}") from error


def repeat(spec: Context | None, context: Tensor | None, n: int) -> Tensor | None:
    """The context of n samples: n rows as they are; a single row, batched or not, n times."""
    if spec is None or context is None:
        return context
    check_tensor("context", context)
    rows = context if context.dim() > len(spec.shape or ()) else context[None]
    return rows.expand(n, *rows.shape[1:]) if len(rows) == 1 else rows
