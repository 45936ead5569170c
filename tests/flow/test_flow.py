"""Flow: the density, the bijection x <-> (z_1, …, z_L), integers, context, noise."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import jacrev

import flowkit
from flowkit.bijectors import StandardNormal
from flowkit.errors import InputError, ShapeError
from flowkit.flow import Flow, FlowDistribution
from flowkit.flow.layer_names import first_nonfinite
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.permute import Permute
from tests.flow.specs import SPECS, batch, perturbed

ALL = pytest.mark.parametrize("name", SPECS)


@ALL
def test_log_prob_is_change_of_variables_by_autodiff(name):
    flow = perturbed(name)
    x, context = batch(flow, 2)
    for row in range(2):
        one, c = x[row : row + 1], None if context is None else context[row : row + 1]

        def flat(v, c=c):
            return torch.cat([z.flatten() for z in flow.forward_and_log_det(v, c)[0]])

        z = flat(one)
        jacobian = jacrev(flat)(one).reshape(z.numel(), z.numel())
        expected = -0.5 * (z.square() + math.log(2 * math.pi)).sum() + torch.linalg.slogdet(jacobian).logabsdet
        assert flow.log_prob(one, c).item() == pytest.approx(expected.item(), rel=1e-9)


@ALL
def test_round_trip_and_log_dets(name):
    flow = perturbed(name)
    x, context = batch(flow)
    latents, there = flow.forward_and_log_det(x, context)
    back, again = flow.inverse_and_log_det(latents, context)
    assert [tuple(z.shape[1:]) for z in latents] == flow.latent_shapes
    torch.testing.assert_close(back, x, atol=1e-9, rtol=0)
    torch.testing.assert_close(there, -again, atol=1e-9, rtol=0)


@ALL
def test_any_batch_size(name):
    flow = perturbed(name)
    for n in (0, 1, 3):
        x, context = batch(flow, n)
        assert flow.log_prob(x, context).shape == (n,)
        assert flow.decode(flow.encode(x, context), context).shape == x.shape
        for flow.memory in ("store", "checkpoint", "reversible"):
            flow.log_prob(x, context).sum().backward()


@ALL
def test_frozen_flow_is_the_flow(name):
    flow = perturbed(name)
    x, context = batch(flow)
    before = {key: value.clone() for key, value in flow.state_dict().items()}
    frozen = flow.freeze()
    torch.testing.assert_close(frozen.log_prob(x, context), flow.log_prob(x, context), rtol=1e-11, atol=1e-11)
    latents = flow.encode(x, context)
    for mine, its in zip(latents, frozen.encode(x, context), strict=True):
        torch.testing.assert_close(its, mine, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(frozen.inverse_and_log_det(latents, context)[0], x, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        frozen.freeze().log_prob(x, context), frozen.log_prob(x, context), rtol=1e-11, atol=1e-11
    )
    frozen.float()
    assert all(torch.equal(before[key], value) for key, value in flow.state_dict().items())


def test_integers_come_back_exactly():
    flow = perturbed("image").float()
    k = torch.randint(17, (50, 1, 4, 4), dtype=torch.uint8)
    decoded = flow.decode(flow.encode(k))
    assert decoded.dtype == torch.uint8
    assert torch.equal(decoded, k)


def test_bits_per_dim_are_those_of_dequantized_data_and_seeded():
    flow = perturbed("image")
    k = torch.randint(17, (3, 1, 4, 4))
    score = flow.bits_per_dim(k, draws=2, seed=5)
    assert torch.equal(score, flow.bits_per_dim(k, draws=2, seed=5))
    assert not torch.equal(score, flow.bits_per_dim(k, draws=2, seed=6))
    points = [flow.dequantize(k, seed=5, draw=draw)[0] for draw in (0, 1)]
    expected = -(flow.log_prob(points[0]) + flow.log_prob(points[1])) / 2 / (16 * math.log(2))
    torch.testing.assert_close(score, expected)


def test_dequantized_values_stay_in_their_interval_in_fp32():
    flow = Flow.from_spec({**SPECS["image"], "event": {"shape": [1, 4, 4], "levels": 256}})
    k = torch.full((4000, 1, 4, 4), 255)
    x, _ = flow.dequantize(k, seed=0)
    assert x.dtype == torch.float32
    assert (x >= 255).all() and (x < 256).all()


def test_nll_of_continuous_data_is_negative_log_prob():
    flow = perturbed("vector")
    x, _ = batch(flow)
    assert flow.unit == "nats"
    torch.testing.assert_close(flow.nll(x), -flow.log_prob(x))


@ALL
def test_samples_are_seeded_and_rows_do_not_depend_on_n(name):
    flow = perturbed(name)
    _, context = batch(flow, 6)
    samples = flow.sample(6, context, seed=3)
    assert samples.shape == (6, *flow.event_shape)
    fewer = flow.sample(4, None if context is None else context[:4], seed=3)
    torch.testing.assert_close(fewer, samples[:4])
    assert not torch.equal(samples, flow.sample(6, context, seed=4))


def test_temperature_0_decodes_the_mode_of_the_base():
    flow = perturbed("vector")
    zeros = [torch.zeros(2, *shape, dtype=torch.float64) for shape in flow.latent_shapes]
    assert torch.equal(flow.sample(2, temperature=0, seed=1), flow.decode(zeros))


@pytest.mark.parametrize("name", ["labels", "arrays"])
def test_context_matters(name):
    flow = perturbed(name)
    x, context = batch(flow)
    other = context + 1 if context.is_floating_point() else (context + 1) % 5
    assert not torch.allclose(flow.log_prob(x, context), flow.log_prob(x, other))


@pytest.mark.parametrize(
    ("name", "x", "context", "words"),
    [
        ("vector", torch.zeros(2, 4), None, r"shape \[2, 4\]; this flow takes \[batch, 3\]"),
        ("vector", torch.zeros(3), None, r"takes \[batch, 3\]"),
        ("vector", np.zeros((2, 3)), None, r"x is a numpy.ndarray; a flow takes tensors: torch.as_tensor\(x\)"),
        ("vector", torch.zeros(2, 3, dtype=torch.int64), None, r"x is int64: use x.float\(\)"),
        ("vector", torch.zeros(2, 3, dtype=torch.float64), None, "x is float64 and this flow is float32"),
        ("vector", torch.zeros(2, 3), torch.zeros(2, 2), "takes no context"),
        ("image", torch.zeros(2, 1, 4, 4, dtype=torch.uint8), None, r"x is uint8: use nll\(x\) or bits_per_dim"),
        ("labels", torch.zeros(2, 1, 4, 4), None, "conditional: pass context, a label 0 … 4 for each"),
        ("labels", torch.zeros(2, 1, 4, 4), torch.zeros(3, dtype=torch.int64), r"this batch needs \[2\]"),
        ("labels", torch.zeros(2, 1, 4, 4), torch.zeros(2), "pass integers"),
        ("arrays", torch.zeros(2, 3), torch.zeros(2, 3), r"this batch needs \[2, 2\], or \[2\] for all events"),
    ],
)
def test_wrong_input_says_what_to_do(name, x, context, words):
    flow = Flow.from_spec(SPECS[name])
    with pytest.raises(InputError, match=words):
        flow.log_prob(x, context)


@pytest.mark.parametrize("method", ["nll", "encode"])
@pytest.mark.parametrize(("value", "range_"), [(17, "17 to 17"), (-1, "-1 to -1")])
def test_integers_outside_the_levels(method, value, range_):
    flow = Flow.from_spec(SPECS["image"])
    with pytest.raises(InputError, match=rf"x ranges from {range_}; this flow's levels are 0 … 16"):
        getattr(flow, method)(torch.full((2, 1, 4, 4), value))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int64])
def test_integers_of_any_type(dtype):
    flow = perturbed("image")
    x = torch.randint(0, 17, (2, *flow.event_shape))
    assert torch.equal(flow.bits_per_dim(x.to(dtype), seed=0), flow.bits_per_dim(x, seed=0))
    assert all(torch.equal(*pair) for pair in zip(flow.encode(x.to(dtype)), flow.encode(x), strict=True))
    with pytest.raises(InputError, match="x ranges from 17 to 17"):
        flow.bits_per_dim(torch.full_like(x, 17).to(dtype))


def test_parameters_that_are_no_floats_say_nothing_of_the_precision():
    layer, counts = ActNorm((3,)), torch.nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)
    layer._parameters = {"counts": counts, **layer._parameters}
    flow = Flow([layer]).double()
    assert flow.log_prob(torch.zeros(2, 3, dtype=torch.float64)).dtype == flow.dtype == torch.float64


def test_layers_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"layer 1 \(ActNorm\) takes events of shape \[3\]; \[4\] reaches it"):
        Flow([ActNorm((4,)), ActNorm((3,))])


def test_a_flow_without_layers_has_no_event():
    with pytest.raises(ShapeError, match="at least one layer"):
        Flow([])


def filled(flow, value):
    return torch.full((2, *flow.event_shape), value)


WRONG = {
    "bits/dim between levels": (
        lambda f: f.bits_per_dim(torch.full((2, *f.event_shape), 2.5)),
        "x holds 2.5, and integer data",
    ),
    "bits/dim of NaN": (
        lambda f: f.bits_per_dim(torch.full((2, *f.event_shape), math.nan)),
        "x holds nan, and integer data",
    ),
    "bits/dim of infinity": (
        lambda f: f.bits_per_dim(torch.full((2, *f.event_shape), math.inf)),
        "x ranges from inf to inf",
    ),
    "bits/dim of another shape": (lambda f: f.bits_per_dim(torch.zeros(2, 3)), r"x has shape \[2, 3\]"),
    "no draws": (lambda f: f.bits_per_dim(torch.zeros(2, *f.event_shape), draws=0), "draws must be .* got 0"),
    "a seed below 0": (lambda f: f.bits_per_dim(torch.zeros(2, *f.event_shape), seed=-1), "seed must be .* got -1"),
    "latents of another type": (lambda f: f.decode([z.float() for z in f.encode(_whole(f))]), "a latent is float32"),
    "latents of no type": (lambda f: f.decode([z.numpy() for z in f.encode(_whole(f))]), "z is a numpy"),
    "latents of other shapes": (lambda f: f.decode([torch.zeros(1, 2, 2, 2)]), "latents have event shapes"),
    "latents of other batches": (
        lambda f: f.decode([z[i:] for i, z in enumerate(f.encode(_whole(f)))]),
        "latents differ in their number of events: ",
    ),
}


def _whole(flow):
    return torch.ones(3, *flow.event_shape, dtype=torch.int64)


@pytest.mark.parametrize("call, says", WRONG.values(), ids=WRONG.keys())
def test_what_a_flow_cannot_take_is_told(call, says):
    with torch.no_grad(), pytest.raises(InputError, match=says):
        call(perturbed("image"))


@pytest.mark.parametrize(
    "first, says",
    {
        "an array": (lambda x: x.numpy(), "x is a numpy"),
        "integers": (lambda x: x, "a density needs continuous values"),
        "nothing": (lambda x: x[:0].double(), "x holds no events"),
        "NaN": (lambda x: x.double() * math.nan, "x holds NaN or infinity"),
    }.values(),
)
def test_a_first_batch_that_cannot_be_taken_initializes_nothing(first, says):
    flow = perturbed("image")
    with pytest.raises(InputError, match=says):
        flow.initialize(first(_whole(flow)))
    assert not flow.initialized


def test_a_distribution_has_one_context_for_all():
    flow = perturbed("labels")
    one = FlowDistribution(flow, torch.tensor([1]))
    x = one.sample((5,)).double()
    assert torch.equal(one.log_prob(x), FlowDistribution(flow, torch.tensor(1)).log_prob(x))


def test_layers_of_any_rank():
    """Parameters of five dimensions; events of two, frozen too."""
    layer = ActNorm((3, 4))
    layer.more = torch.nn.Parameter(torch.zeros(2, 2, 3, 3, 3))
    layer.bias.data += torch.arange(3.0)
    flow, x = Flow([layer, ActNorm((3, 4))]).double(), torch.randn(2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(flow.freeze().log_prob(x), flow.log_prob(x))
    torch.testing.assert_close(flow.freeze().decode(flow.encode(x)), x)


def test_standard_normal_is_torchs():
    z = torch.randn(5, 2, 3, dtype=torch.float64)
    expected = torch.distributions.Normal(0, 1).log_prob(z).sum((1, 2))
    torch.testing.assert_close(StandardNormal((2, 3)).log_prob(z), expected)


def test_distribution_adapter():
    flow = perturbed("arrays")
    distribution = FlowDistribution(flow, torch.tensor([0.3, 0.1], dtype=torch.float64))
    samples = distribution.sample((2, 5))
    assert samples.shape == (2, 5, 3)
    expected = flow.log_prob(samples.reshape(10, 3), torch.tensor([[0.3, 0.1]], dtype=torch.float64).expand(10, 2))
    torch.testing.assert_close(distribution.log_prob(samples), expected.reshape(2, 5))


def test_the_support_of_a_distribution_is_the_domain_of_its_spec():
    steps = [{"use": "map/to_reals"}, {"use": "glow/actnorm"}]
    event = {"shape": [4], "domain": [[0, 1], "positive", [None, 2], "real"]}
    support = FlowDistribution(Flow.from_spec({"flowkit": 1, "event": event, "flow": steps})).support
    x = torch.tensor([[0.5, 1.0, 1.0, 9.0], [2.0, -1.0, 3.0, 9.0], [0.5, 0.0, 1.0, 9.0]])
    assert support.check(x).tolist() == [True, False, False] and support.event_dim == 1
    arrays = FlowDistribution(Flow.from_spec(SPECS["arrays"]), torch.zeros(2))
    assert arrays.support.check(x[:, :3]).tolist() == [True] * 3


def test_first_nonfinite_names_layer_and_place():
    flow = perturbed("image")
    x, _ = batch(flow)
    assert first_nonfinite(flow, x) is None
    with torch.no_grad():
        flow.layers[5].log_scale[0] = math.nan
    assert first_nonfinite(flow, x) == "layer 5 (glow/actnorm at flow[2].flow[0])"


def test_a_flow_without_parameters_keeps_its_precision():
    flow = Flow([Permute((3,)), Permute((3,))]).double()
    for each in (flow, flow.freeze(), Flow([ActNorm((3,))]).double().freeze()):
        assert each.dtype == torch.float64
        assert each.sample(2, seed=0).dtype == torch.float64
        torch.testing.assert_close(
            each.freeze().log_prob(torch.ones(1, 3, dtype=torch.float64)).exp().item(),
            math.exp(-1.5) / (2 * math.pi) ** 1.5,
        )


def test_a_density_runs_through_few_files():
    """A reader who follows log_prob opens these, and the layers'."""
    flow, package = Flow.from_spec(SPECS["image"]), str(Path(flowkit.__file__).parent)
    x, opened = torch.rand(2, *flow.event_shape), set()
    sys.setprofile(lambda frame, event, argument: opened.add(frame.f_code.co_filename))
    try:
        flow.log_prob(x)
    finally:
        sys.setprofile(None)
    assert len([file for file in opened if file.startswith(package)]) <= 8
