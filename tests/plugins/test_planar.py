"""Planar flows with a numeric inverse: they run, and are exported, in both directions."""

from __future__ import annotations

import onnxruntime
import pytest
import torch

from flowkit.flow import Flow
from flowkit.spec import flow_directions, read_spec
from flowkit.testing import perturb
from flowkit_residual.planar import Planar
from tests.export.conftest import decoder_of
from tests.extent import extent

PLANAR = {"use": "residual/planar", "numeric_inverse": True}


@pytest.mark.slow
@pytest.mark.parametrize("inverse", extent([False], [False, True]))
def test_it_runs_both_ways_and_so_do_its_graphs(inverse: bool) -> None:
    step = PLANAR | ({"inverse": True} if inverse else {})
    spec = {"flowkit": 1, "event": {"shape": [3]}, "flow": [{"use": "glow/actnorm"}, {"repeat": 3, "flow": [step]}]}
    assert flow_directions(read_spec(spec)) == "both"
    torch.manual_seed(0)
    flow = Flow.from_spec(spec).double().eval()
    perturb(flow, 0.5)
    assert flow.directions == "both"
    x = torch.randn(5, 3, dtype=torch.float64)
    with torch.no_grad():
        latents = flow.encode(x)
        torch.testing.assert_close(flow.decode(latents), x, rtol=0, atol=1e-12)
    decoder = decoder_of(flow)
    session = onnxruntime.InferenceSession(decoder.SerializeToString(), providers=["CPUExecutionProvider"])
    (decoded,) = session.run(None, {"z_1": latents[0].float().numpy()})
    torch.testing.assert_close(torch.from_numpy(decoded).double(), x, rtol=0, atol=1e-5)
    assert [node.op_type for node in decoder.graph.node].count("Loop") == (0 if inverse else 3)


def test_it_is_right_where_it_hardly_rises() -> None:
    """Where w·û is almost -1, the slope of t + w·û tanh(t) is almost 0 at t = 0."""
    layer = Planar((2,), numeric_inverse=True).double()
    with torch.no_grad():
        layer.w.copy_(torch.tensor([2.0, 0.0]))
        layer.u.copy_(torch.tensor([-4.0, 0.0]))  # w·û = softplus(-8) - 1
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None].expand(-1, 2)
    y, log_det = layer.forward_and_log_det(x)
    back, inverse_log_det = layer.inverse_and_log_det(y)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-11)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=1e-7)


def test_its_log_det_is_finite_in_fp32_where_it_hardly_rises() -> None:
    layer = Planar((2,))
    with torch.no_grad():
        layer.w.copy_(torch.tensor([2.0, 0.0]))
        layer.u.copy_(torch.tensor([-10.0, 0.0]))  # w·û = softplus(-20) - 1
    x = torch.linspace(-2, 2, 41)[:, None].expand(-1, 2)
    _, single = layer.forward_and_log_det(x)
    _, exact = layer.double().forward_and_log_det(x.double())
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-6)
    assert exact.min() < -19
