"""Flows that have each installed base distribution, which torch, the runtime and the page must sample alike."""

from __future__ import annotations

import torch

from flowkit import Flow
from flowkit.bijectors import FactorOut
from flowkit.domains import Interval
from flowkit.testing import perturb
from flowkit_base.class_conditional_normal import ClassConditionalNormal
from flowkit_base.conditional_normal import ConditionalNormal
from flowkit_base.diagonal_normal import DiagonalNormal
from flowkit_base.full_normal import FullNormal
from flowkit_base.gaussian_mixture import GaussianMixture
from flowkit_base.laplace import Laplace
from flowkit_base.student_t import StudentT
from flowkit_base.uniform import Uniform
from flowkit_encoder.gru import GRU
from flowkit_glow.mlp import MLP
from flowkit_map.interval import Sigmoid

BOX = Interval(-1.0, 3.0)


def labelled() -> Flow:
    """Return a flow with a base for each latent, given labels."""
    bases = [
        GaussianMixture((8,), 20),
        StudentT((4,), 2.0),
        FullNormal((2,)),
        DiagonalNormal((1,)),
        ClassConditionalNormal((1,), (3,)),
    ]
    return Flow([FactorOut((size,)) for size in (16, 8, 4, 2)], base=bases, context={"classes": 3})


def bounded() -> Flow:
    """Return a flow with a network in the base of the second latent, and a box for the third, given a sequence."""
    network = MLP((3,), (2, 2), hidden=6)
    bases = [Laplace((4,)), ConditionalNormal((2,), (3,), network), Uniform((2,), BOX)]
    layers = [FactorOut((8,)), FactorOut((4,)), Sigmoid((2,), -1.0, 3.0)]
    encoder = GRU((4, 2), features=3, hidden=5)
    return Flow(layers, base=bases, context={"shape": [4, 2]}, encoder=encoder)


FLOWS = {"labelled": labelled, "bounded": bounded}


def moved(name: str) -> Flow:
    """Return the flow of this name with moved parameters, for inference."""
    torch.manual_seed(0)
    flow = FLOWS[name]()
    perturb(flow, 0.3)
    flow.initialized.fill_(True)
    return flow.eval().requires_grad_(False)
