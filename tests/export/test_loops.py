"""Loops in graphs: one Loop with a constant number of steps, whose body reads values of the graph around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch._higher_order_ops.while_loop import while_loop

from flowkit.bijectors import Bijector, Coupling, Transformer, fixed_loop
from flowkit.errors import ExportError
from flowkit.export.bundle import _share_weights
from flowkit.export.graphs import Graphs
from flowkit.export.loops import with_bodies
from flowkit.export.precision import in_precision
from flowkit.flow import Flow
from flowkit.testing import BijectorSubject, check, perturb
from flowkit_glow.mlp import MLP
from flowkit_glow.splits import Channels
from flowkit_runtime.bundle import DECODER, ENCODER
from flowkit_runtime.graph_check import check_graph
from tests.export.conftest import decoder_of
from tests.extent import extent


class Cubic(Transformer):
    """y = x + e^t x³, inverted by bisection. sigmoid and softplus have translations of their own in a graph."""

    n_params = 1

    def forward(self, x, theta):
        a = nn.functional.softplus(theta[:, 0]) + torch.sigmoid(theta[:, 0])
        return x + a * x**3, torch.log1p(3 * a * x**2)

    def inverse(self, y, theta):
        def halve(low, high):
            middle = (low + high) / 2
            below = self(middle, theta)[0] < y
            return torch.where(below, middle, low), torch.where(below, high, middle)

        low, high = fixed_loop(halve, 45, -y.abs(), y.abs())
        x = (low + high) / 2
        return x, -self(x, theta)[1]


class Passes(Bijector):
    """y₁ = x₁, y₂ = x₂ + net(x₁), inverted by passes of a network, which starts from an input that it carries along."""

    handles_autocast = True

    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.net = MLP((1,), (1, 1), hidden=600, layers=1)
        self.register_buffer("mask", torch.tensor([0.0, 1.0]))
        self.n = 2

    def shift(self, x):
        return self.mask * self.net(x[:, :1]).flatten(1).expand(-1, 2)

    def forward_and_log_det(self, x, context=None):
        return x + self.shift(x), x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y, context=None):
        x, _ = fixed_loop(lambda x, given: (given - self.shift(x), given), self.n, torch.zeros_like(y), y)
        return x, y.new_zeros(y.shape[0])


def coupling(shape):
    split = Channels(shape)
    kept, transformed = ((shape[0] - shape[0] // 2, *shape[1:]), (shape[0] // 2, *shape[1:]))
    network = MLP(kept, (1, *transformed), None, hidden=4)
    return Coupling(split, network, Cubic())


def a_flow(*layers: Bijector, scale: float = 0.3) -> Flow:
    flow = Flow(list(layers)).double().eval()
    torch.manual_seed(0)
    perturb(flow, scale)
    return flow


def assert_decodes(flow: Flow, model: onnx.ModelProto | Path, shape, tolerance=1e-5) -> None:
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for n in (1, 2, 7):
        z = torch.randn(n, *shape)
        with torch.no_grad():
            wanted = z.double() if flow.dtype is torch.float64 else z
            for layer in reversed(flow.layers):
                wanted, _ = layer.inverse_and_log_det(wanted)
        np.testing.assert_allclose(session.run(None, {"z_1": z.numpy()})[0], wanted, atol=tolerance)


def loops_in(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Loop"]


def test_outside_of_exports_it_is_a_plain_loop():
    a = torch.tensor(2.0, requires_grad=True)
    (power,) = fixed_loop(lambda v: (a * v,), 3, torch.tensor(1.0))
    assert power == 8 and torch.autograd.grad(power, a)[0] == 12  # 3 a²
    assert torch.func.jacfwd(lambda a: fixed_loop(lambda v: (a * v,), 3, torch.ones(()))[0])(torch.tensor(2.0)) == 12


@pytest.mark.slow
@pytest.mark.parametrize("opset", extent([20], [18, 20, 24]))
def test_a_graph_has_a_loop_of_a_constant_number_of_steps(opset, tmp_path):
    """Layers that are alike are traced once. A limit of dynamo's, 8 traced bodies of one function, isn't met."""
    pairs = extent(2, 9)
    layers = [layer for _ in range(pairs) for layer in (coupling((2,)), Passes((2,)))]
    for times, layer in enumerate(layers[1::2], 2):
        layer.n = times  # another body
    flow = a_flow(*layers)
    decoder = decoder_of(flow, opset)
    onnx.checker.check_model(decoder, full_check=True)
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in decoder.graph.initializer}
    steps = [int(constants[loop.input[0]]) for loop in loops_in(decoder)]
    assert sorted(steps) == [*range(2, 2 + pairs), *[45] * pairs] and all(
        loop.input[1] == "" for loop in loops_in(decoder)
    )
    assert_decodes(flow, decoder, (2,))
    infos = {info.name for info in (*decoder.graph.value_info, *decoder.graph.output)}
    assert infos == {name for node in decoder.graph.node for name in node.output}
    (tmp_path / "g.onnx").write_bytes(decoder.SerializeToString())
    check_graph(tmp_path / "g.onnx", {"z_1": (1, (2,))})
    assert_the_same_is_computed_once(decoder)


def assert_the_same_is_computed_once(decoder):
    """What a body would compute of softplus and sigmoid of θ, which has its network, stands before the loop."""
    searches = [loop for loop in loops_in(decoder) if "Gemm" not in {node.op_type for node in with_bodies([loop])}]
    assert searches
    for loop in searches:
        operators = {node.op_type for node in with_bodies([loop])}
        assert "Exp" not in operators and "Log" not in operators
        layer = loop.name.partition("_")[0] + "_"
        of_layer = [node for node in decoder.graph.node if node.name.startswith(layer)]
        assert len(list(with_bodies(of_layer))) < 60


@pytest.mark.slow
@pytest.mark.parametrize("precision", extent(["float16"], ["float32", "bfloat16", "float16"]))
def test_networks_of_16_bits_in_a_body_and_weights_that_are_shared(tmp_path, precision):
    flow = a_flow(Passes((2,)), scale=0.2)
    graphs = Graphs(flow, 20, precision)
    models = [graphs.models[ENCODER], graphs.models[DECODER]]
    (loop,) = loops_in(models[1])
    assert "Gemm" in {node.op_type for node in with_bodies([loop])}
    casts = [node for node in models[1].graph.node if node.op_type == "Cast"]
    assert all(node.input[0].startswith(("z_1", "0_")) for node in casts)
    _share_weights(models, tmp_path / "weights.bin")
    (tmp_path / "decode.onnx").write_bytes(models[1].SerializeToString())
    tolerance = 4e-3 if precision == "float16" else 1e-5  # two roundings of 16 bits
    assert_decodes(in_precision(flow.float(), precision), tmp_path / "decode.onnx", (2,), tolerance)
    check_graph(tmp_path / "decode.onnx", {"z_1": (1, (2,))}, "weights.bin")
    assert (tmp_path / "weights.bin").stat().st_size == 600 * (4 if precision == "float32" else 2) * 3


@pytest.mark.slow
def test_the_kit_takes_layers_with_loops():
    check(BijectorSubject(lambda: Passes((2,))), only=["onnx", "compile", "log_det", "inverse_log_det"])


class UntilSmall(Cubic):
    """A loop whose number of steps depends on values."""

    def inverse(self, y, theta):
        def halve(low, high):
            middle = (low + high) / 2
            below = self(middle, theta)[0] < y
            return torch.where(below, middle, low), torch.where(below, high, middle)

        low, _ = while_loop(lambda low, high: (high - low).max() > 1e-3, halve, (-y.abs(), y.abs()))
        return low, -self(low, theta)[1]


class Nested(Cubic):
    """A loop in a loop."""

    def inverse(self, y, theta):
        def outer(x):
            return fixed_loop(lambda x: (x - (self(x, theta)[0] - y) / self(x, theta)[1].exp(),), 2, x)

        (x,) = fixed_loop(outer, 3, y)
        return x, -self(x, theta)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transformer", "message"),
    [(UntilSmall, "a loop or a branch that depends on values"), (Nested, "a fixed_loop inside a fixed_loop")],
)
def test_other_loops_are_refused_with_advice(transformer, message):
    layer = coupling((2,))
    layer.transformer = transformer()
    with pytest.raises(ExportError, match=f"Coupling.*{message}"):
        Graphs(a_flow(layer))
