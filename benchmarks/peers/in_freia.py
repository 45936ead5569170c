"""Glow in FrEIA, which has no 1×1 convolution that learns, and no spline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from FrEIA.framework import GraphINN, InputNode, Node, OutputNode
from FrEIA.modules import ActNorm, AffineCouplingOneSided, Fixed1x1Conv, IRevNetDownsampling, Split
from torch import Tensor

from benchmarks.contender import Density

if TYPE_CHECKING:
    from benchmarks.glow import Glow


def glow(setting: Glow) -> Density:
    """The same layers; a 1×1 convolution is a fixed rotation."""
    nodes = [InputNode(*setting.event)]
    outputs = []
    for level, (c, _, _) in enumerate(setting.shapes(), 1):
        nodes.append(Node(nodes[-1], IRevNetDownsampling, {}))
        for _ in range(setting.steps):
            _append_step(nodes, setting, c)
        if level < setting.levels:
            nodes.append(Node(nodes[-1], Split, {}))
            outputs.append(OutputNode(nodes[-1].out1))
    outputs.append(OutputNode(nodes[-1]))
    model = GraphINN([*nodes, *outputs])
    size = math.prod(setting.event)

    def latents(x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = model(x)
        return torch.cat([part.flatten(1) for part in z], 1), log_det

    def log_prob(x: Tensor) -> Tensor:
        z, log_det = latents(x)
        return log_det - 0.5 * z.square().sum(1) - 0.5 * size * math.log(2 * math.pi)

    def sample(n: int) -> Tensor:
        device = next(model.parameters()).device
        return model([torch.randn(n, *shape, device=device) for shape in setting.latent_shapes()], rev=True)[0]

    return Density(model, log_prob, sample, lambda x: latents(x)[0])


def _append_step(nodes: list[Node], setting: Glow, c: int) -> None:
    rotation = torch.linalg.qr(torch.randn(c, c)).Q
    network = {"subnet_constructor": lambda i, o: setting.network(c), "clamp": math.log(4), "clamp_activation": "TANH"}
    for layer, arguments in ((ActNorm, {}), (Fixed1x1Conv, {"M": rotation}), (AffineCouplingOneSided, network)):
        nodes.append(Node(nodes[-1], layer, arguments))
