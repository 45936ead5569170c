"""Data-dependent initialization: once, from the data it is given."""

import pytest
import torch

from flowkit.bijectors import Coupling, FactorOut
from flowkit.flow import Flow
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.convnet import NormedConv
from tests.flow.specs import SPECS, batch


def test_actnorm_gives_mean_0_and_variance_1():
    torch.manual_seed(0)
    x = torch.randn(20, 3, 4, 5, dtype=torch.float64) * torch.tensor([1.0, 5.0, 0.01])[:, None, None] + 3
    layer = ActNorm((3, 4, 5)).double()
    with torch.no_grad():
        layer.initialize(x)
    y = layer.forward_and_log_det(x)[0]
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(y.std((0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("value", [0.0, 0.3, -12345.678])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_channel_gives_scale_1(value, dtype):
    torch.manual_seed(0)
    x = torch.randn(50, 2, 3, 3, dtype=dtype)
    x[:, 1] = value
    layer = ActNorm((2, 3, 3)).to(dtype)
    with torch.no_grad():
        layer.initialize(x)
    assert layer.log_scale[1] == 0
    assert layer.log_scale[0] != 0


def test_a_batch_of_one_vector_gives_scale_1():
    layer = ActNorm((3,))
    with torch.no_grad():
        layer.initialize(torch.tensor([[1.0, 2.0, 3.0]]))
    assert layer.log_scale.tolist() == [0, 0, 0]
    assert layer.bias.tolist() == [-1, -2, -3]


def test_every_actnorm_of_a_flow_sees_the_output_of_the_layers_before_it():
    flow = Flow.from_spec(SPECS["image"]).double()
    x, _ = batch(flow, 200)
    flow.initialize(x)
    for layer in flow.layers:
        if isinstance(layer, FactorOut):
            x, _ = layer.take_out(x)
            continue
        if isinstance(layer, Coupling):
            kept = layer.split.split(x)[0]
            for conv in layer.conditioner.convs:
                if isinstance(conv, NormedConv):
                    out = conv(kept)
                    torch.testing.assert_close(
                        out.std((0, 2, 3), correction=0), torch.ones(out.shape[1], dtype=x.dtype), atol=1e-9, rtol=0
                    )
                    kept = out.relu()
        x, _ = layer.forward_and_log_det(x)
        if isinstance(layer, ActNorm):
            torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(x.shape[1], dtype=x.dtype), atol=1e-9, rtol=0)
            assert (x.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-9


def test_only_the_first_call_counts_and_the_mark_is_saved():
    flow = Flow.from_spec(SPECS["vector"])
    x = torch.randn(30, 3)
    assert not flow.initialized
    flow.initialize(x)
    state = {key: value.clone() for key, value in flow.state_dict().items()}
    flow.initialize(x * 7 + 1)
    flow.train()(x)
    flow.eval()(x)
    again = Flow.from_spec(SPECS["vector"])
    again.load_state_dict(state)
    again.initialize(x * 7 + 1)
    for given in (flow, again):
        assert all(torch.equal(state[key], value) for key, value in given.state_dict().items())
