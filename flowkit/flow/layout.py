"""How tensors lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(x: Tensor) -> Tensor:
    """Images [batch, c, h, w] with the channels of a position side by side, as channel maps and convolutions want them.

    Layers keep that order; shapes and values are the same in any. torch.vmap knows of none.
    """
    if x.dim() != 4 or torch._C._are_functorch_transforms_active():
        return x
    return x.contiguous(memory_format=torch.channels_last)
