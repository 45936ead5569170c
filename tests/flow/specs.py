"""Small flows, as specs, that between them use every structure."""

from __future__ import annotations

import copy

import torch

from flowkit.flow import Flow
from flowkit.testing import perturb

STEP = [
    {"use": "glow/actnorm"},
    {"use": "glow/conv1x1"},
    {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/convnet", "hidden": 6}},
]
PRIOR = {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/convnet", "hidden": 0}}

IMAGE = {
    "flowkit": 1,
    "event": {"shape": [1, 4, 4], "levels": 17},
    "flow": [
        {"use": "glow/rescale"},
        {"use": "glow/squeeze"},
        {"repeat": 2, "flow": STEP},
        PRIOR,
        {"factor_out": "channels"},
        {"use": "glow/squeeze"},
        *STEP,
    ],
}
VECTOR = {
    "flowkit": 1,
    "event": {"shape": [3]},
    "flow": [
        {"use": "glow/actnorm"},
        {"use": "glow/permute"},
        {"coupling": {"use": "spline/rational_quadratic"}, "conditioner": {"use": "glow/mlp", "hidden": 8}},
    ],
}
LABELS = {
    "flowkit": 1,
    "event": {"shape": [1, 4, 4], "levels": 17},
    "context": {"classes": 5},
    "flow": [{"use": "glow/rescale"}, {"use": "glow/squeeze"}, *STEP],
}
ARRAYS = {**copy.deepcopy(VECTOR), "context": {"shape": [2]}}
VALUES = {
    "flowkit": 1,
    "event": {"shape": [1]},
    "context": {"shape": [2]},
    "flow": [
        {"use": "glow/actnorm"},
        {"elementwise": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp", "hidden": 8}},
        {"elementwise": {"use": "spline/rational_quadratic", "bins": 4}},
    ],
}
"""One value, given two: no coupling could divide it."""

SEQUENCE = {
    "flowkit": 1,
    "event": {"shape": [3]},
    "context": {"classes": 3},
    "flow": [
        {"use": "glow/actnorm"},
        {
            "autoregressive": {"use": "spline/rational_quadratic", "bins": 4},
            "conditioner": {"use": "autoregressive/made", "hidden": 8},
            "order": {"use": "autoregressive/listed", "indices": [2, 0, 1]},
        },
        {"autoregressive": {"use": "glow/affine"}, "inverse": True},
    ],
}
"""Autoregressive layers in both directions, given a label."""

SMALL = {
    "flowkit": 1,
    "event": {"shape": [2]},
    "flow": [
        {"use": "glow/actnorm"},
        {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp", "hidden": 4, "layers": 1}},
    ],
}
"""What is soon exported and compiled."""

SETS = {
    **copy.deepcopy(VECTOR),
    "context": {"shape": [4, 2], "encoder": {"use": "encoder/deep_set", "features": 3, "hidden": 6}},
}
"""Given sets, which an encoder summarizes for the layers."""

SPECS = {
    "image": IMAGE,
    "vector": VECTOR,
    "labels": LABELS,
    "arrays": ARRAYS,
    "values": VALUES,
    "sequence": SEQUENCE,
    "sets": SETS,
}


def perturbed(name: str, seed: int = 0, scale: float = 0.2) -> Flow:
    """The flow in fp64 and evaluation mode, every parameter moved at random."""
    torch.manual_seed(seed)
    flow = Flow.from_spec(SPECS[name]).double().eval()
    perturb(flow, scale)
    return flow


def batch(flow: Flow, n: int = 4, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Continuous events in data units, and a context if the flow takes one."""
    torch.manual_seed(seed)
    x = torch.rand(n, *flow.event_shape, dtype=torch.float64) * (flow.levels or 2)
    if flow.context is None:
        return x, None
    if flow.context.classes:
        return x, torch.randint(flow.context.classes, (n,))
    return x, torch.randn(n, *flow.context.shape, dtype=torch.float64)
