"""Autoregressive layers in graphs: the passes of an inverse are one Loop, whatever the size of the event."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import flowkit
from flowkit.bijectors import MaskedConditioner
from flowkit.errors import ExportError
from flowkit.export.graphs import Graphs
from flowkit.export.loops import with_bodies
from flowkit.flow import Flow
from flowkit.plugin import MaskedConditionerConfig
from flowkit.testing import perturb
from flowkit_autoregressive.made import MADE
from flowkit_runtime.bundle import DECODER, ENCODER
from flowkit_runtime.graph_check import check_graph
from tests.export.conftest import decoder_of
from tests.extent import extent

AFFINE = {"use": "glow/affine"}
SPLINE = {"use": "spline/rational_quadratic"}
RESIDUAL = {"use": "autoregressive/made", "residual": True}


def a_flow(size: int, *steps: dict, context: int | None = None) -> Flow:
    given = {} if context is None else {"context": {"shape": [context]}}
    torch.manual_seed(0)
    flow = Flow.from_spec({"flowkit": 1, "event": {"shape": [size]}, **given, "flow": list(steps)}).double().eval()
    perturb(flow, 0.3)
    return flow


class ByList(MADE):
    """Reorders the values by a list of indices."""

    def forward(self, x, context=None):
        return super().forward(x, context)[..., [0, 1, 2]]

    by_value = MaskedConditioner.by_value


def test_indices_in_a_list_belong_into_a_buffer():
    flowkit.register("mine/bylist", type("ByListConfig", (MaskedConditionerConfig,), {}), ByList)
    flow = a_flow(3, {"autoregressive": AFFINE, "conditioner": {"use": "mine/bylist"}})
    with pytest.raises(ExportError, match=r"index by a list.* Keep the indices in a buffer"):
        Graphs(flow)


def n_nodes(model: onnx.ModelProto) -> int:
    return len(list(with_bodies(model.graph.node)))


@pytest.mark.slow
def test_a_graph_has_one_loop_where_there_are_passes_and_none_elsewhere(tmp_path):
    """About 30 nodes for an affine layer. The log-derivatives, which a decoder doesn't give, aren't computed in it."""
    layer = {"autoregressive": AFFINE, "conditioner": {"use": "autoregressive/made", "hidden": 8, "layers": 1}}
    passes = layer | {"order": {"use": "autoregressive/random"}}
    flow = a_flow(7, passes, layer | {"inverse": True}, context=3)
    graphs = Graphs(flow)
    decoder, encoder = graphs.models[DECODER], graphs.models[ENCODER]
    limits = ((DECODER, 0, 1, 34), (DECODER, 1, 0, 20), (ENCODER, 0, 0, 60), (ENCODER, 1, 1, 60))
    for file, layer, loops, most in limits:
        nodes = nodes_of(graphs, file, layer)
        assert [node.op_type for node in nodes].count("Loop") == loops, (file, layer)
        assert len(list(with_bodies(nodes))) <= most, (file, layer)
    for model, given in ((decoder, "z_1"), (encoder, "x")):
        (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
        constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
        assert constants[loop.input[0]] == 7
        path = tmp_path / "graph.onnx"
        path.write_bytes(model.SerializeToString())
        check_graph(path, {given: (1, (7,)), "context": (1, (3,))})
    assert_same(flow, encoder, decoder)


def nodes_of(graphs: Graphs, file: str, layer: int) -> list[onnx.NodeProto]:
    (index,) = [i for i, name in enumerate(graphs.layers[file]) if name.startswith(f"layer {layer} ")]
    return [node for node in graphs.models[file].graph.node if node.name.startswith(f"{index}_")]


def assert_same(flow: Flow, encoder: onnx.ModelProto, decoder: onnx.ModelProto) -> None:
    sessions = [
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        for model in (encoder, decoder)
    ]
    for n in (1, 5):
        values, context = torch.randn(n, 7), torch.randn(n, 3)
        exact, given = (values.double(), context.double()), context.numpy()
        with torch.no_grad():
            (z,), log_prob = flow.encode(*exact), flow.log_prob(*exact)
            x, _ = flow.inverse_and_log_det([exact[0]], exact[1])
        encoded = sessions[0].run(["z_1", "log_prob"], {"x": values.numpy(), "context": given})
        np.testing.assert_allclose(encoded[0], z, atol=2e-6)
        np.testing.assert_allclose(encoded[1], log_prob, atol=1e-5)
        (decoded,) = sessions[1].run(None, {"z_1": values.numpy(), "context": given})
        np.testing.assert_allclose(decoded, x, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "most"),
    [({"autoregressive": SPLINE}, 120), *extent([], [({"autoregressive": SPLINE, "conditioner": RESIDUAL}, 120)])],
)
def test_the_size_of_a_decoder_does_not_depend_on_that_of_the_event(step, most):
    sizes = {n_nodes(decoder_of(a_flow(size, step))) for size in extent([4, 16], [1, 4, 63])}
    assert len(sizes) == 1 and sizes.pop() <= most
