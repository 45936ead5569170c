"""Which operators are written in a way of ours instead of torch.onnx's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from flowkit.export import elementary, normal_tails

TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.softmax.int: elementary.softmax,
    torch.ops.aten.lerp.Tensor: elementary.lerp,
    torch.ops.aten.sigmoid.default: elementary.sigmoid,
    torch.ops.aten.log_sigmoid.default: elementary.log_sigmoid,
    torch.ops.aten.softplus.default: elementary.softplus,
    torch.ops.aten.expm1.default: elementary.expm1,
    torch.ops.aten.log1p.default: elementary.log1p,
    torch.ops.aten.erfc.default: normal_tails.erfc,
    torch.ops.aten.special_erfc.default: normal_tails.erfc,
    torch.ops.aten.special_erfcx.default: normal_tails.erfcx,
    torch.ops.aten.special_log_ndtr.default: normal_tails.log_ndtr,
}
