"""Autoregressive layers in graphs: the passes of an inverse are one Loop, whatever the size of the event."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from flowkit.bijectors import Autoregressive, Transformer, fixed_loop
from flowkit.errors import ExportError
from flowkit.export.graphs import Graphs
from flowkit.export.loops import with_bodies
from flowkit.flow import Flow
from flowkit.testing import perturb
from flowkit_autoregressive.made import MADE
from flowkit_autoregressive.orders import Natural
from flowkit_runtime.graph_check import check_graph
from tests.extent import extent

AFFINE = {"use": "glow/affine"}
SPLINE = {"use": "spline/rational_quadratic"}


def a_flow(size: int, *steps: dict, context: int | None = None) -> Flow:
    given = {} if context is None else {"context": {"shape": [context]}}
    torch.manual_seed(0)
    flow = Flow.from_spec({"flowkit": 1, "event": {"shape": [size]}, **given, "flow": list(steps)}).double().eval()
    perturb(flow, 0.3)
    return flow


def n_nodes(model: onnx.ModelProto) -> int:
    return len(list(with_bodies(model.graph.node)))


def test_a_decoder_has_one_loop_and_the_encoder_none(tmp_path):
    """34 nodes for an affine layer. The log-derivatives, which a decoder doesn't give, aren't computed in it."""
    flow = a_flow(7, {"autoregressive": AFFINE, "order": {"use": "autoregressive/random"}}, context=3)
    graphs = Graphs(flow)
    assert [node.op_type for node in graphs.models["decode.onnx"].graph.node].count("Loop") == 1
    assert "Loop" not in {node.op_type for node in graphs.models["encode.onnx"].graph.node}
    assert n_nodes(graphs.models["decode.onnx"]) <= 34
    (loop,) = [node for node in graphs.models["decode.onnx"].graph.node if node.op_type == "Loop"]
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graphs.models["decode.onnx"].graph.initializer}
    assert constants[loop.input[0]] == 7
    path = tmp_path / "decode.onnx"
    path.write_bytes(graphs.models["decode.onnx"].SerializeToString())
    check_graph(path, {"z_1": (1, (7,)), "context": (1, (3,))})
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for n in (1, 5):
        z, context = torch.randn(n, 7), torch.randn(n, 3)
        with torch.no_grad():
            x, _ = flow.inverse_and_log_det([z.double()], context.double())
        given = session.run(None, {"z_1": z.numpy(), "context": context.numpy()})[0]
        np.testing.assert_allclose(given, x, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "most"),
    [
        ({"autoregressive": SPLINE}, 120),
        ({"autoregressive": SPLINE, "conditioner": {"use": "autoregressive/made", "residual": True}}, 120),
    ],
)
def test_the_size_of_a_decoder_does_not_depend_on_that_of_the_event(step, most):
    sizes = {n_nodes(Graphs(a_flow(size, step)).models["decode.onnx"]) for size in extent([4, 63], [1, 4, 63])}
    assert len(sizes) == 1 and sizes.pop() <= most


def test_an_inverse_flow_has_the_loop_in_its_encoder():
    graphs = Graphs(a_flow(3, {"autoregressive": AFFINE, "inverse": True}))
    assert [n_nodes(graphs.models["decode.onnx"]) < 20, n_nodes(graphs.models["encode.onnx"]) < 60] == [True, True]
    assert "Loop" in {node.op_type for node in graphs.models["encode.onnx"].graph.node}
    session = onnxruntime.InferenceSession(
        graphs.models["encode.onnx"].SerializeToString(), providers=["CPUExecutionProvider"]
    )
    flow, x = a_flow(3, {"autoregressive": AFFINE, "inverse": True}), torch.randn(4, 3)
    with torch.no_grad():
        (z,), _ = flow.forward_and_log_det(x.double())
        log_prob = flow.log_prob(x.double())
    given = session.run(["z_1", "log_prob"], {"x": x.numpy()})
    np.testing.assert_allclose(given[0], z, atol=2e-6)
    np.testing.assert_allclose(given[1], log_prob, atol=1e-5)


class ByBisection(Transformer):
    """y = x + x³ + θ, whose inverse is a loop."""

    n_params = 1

    def forward(self, x, theta):
        return x + x**3 + theta[:, 0], torch.log1p(3 * x**2)

    def inverse(self, y, theta):
        def halve(low, high):
            middle = (low + high) / 2
            below = self(middle, theta)[0] < y
            return torch.where(below, middle, low), torch.where(below, high, middle)

        wide = y.abs() + theta[:, 0].abs()
        x, _ = fixed_loop(halve, 50, -wide, wide)
        return x, -self(x, theta)[1]


def test_a_loop_in_the_loop_is_refused_with_the_reason():
    """In torch such a flow runs both ways."""
    order = Natural((2,))
    flow = Flow([Autoregressive(order, MADE(order, (1, 2), hidden=4), ByBisection())]).double().eval()
    x = torch.randn(3, 2, dtype=torch.float64)
    back, _ = flow.inverse_and_log_det(flow.forward_and_log_det(x)[0])
    torch.testing.assert_close(back, x, atol=1e-10, rtol=0)
    with pytest.raises(ExportError, match=r"Autoregressive.*a fixed_loop inside a fixed_loop"):
        Graphs(flow)
