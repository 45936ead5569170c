"""Masked autoregressive flows on vectors: affine (Papamakarios et al. 2017) and with splines (Durkan et al. 2019).

Orders take turns: the first value to the last, the last to the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.contender import Contender, peer
from benchmarks.limit import Networks
from benchmarks.networks import perceptron
from benchmarks.ours import ours


@dataclass(frozen=True)
class MaskedFlow:
    """The sizes of an autoregressive flow. Without ``bins`` its layers are affine."""

    features: int = 10
    layers: int = 5
    bins: int | None = None
    bound: float = 5.0
    hidden: int = 128
    hidden_layers: int = 2

    @property
    def n_params(self) -> int:
        """The parameters of each value in each layer."""
        return 3 * self.bins - 1 if self.bins else 2

    def spec(self) -> dict[str, Any]:
        """``event`` and ``flow`` of the spec. Scales are bounded as zuko's are, by 1e-3 and 1e3."""
        affine = {"use": "glow/affine", "scale": [1e-3, 1e3]}
        spline = {"use": "spline/rational_quadratic", "bins": self.bins, "bound": self.bound}
        layers = [
            {
                "autoregressive": spline if self.bins else affine,
                "conditioner": {"use": "autoregressive/made", "hidden": self.hidden, "layers": self.hidden_layers},
                "order": {"use": f"autoregressive/{'reversed' if layer % 2 else 'natural'}"},
            }
            for layer in range(self.layers)
        ]
        return {"event": {"shape": [self.features]}, "flow": layers}


def limit(setting: MaskedFlow) -> Networks:
    """The networks alone, without masks."""
    outputs = setting.features * setting.n_params
    networks = [
        perceptron(setting.features, outputs, setting.hidden, setting.hidden_layers) for _ in range(setting.layers)
    ]
    return Networks([(network, (setting.features,)) for network in networks])


def flowkit(setting: MaskedFlow, **options: Any) -> Contender:
    """flowkit's."""
    return ours(setting.spec(), **options)


CONTENDERS: dict[str, Callable[[MaskedFlow], Contender]] = {
    "limit": limit,
    "flowkit": flowkit,
    "flowkit, compiled": partial(flowkit, compiled=True),
    "nflows": peer("nflows", "autoregressive"),
    "normflows": peer("normflows", "autoregressive"),
    "zuko": peer("zuko", "autoregressive"),
}
PEERS = ("nflows", "normflows", "zuko")
TINY = MaskedFlow(features=5, layers=4, hidden=8)
"""One whose Jacobian is soon computed."""
ALIKE = ("flowkit", "nflows", "normflows", "zuko")
"""Contenders that compute in ways of their own: what is checked."""
COLUMNS = (("train", 512), ("log_prob", 512), ("sample", 512))


def batches(setting: MaskedFlow, device: torch.device) -> Callable[[int], Tensor]:
    """n events of noise, some of it outside the splines."""
    return lambda n: torch.randn(n, setting.features, generator=torch.Generator().manual_seed(0)).to(device)
