"""Under bf16 autocast conditioners compute in bf16, and nothing else does, whoever wrote it."""

import pytest
import torch
from torch import nn

from flowkit.bijectors import Base, Bijector, Composition, Conditioner, Coupling, Elementwise, Split, Transformer
from flowkit.flow import Flow
from flowkit.flow.layer_names import first_nonfinite
from flowkit.testing import perturb
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from flowkit_glow.conv1x1 import Conv1x1
from tests.flow.specs import SPECS, batch, perturbed
from tests.plugins.cases import coupling

DIM = 6


def half():
    return torch.autocast("cpu", torch.bfloat16)


class Seen:
    """The types of what a matrix product gives, wherever a stranger's part computes one."""

    def __init__(self):
        self.types = {}

    def product(self, part, v):
        y = v @ torch.eye(v.shape[-1])
        self.types.setdefault(type(part).__name__, set()).add(y.dtype)
        return y


def flow_of_strangers(seen):
    """Each part multiplies with a matrix, which autocast turns to bf16, and knows nothing of autocast."""

    class Halves(Split):
        def split(self, x):
            return seen.product(self, x).chunk(2, 1)

        def merge(self, kept, transformed):
            return torch.cat([seen.product(self, kept), transformed], 1)

    class Scale(Transformer):
        n_params = 1

        def forward(self, x, theta):
            return seen.product(self, x) * theta[:, 0].exp(), theta[:, 0]

        def inverse(self, y, theta):
            return seen.product(self, y) * (-theta[:, 0]).exp(), -theta[:, 0]

    class Network(Conditioner):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(DIM // 2, DIM // 2)

        def forward(self, kept, context=None):
            return self.linear(seen.product(self, kept))[:, None]

    class Rotation(Bijector):
        def forward_and_log_det(self, x, context=None):
            return seen.product(self, x), x.new_zeros(x.shape[0])

        inverse_and_log_det = forward_and_log_det

    class Normal(Base):
        def log_prob(self, z, context=None):
            return -seen.product(self, z).square().sum(1) / 2

        def from_noise(self, noise, context=None):
            return seen.product(self, noise[0])

    layers = [Rotation((DIM,)), Coupling(Halves((DIM,)), Network(), Scale()), Rotation((DIM,))]
    rest = [Composition([Coupling(Halves((DIM,)), Network(), Scale())]), Elementwise((DIM,), Scale())]
    return Flow([*layers, *rest], base=Normal((DIM,)))


@pytest.mark.parametrize("memory", ["store", "checkpoint", "reversible"])
def test_only_networks_compute_in_bf16(memory):
    seen = Seen()
    flow = flow_of_strangers(seen)
    flow.memory = memory
    x = torch.randn(4, DIM)
    with half():
        flow.initialize(x)
        assert set.union(*seen.types.values()) == {torch.float32}  # what is set once is worth it
        seen.types.clear()
        loss = flow(x).mean()
        loss.backward()
        flow.sample(4)
        flow.inverse_and_log_det(flow.encode(x))
        first_nonfinite(flow, x)
    assert loss.dtype == torch.float32
    full = {name: {torch.float32} for name in ("Halves", "Scale", "Rotation", "Normal")}
    assert seen.types == {**full, "Network": {torch.bfloat16}}


@pytest.mark.parametrize("wide", [DIM, 200], ids=["merged", "apart"])
def test_channel_maps_are_what_they_are_without_autocast(wide):
    torch.manual_seed(0)
    flow = Flow([ActNorm((wide,)), Conv1x1((wide,)), coupling((wide,), Affine()), ActNorm((wide,)), Conv1x1((wide,))])
    perturb(flow, 0.2)
    nn.init.zeros_(flow.layers[2].conditioner.last.weight)  # θ is a constant that bf16 has
    nn.init.ones_(flow.layers[2].conditioner.last.bias)
    x = torch.randn(4, wide)
    plain = flow(x), flow.sample(4, seed=0), flow.freeze()(x)
    with half():
        under = flow(x), flow.sample(4, seed=0), flow.freeze()(x)
    for given, expected in zip(under, plain, strict=True):
        torch.testing.assert_close(given, expected, rtol=0, atol=0)


def gradients(flow, x, context, memory, enabled=True):
    flow.memory = memory
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        loss = flow(x, context).mean()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(flow.parameters()))])


@pytest.mark.parametrize("name", SPECS)
def test_what_is_computed_again_is_computed_under_autocast(name):
    """The backward pass runs outside of it. What bf16 rounds away in the forward pass is a hundred times as much."""
    flow = perturbed(name).float()
    x, context = (t if t is None or not t.is_floating_point() else t.float() for t in batch(flow))
    stored = gradients(flow, x, context, "store")
    rounded = (gradients(flow, x, context, "store", enabled=False) - stored).norm()
    assert 1e-4 * stored.norm() < rounded < 0.02 * stored.norm()
    assert torch.equal(gradients(flow, x, context, "checkpoint"), stored)
    assert (gradients(flow, x, context, "reversible") - stored).norm() < 0.01 * rounded
