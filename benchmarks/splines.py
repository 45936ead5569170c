"""A neural spline flow on vectors (Durkan et al. 2019): rational-quadratic couplings whose halves take turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.contender import Contender, peer
from benchmarks.limit import Networks
from benchmarks.networks import Network, perceptron
from benchmarks.ours import ours


@dataclass(frozen=True)
class Splines:
    """The sizes of a spline flow. The first half, which is kept at first, has one more where ``features`` is odd."""

    features: int = 63
    couplings: int = 10
    bins: int = 8
    bound: float = 3.0
    hidden: int = 256
    layers: int = 2

    def transformed(self, coupling: int) -> list[int]:
        """1 for each feature that the coupling transforms, 0 for what it keeps."""
        first = self.features - self.features // 2
        return [int((i >= first) == (coupling % 2 == 0)) for i in range(self.features)]

    def network(self, coupling: int) -> Network:
        """From the kept features to widths, heights and inner slopes of the others."""
        transformed = sum(self.transformed(coupling))
        outputs = transformed * (3 * self.bins - 1)
        return perceptron(self.features - transformed, outputs, self.hidden, self.layers)

    def spec(self) -> dict[str, Any]:
        """``event`` and ``flow`` of the spec."""
        couplings = [
            {
                "coupling": {"use": "spline/rational_quadratic", "bins": self.bins, "bound": self.bound},
                "conditioner": {"use": "glow/mlp", "hidden": self.hidden, "layers": self.layers},
                "split": {"use": "glow/channels", "swap": coupling % 2 == 1},
            }
            for coupling in range(self.couplings)
        ]
        return {"event": {"shape": [self.features]}, "flow": couplings}


def limit(setting: Splines) -> Networks:
    """The networks alone."""
    return Networks(
        [
            (setting.network(coupling), (setting.features - sum(setting.transformed(coupling)),))
            for coupling in range(setting.couplings)
        ]
    )


def flowkit(setting: Splines, **options: Any) -> Contender:
    """flowkit's."""
    return ours(setting.spec(), **options)


CONTENDERS: dict[str, Callable[[Splines], Contender]] = {
    "limit": limit,
    "flowkit": flowkit,
    "flowkit, compiled": partial(flowkit, compiled=True),
    "nflows": peer("nflows", "splines"),
    "normflows": peer("normflows", "splines"),
    "zuko": peer("zuko", "splines"),
    "flowjax, jit": peer("flowjax", "splines"),
}
PEERS = ("nflows", "normflows", "zuko", "flowjax, jit")
TINY = Splines(features=5, couplings=4, hidden=8)
"""One whose Jacobian is soon computed."""
ALIKE = ("flowkit", "nflows", "normflows", "zuko")
"""Contenders that compute in ways of their own: what is checked."""
COLUMNS = (("train", 512), ("log_prob", 512))


def batches(setting: Splines, device: torch.device) -> Callable[[int], Tensor]:
    """n events of noise, some of it outside the splines."""
    return lambda n: torch.randn(n, setting.features, generator=torch.Generator().manual_seed(0)).to(device)
