"""No random numbers in graphs: the yardstick, torch's own error, would measure their noise, and let all pass."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import helper
from torch.nn import functional

import flowkit
from flowkit.bijectors import Bijector
from flowkit.errors import ExportError
from flowkit.export import export
from flowkit.export.graphs import Graphs
from flowkit.flow import Flow
from flowkit.plugin import BijectorConfig
from flowkit_glow.actnorm import ActNorm
from flowkit_runtime.graph_check import DRAWING, check_graph


class Noisy(Bijector):
    """y = x + noise, x = y."""

    def __init__(self, event_shape, noise=torch.randn_like):
        super().__init__(event_shape)
        self.noise = noise

    def forward_and_log_det(self, x, context=None):
        return x + self.noise(x), x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y, context=None):
        return y, y.new_zeros(y.shape[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "operator"),
    [
        (torch.randn_like, "RandomNormalLike"),
        (torch.rand_like, "RandomUniformLike"),
        (lambda x: torch.randn(2), "RandomNormal"),
        (lambda x: functional.dropout(x, training=True), "Dropout"),
        (lambda x: torch.bernoulli(x.sigmoid()), "Bernoulli|RandomUniformLike"),
        (lambda x: torch.multinomial(x.exp(), 2), "Multinomial"),
    ],
)
def test_a_layer_that_draws_random_numbers_is_named(noise, operator):
    flow = Flow([ActNorm((2,)), Noisy((2,), noise)]).double().eval()
    with pytest.raises(ExportError, match=rf"layer 1 \(Noisy\) can't be exported .*random numbers \(({operator})"):
        Graphs(flow)


class NoisyConfig(BijectorConfig):
    """No fields."""


def test_nothing_of_it_is_handed_out(tmp_path):
    flowkit.register("mine/noisy", NoisyConfig, Noisy)
    spec = {"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "mine/noisy"}]}
    with pytest.raises(ExportError, match=r"^layer 0 \(mine/noisy at .*random numbers \(RandomNormalLike\)"):
        export(Flow.from_spec(spec).eval(), tmp_path / "b", torch.randn(80, 2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("operator", sorted(DRAWING))
def test_the_runtime_refuses_such_graphs(operator: str, tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 2]) for name in "xy")
    path, inputs = tmp_path / "encode.onnx", {"x": (onnx.TensorProto.FLOAT, (2,))}
    for op_type in ("Identity", operator):
        graph = helper.make_graph([helper.make_node(op_type, ["x"], ["y"])], "flow", [x], [y])
        onnx.save(helper.make_model(graph), path)
        if op_type == "Identity":
            check_graph(path, inputs)
    with pytest.raises(ValueError, match=f"its operator {operator} draws random numbers"):
        check_graph(path, inputs)
