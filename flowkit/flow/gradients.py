"""When a backward pass that was written by hand may stand for the formula."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad


def reverse_mode_only(*tensors: Tensor) -> bool:
    """Whether gradients are asked for, and nothing that a torch.autograd.Function without vmap and jvp can't give.

    torch.export, torch.func and forward-mode derivatives take the formula itself.
    """
    if not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors)) or torch.compiler.is_exporting():
        return False
    return torch.compiler.is_compiling() or all(
        torch.func.debug_unwrap(t) is t and forward_ad.unpack_dual(t).tangent is None for t in tensors
    )
