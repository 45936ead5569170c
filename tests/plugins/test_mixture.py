"""The mixture of logistics: its formula, its tails in fp32, its start, and its graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import flowkit_runtime
from flowkit.export import Options, export
from flowkit.export.loops import with_bodies
from flowkit.flow import Flow
from flowkit.testing import perturb
from flowkit_mixture.logistic import MixtureOfLogistics
from tests.export.conftest import decoder_of
from tests.extent import extent, nightly

COUPLING = {
    "coupling": {"use": "mixture/logistic", "components": 4},
    "conditioner": {"use": "glow/mlp", "hidden": 16},
}
VECTOR = {"flowkit": 1, "event": {"shape": [3]}, "flow": [COUPLING, {"use": "glow/permute"}, COUPLING]}
IMAGE = {
    "flowkit": 1,
    "event": {"shape": [2, 4, 4]},
    "flow": [{"coupling": COUPLING["coupling"], "conditioner": {"use": "glow/convnet", "hidden": 8}}],
}
ONE_VALUE = {
    "flowkit": 1,
    "event": {"shape": [1]},
    "context": {"shape": [2]},
    "flow": [
        {"elementwise": COUPLING["coupling"], "conditioner": COUPLING["conditioner"]},
        {"elementwise": COUPLING["coupling"]},
    ],
}


def a_flow(spec: dict) -> Flow:
    torch.manual_seed(0)
    flow = Flow.from_spec(spec).double().eval()
    perturb(flow, 0.3)
    return flow


def test_it_is_its_formula() -> None:
    transformer = MixtureOfLogistics(3).double()
    x, theta = torch.randn(4, 2, dtype=torch.float64), torch.randn(4, 9, 2, dtype=torch.float64)
    weights, means = theta[:, :3].softmax(1), theta[:, 3:6]
    scales = torch.exp(np.log(4) * torch.tanh(theta[:, 6:] / np.log(4)))
    cdf = (weights * torch.sigmoid((x[:, None] - means) / scales)).sum(1)
    y, log_derivative = transformer(x, theta)
    torch.testing.assert_close(y, torch.logit(cdf), rtol=1e-12, atol=1e-12)
    density = torch.autograd.functional.jacobian(lambda v: torch.logit(
        (weights * torch.sigmoid((v[:, None] - means) / scales)).sum(1)).sum(), x)  # fmt: skip
    torch.testing.assert_close(log_derivative, density.log(), rtol=1e-10, atol=1e-10)


def test_neither_tail_loses_digits_in_fp32() -> None:
    """Where 1 - F(x) is 1e-40, F itself is 1 in fp32."""
    transformer = MixtureOfLogistics(3)
    torch.manual_seed(0)
    x = torch.tensor([-100.0, -30.0, 0.0, 30.0, 100.0])[:, None]
    theta = transformer.from_start(torch.randn(5, 9, 1))
    single, exact = transformer(x, theta), MixtureOfLogistics(3)(x.double(), theta.double())
    torch.testing.assert_close(single[0].double(), exact[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(single[1].double(), exact[1], rtol=1e-4, atol=1e-4)
    back, _ = transformer.inverse(single[0], theta)
    torch.testing.assert_close(back, x, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("x", [1e4, -1e6, 1e30, -1e200])
def test_its_derivative_is_exact_far_out(x: float) -> None:
    """There log p and the logarithm of a tail are of the size of x, and the log-derivative is not."""
    transformer, value = MixtureOfLogistics(5), torch.tensor([[x]], dtype=torch.float64)
    torch.manual_seed(0)
    theta = transformer.from_start(torch.randn(1, 15, 1, dtype=torch.float64))
    slope = torch.func.jacrev(lambda v: transformer(v, theta)[0])(value)
    torch.testing.assert_close(transformer(value, theta)[1], slope.reshape(1, 1).log(), rtol=0, atol=1e-13)
    if abs(x) < torch.finfo(torch.float32).max:
        in_fp32 = transformer(value.float(), theta.float())[1]
        torch.testing.assert_close(in_fp32.double(), slope.reshape(1, 1).log(), rtol=0, atol=1e-5)


def test_its_components_are_trained_apart() -> None:
    flow = Flow.from_spec({"flowkit": 1, "event": {"shape": [1]}, "flow": [{"elementwise": COUPLING["coupling"]}]})
    x = torch.cat([torch.randn(500, 1) * 0.3 - 2, torch.randn(500, 1) * 0.3 + 2])
    optimizer = torch.optim.Adam(flow.parameters(), 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss = -flow.log_prob(x).mean()
        loss.backward()
        optimizer.step()
    assert loss < 1.1  # two normals have 0.91, one normal 2.1
    means = flow.layers[0].theta[4:8, 0]
    assert means.sort().values.diff().min() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("spec", extent([VECTOR], [VECTOR, ONE_VALUE]), ids=lambda spec: f"{len(spec['flow'])} layers")
def test_its_decoder_is_small(spec: dict) -> None:
    decoder = decoder_of(a_flow(spec))
    assert len(list(with_bodies(decoder.graph.node))) <= 2 * 250
    loops = [node for node in decoder.graph.node if node.op_type == "Loop"]
    steps = {t.name: int(onnx.numpy_helper.to_array(t)) for t in decoder.graph.initializer if t.dims == []
             and t.data_type == onnx.TensorProto.INT64}  # fmt: skip
    assert [steps[loop.input[0]] for loop in loops] == [30, 30]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "options", "tolerance"),
    [
        pytest.param(VECTOR, Options(opset=18), 1e-5, id="opset 18", marks=nightly),
        pytest.param(VECTOR, Options(opset=24, shared_weights=True), 1e-5, id="shared weights", marks=nightly),
        pytest.param(VECTOR, Options(precision="bfloat16"), 3e-2, id="bf16", marks=nightly),
        pytest.param(ONE_VALUE, Options(), 1e-5, id="one value"),
        pytest.param(IMAGE, Options(any_size=True), 1e-5, id="any size"),
    ],
)
def test_it_is_exported_and_served(tmp_path: Path, spec: dict, options: Options, tolerance: float) -> None:
    flow = a_flow(spec).float()
    x = torch.randn(40, *flow.event_shape)
    context = torch.randn(40, 2) if flow.context else None
    export(flow, tmp_path / "bundle", x, context, options=options)
    model = flowkit_runtime.load(tmp_path / "bundle")
    given = None if context is None else context.numpy()
    wanted = flow.double().log_prob(x.double(), None if context is None else context.double()).detach()
    np.testing.assert_allclose(model.log_prob(x.numpy(), given), wanted, atol=10 * tolerance)
    assert abs(model.decode(model.encode(x.numpy(), given), given) - x.numpy()).max() < tolerance
