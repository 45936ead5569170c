"""Elementwise layers: the formula, the starting θ, what the network is given, and layers that are built in Python."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flowkit.bijectors import Conditioner, Coupling, Elementwise
from flowkit.errors import InputError
from flowkit.flow import Flow
from flowkit.testing import perturb
from flowkit_glow.affine import Affine
from flowkit_glow.mlp import MLP
from flowkit_glow.splits import Channels
from flowkit_spline.rational_quadratic import RationalQuadratic
from tests.flow.specs import VALUES, perturbed


def test_it_is_its_formula() -> None:
    layer = Elementwise((2,), Affine(), MLP((3,), (2, 2), hidden=4))
    perturb(layer, 0.6)
    x, context = torch.randn(5, 2), torch.randn(5, 3)
    y, log_det = layer.forward_and_log_det(x, context)
    t, b = layer.conditioner(context).unbind(1)
    log_s = torch.log(torch.tensor(4.0)) * torch.tanh(t / torch.log(torch.tensor(4.0)))
    torch.testing.assert_close(y, log_s.exp() * x + b)
    torch.testing.assert_close(log_det, log_s.sum(1))


@pytest.mark.parametrize("event", [(1,), (5,), (2, 3, 4)], ids=str)
def test_without_a_conditioner_it_starts_as_the_identity(event: tuple[int, ...]) -> None:
    layer = Elementwise(event, RationalQuadratic(bins=4))
    assert layer.theta is not None and layer.theta.shape == (11, *event) and not layer.theta.any()
    x = torch.randn(3, *event)
    y, log_det = layer.forward_and_log_det(x)
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(log_det, torch.zeros(3))


class StartsElsewhere(Affine):
    """An affine map with other parameters at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.starting_theta = torch.tensor([0.25, -0.5])


@pytest.mark.parametrize("event", [(1,), (2, 3, 4)], ids=str)
def test_parameters_start_at_the_starting_theta(event: tuple[int, ...]) -> None:
    layer = Elementwise(event, StartsElsewhere())
    assert layer.theta is not None and layer.theta.shape == (2, *event)
    assert (layer.theta[0] == 0.25).all() and (layer.theta[1] == -0.5).all()
    assert list(layer.state_dict()) == ["theta"]
    layer.theta.data.zero_()  # then it is θ as it is, no difference
    torch.testing.assert_close(layer.forward_and_log_det(x := torch.randn(3, *event))[0], x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_network_gives_the_difference_from_the_starting_theta(dtype: torch.dtype) -> None:
    coupling = Coupling(Channels((3,)), MLP((2,), (2, 1)), StartsElsewhere()).to(dtype)
    elementwise = Elementwise((1,), StartsElsewhere(), MLP((2,), (2, 1))).to(dtype)
    x, log_s = torch.randn(4, 3, dtype=dtype), Affine()._log_scale(torch.tensor(0.25, dtype=dtype))
    kept, transformed = coupling.split.split(x)
    for layer, args in ((coupling, (x,)), (elementwise, (transformed, kept))):
        y, log_det = layer.forward_and_log_det(*args)
        given = layer.split.split(y)[1] if isinstance(layer, Coupling) else y
        torch.testing.assert_close(given, transformed * log_s.exp() - 0.5)
        torch.testing.assert_close(log_det, log_s.expand(4))
        torch.testing.assert_close(layer.inverse_and_log_det(y, *args[1:])[0], args[0])
        assert not [name for name in layer.state_dict() if "starting" in name]
        perturb(layer, 0.3)
        moved = layer.forward_and_log_det(*args)[0]
        theta = layer.conditioner(kept)
        wanted = Affine()(transformed, theta + torch.tensor([[[0.25], [-0.5]]], dtype=dtype))[0]
        torch.testing.assert_close(layer.split.split(moved)[1] if isinstance(layer, Coupling) else moved, wanted)


class Notes(Conditioner):
    """Notes what it is given, and gives zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[str, Tensor, Tensor | None]] = []

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        self.given.append(("forward", kept, context))
        return kept.new_zeros(len(kept), 2, 3)

    def initialize(self, kept: Tensor, context: Tensor | None = None) -> None:
        self.given.append(("initialize", kept, context))


def test_the_network_reads_the_context_in_the_place_of_the_kept_part() -> None:
    network = Notes()
    flow = Flow([Elementwise((3,), Affine(), network)], context={"classes": 4})
    flow.initialize(torch.randn(2, 3), torch.tensor([3, 1]))
    one_hot = torch.eye(4)[[3, 1]]
    assert [method for method, *_ in network.given] == ["initialize", "forward"]
    for _, kept, context in network.given:
        assert torch.equal(kept, one_hot) and context is None


def test_a_context_that_is_missing_is_asked_for() -> None:
    flow = Flow([Elementwise((3,), Affine(), Notes())])
    with pytest.raises(InputError, match="computes its parameters from the context"):
        flow.log_prob(torch.randn(2, 3))
    with pytest.raises(InputError, match="computes its parameters from the context"):
        flow.initialize(torch.randn(2, 3))


def test_a_flow_that_was_built_in_python_writes_its_spec() -> None:
    flow = perturbed("values")
    again = Flow(flow.layers, context=flow.context).to_spec()
    assert again == flow.to_spec()
    written = again.model_dump(mode="json", exclude_unset=True)["flow"]
    assert [key for step in written for key in ("use", "elementwise", "conditioner") if key in step] == [
        *("use", "elementwise", "conditioner", "elementwise")
    ]


def test_parts_are_parameters_of_the_flow() -> None:
    """Those of the network and the learned θ are trained and saved."""
    names = dict(Flow.from_spec(VALUES).named_parameters())
    assert "layers.2.theta" in names and "layers.1.conditioner.last.weight" in names and "layers.1.theta" not in names
