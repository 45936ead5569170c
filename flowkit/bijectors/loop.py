"""Defines loops with a fixed number of steps, which an ONNX graph contains as one Loop instead of unrolled."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def fixed_loop(body: Callable[..., tuple[Tensor, ...]], n: int, *carried: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors ``carried`` after ``n`` steps of ``carried = body(*carried)``.

    It is a plain Python loop, through which gradients flow. Only while a layer is exported to ONNX is it one operator,
    whose body is traced once: the graph has as many nodes for a thousand steps as for one.

    Args:
        body: One step. It must return tensors with the shapes and types of those that it takes. It may read other
            tensors from the function around it, such as parameters, but must not change them.
        n: The number of steps.
        *carried: The tensors before the first step.

    Examples:
        >>> import torch
        >>> from flowkit.bijectors import fixed_loop
        >>> fixed_loop(lambda low, high: (low, (low + high) / 2), 2, torch.zeros(1), torch.ones(1))[1]
        tensor([0.2500])
    """
    if torch.compiler.is_exporting():
        return _as_one_operator(body, n, carried)
    for _ in range(n):
        carried = body(*carried)
    return carried


def _as_one_operator(
    body: Callable[..., tuple[Tensor, ...]], n: int, carried: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Return what the loop gives, as torch's while_loop. flowkit.export reads the number of steps from its counter."""
    from torch._higher_order_ops.while_loop import while_loop

    def step(i: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        return i + 1, *(value.clone() for value in body(*values))  # while_loop takes no views of its inputs

    def goes_on(i: Tensor, *_: Tensor) -> Tensor:
        return i < n

    start = torch.zeros((), dtype=torch.int64, device=carried[0].device)
    values = start, *(value.clone() for value in carried)
    if torch.compiler.is_dynamo_compiling():
        _, *ends = while_loop(goes_on, step, values)
    else:  # all but the size of the batch would be variables in the body, which squeeze and chunk then refuse
        with torch._dynamo.config.patch(assume_static_by_default=True):
            _, *ends = while_loop(goes_on, step, values)
    return tuple(ends)
