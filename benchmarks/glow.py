"""Glow (Kingma & Dhariwal 2018): squeeze, then actnorm, 1×1 convolution and affine coupling K times, at L levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.contender import Contender, peer
from benchmarks.limit import Networks
from benchmarks.networks import convolutional
from benchmarks.ours import ours


@dataclass(frozen=True)
class Glow:
    """The sizes of a Glow. Half of the channels leave between two levels, the second half."""

    event: tuple[int, int, int] = (3, 32, 32)
    levels: int = 3
    steps: int = 8
    hidden: int = 128

    def shapes(self) -> Iterator[tuple[int, int, int]]:
        """[c, h, w] of each level, after its squeeze."""
        c, h, w = self.event
        for _ in range(self.levels):
            c, h, w = 4 * c, h // 2, w // 2
            yield c, h, w
            c //= 2

    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """[c, h, w] of what leaves at each level, and of what stays at the last."""
        *before, last = self.shapes()
        return [*((c // 2, h, w) for c, h, w in before), last]

    def network(self, c: int) -> Any:
        """The plain network of a coupling of c channels: c/2 to scale and shift of the other half."""
        return convolutional(c // 2, c, self.hidden)

    def spec(self, **options: Any) -> dict[str, Any]:
        """``event`` and ``flow`` of the spec; options are the network's."""
        network = {"use": "glow/convnet", "hidden": self.hidden, **options}
        step = [
            {"use": "glow/actnorm"},
            {"use": "glow/conv1x1"},
            {"coupling": {"use": "glow/affine"}, "conditioner": network},
        ]
        level = [{"use": "glow/squeeze"}, {"repeat": self.steps, "flow": step}]
        flow = [*([*level, {"factor_out": "channels"}] * (self.levels - 1)), *level]
        return {"event": {"shape": list(self.event)}, "flow": flow}


def limit(setting: Glow, precision: torch.dtype = torch.float32) -> Networks:
    """The networks alone."""
    networks = [(setting.network(c), (c // 2, h, w)) for c, h, w in setting.shapes() for _ in range(setting.steps)]
    return Networks(networks, precision)


def flowkit(setting: Glow, normalization: str = "none", **options: Any) -> Contender:
    """flowkit's, with the peers' plain networks unless told otherwise."""
    return ours(setting.spec(normalization=normalization), **options)


def peer_glow(name: str, memory_format: torch.memory_format = torch.preserve_format) -> Callable[[Glow], Contender]:
    """Return the builder of a peer's Glow, whose images and weights have this memory format."""

    def build(setting: Glow) -> Contender:
        density = peer(name, "glow")(setting)
        density.memory_format = memory_format
        return density

    return build


CONTENDERS: dict[str, Callable[[Glow], Contender]] = {
    "limit": limit,
    "limit, bf16": partial(limit, precision=torch.bfloat16),
    "flowkit": flowkit,
    "flowkit, compiled": partial(flowkit, compiled=True),
    "flowkit, bf16": partial(flowkit, precision=torch.bfloat16),
    "flowkit, checkpoint": partial(flowkit, memory="checkpoint"),
    "flowkit, reversible": partial(flowkit, memory="reversible"),
    "flowkit, actnorm in its networks": partial(flowkit, normalization="actnorm"),
    "normflows": peer_glow("normflows"),
    "normflows, channels_last": peer_glow("normflows", torch.channels_last),
    "nflows": peer_glow("nflows"),
    "nflows, channels_last": peer_glow("nflows", torch.channels_last),
    "FrEIA": peer_glow("freia"),
    "FrEIA, channels_last": peer_glow("freia", torch.channels_last),
}
PEERS = ("normflows", "nflows", "FrEIA")
"""As their users write them. With channels_last, which they don't document, they are rows of their own."""
LEARN_1X1 = ("normflows", "nflows")
"""The peers whose 1×1 convolution learns; FrEIA's is fixed: less work."""
TINY = Glow((1, 8, 8), levels=2, steps=2, hidden=8)
"""One whose Jacobian is soon computed."""
ALIKE = ("flowkit", *PEERS)
"""Contenders that compute in ways of their own: what is checked."""
COLUMNS = (("train", 16), ("train", 64), ("log_prob", 64), ("sample", 64))


def batches(setting: Glow, device: torch.device) -> Callable[[int], Tensor]:
    """n events of noise."""
    return lambda n: torch.randn(n, *setting.event, generator=torch.Generator().manual_seed(0)).to(device)
