"""The encoder of the context: run once per call, trained with the flow, exported with each graph that reads it."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

import flowkit_runtime
from flowkit.bijectors import Elementwise, Encoder
from flowkit.errors import InputError, PluginError
from flowkit.export import export
from flowkit.flow import Flow, FlowDistribution
from flowkit.flow.building import count_parameters
from flowkit.flow.layer_names import first_nonfinite
from flowkit.spec import read_spec
from flowkit.testing import perturb
from flowkit_encoder.conv import Conv
from flowkit_encoder.deep_set import DeepSet
from flowkit_encoder.gru import GRU
from flowkit_encoder.mlp import MLPEncoder
from flowkit_encoder.standardize import Standardize
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from flowkit_glow.mlp import MLP
from tests.flow.specs import SETS, SMALL, batch

BASE = {"use": "base/conditional_normal", "conditioner": {"use": "glow/mlp", "hidden": 4}}
SHAPES = {"mlp": [3], "conv": [2, 8, 8], "deep_set": [5, 2], "gru": [100, 2]}


def flow_with(use: str, shape: list[int], **fields: Any) -> Flow:
    """A flow whose layers and base read the summary, with moved parameters, in evaluation mode."""
    torch.manual_seed(0)
    context = {"shape": shape, "encoder": {"use": f"encoder/{use}", "features": 3, "hidden": 6, **fields}}
    flow = Flow.from_spec({**SMALL, "context": context, "base": BASE}).eval()
    x, given = batch(flow.double(), 64)
    flow.initialize(x, given)
    perturb(flow, 0.3)
    return flow


class Counted(Encoder):
    """Counts the contexts of each call."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder, self.rows = encoder, []

    def forward(self, context: Tensor) -> Tensor:
        self.rows.append(len(context))
        return self.encoder(context)

    def initialize(self, context: Tensor) -> None:
        self.encoder.initialize(context)


def counted() -> tuple[Flow, list[int]]:
    flow = flow_with("deep_set", [5, 2])
    flow.encoder = Counted(flow.encoder)
    return flow, flow.encoder.rows


CALLS = {
    "log_prob": (lambda flow, x, c: flow.log_prob(x, c), [6]),
    "log_prob, one for all": (lambda flow, x, c: flow.log_prob(x, c[0]), [1]),
    "encode": (lambda flow, x, c: flow.encode(x, c), [6]),
    "decode": (lambda flow, x, c: flow.decode([x], c), [6]),
    "latent_log_prob": (lambda flow, x, c: flow.latent_log_prob([x], c), [6]),
    "sample, one for all": (lambda flow, x, c: flow.sample(7, c[0]), [1]),
    "sample, for each of a batch": (lambda flow, x, c: flow.sample((4, 6), c), [6]),
    "rsample": (lambda flow, x, c: flow.rsample((2, 6), c), [6]),
    "sample_latents": (lambda flow, x, c: flow.sample_latents(6, c), [6]),
    "a distribution's log_prob": (lambda flow, x, c: FlowDistribution(flow, c[0]).log_prob(x), [1]),
    "a distribution's sample": (lambda flow, x, c: FlowDistribution(flow, c).sample((3,)), [6]),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_runs_the_encoder_once_and_each_context_once(name: str) -> None:
    call, rows = CALLS[name]
    flow, seen = counted()
    call(flow, *batch(flow, 6))
    assert seen == rows


def test_initialization_runs_it_once_after_its_own() -> None:
    flow = Flow.from_spec({**SETS, "base": BASE}).double()
    flow.encoder = Counted(flow.encoder)
    x, context = batch(flow, 64)
    flow.initialize(x, 100 + 7 * context)
    assert flow.encoder.rows == [64]
    summary = flow.encoder.encoder.standardize(100 + 7 * context)
    torch.testing.assert_close(summary.mean((0, 1)), torch.zeros(2).double())
    torch.testing.assert_close(summary.std((0, 1), correction=0), torch.ones(2).double())


def test_contexts_of_a_batch_and_their_events() -> None:
    """What is broadcast after it was encoded is what is encoded for each event."""
    flow = flow_with("deep_set", [5, 2])
    x, contexts = batch(flow, 3)
    samples = flow.sample((4, 3), contexts, seed=1)
    each = flow.sample(12, contexts.repeat(4, 1, 1), seed=1).view(4, 3, 2)
    torch.testing.assert_close(samples, each)
    torch.testing.assert_close(flow.sample((2, 3), contexts[:1], seed=1), flow.sample((2, 3), contexts[0], seed=1))
    torch.testing.assert_close(flow.log_prob(x, contexts[1]), flow.log_prob(x, contexts[1:2].expand(3, 5, 2)))
    given = FlowDistribution(flow, contexts)
    expected = torch.stack([flow.log_prob(x, context) for context in contexts], 1)
    torch.testing.assert_close(given.log_prob(x[:, None]), expected)


def test_its_parameters_and_the_contexts_get_gradients_of_samples() -> None:
    flow = flow_with("gru", [4, 2])
    context = batch(flow, 3)[1].requires_grad_()
    flow.rsample((2, 3), context, seed=0).square().sum().backward()
    assert context.grad.abs().sum((1, 2)).all() and all(p.grad.any() for p in flow.encoder.parameters())


def test_labels_are_one_hot_before_it() -> None:
    context = {"classes": 4, "encoder": {"use": "encoder/mlp", "features": 2, "hidden": 6}}
    flow = Flow.from_spec({**SETS, "context": context}).double()
    x, labels = batch(flow, 6)
    expected = flow.encoder(torch.nn.functional.one_hot(labels, 4).double())
    assert torch.equal(flow.encode_context(labels, x), expected) and expected.shape == (6, 2)
    with pytest.raises(InputError, match="labels outside"):
        flow.log_prob(x, labels + 4)


def test_a_frozen_flow_and_a_copy_have_it() -> None:
    flow = flow_with("deep_set", [5, 2])
    x, context = batch(flow, 5)
    for other in (flow.freeze(), copy.deepcopy(flow)):
        torch.testing.assert_close(other.log_prob(x, context), flow.log_prob(x, context))


def test_a_summary_that_is_not_finite_is_named() -> None:
    flow = flow_with("deep_set", [5, 2])
    x, context = batch(flow, 5)
    assert first_nonfinite(flow, x, context) is None
    flow.encoder.rho[0].bias.data[0] = torch.nan
    assert first_nonfinite(flow, x, context) == "the encoder of the context (DeepSet)"
    plain = Flow([Elementwise((2,), Affine(), MLP((3,), (2, 2)))], context={"shape": [3]})
    assert first_nonfinite(plain, torch.zeros(1, 2), torch.full((1, 3), torch.nan)) == "the context itself"


REFUSED = {
    "no context": ({"encoder": MLPEncoder((3,))}, "reads a context: say of which shape"),
    "no encoder": ({"context": {"shape": [3]}, "encoder": torch.nn.Linear(3, 2)}, "derives from flowkit.bijectors.Enc"),
    "as a spec": ({"context": {"shape": [3], "encoder": {"use": "encoder/mlp"}}}, "build it, and pass it as encoder="),
    "not built": ({"context": read_spec(SETS).context}, "build it, and pass it as encoder="),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_flow_built_in_python_refuses(name: str) -> None:
    arguments, says = REFUSED[name]
    with pytest.raises(InputError, match=says):
        Flow([ActNorm((2,))], **arguments)


def test_a_flow_built_in_python_is_written_with_it() -> None:
    built = flow_with("gru", [100, 2], layers=2)
    by_hand = Flow(list(built.layers), base=list(built.bases), context={"shape": [100, 2]}, encoder=built.encoder)
    assert by_hand.to_spec() == built.to_spec()
    by_hand.encoder = Counted(built.encoder)
    with pytest.raises(PluginError, match="Counted is not the target of any installed plugin"):
        by_hand.to_spec()


@pytest.mark.slow
@pytest.mark.parametrize("use", SHAPES)
def test_graphs_have_it(use: str, tmp_path: Path) -> None:
    """Those of the encoder, the decoder and the base: the runtime gives what torch gives."""
    flow = flow_with(use, SHAPES[use]).float()
    x, context = (each.float() for each in batch(flow.double(), 40))
    export(flow.float(), tmp_path / "bundle", x, context)
    model = flowkit_runtime.load(tmp_path / "bundle")
    assert model.context.shape == tuple(SHAPES[use])
    np.testing.assert_allclose(
        model.log_prob(x.numpy(), context.numpy()), flow.log_prob(x, context).detach(), atol=1e-3
    )
    samples = model.sample((5, 3), seed=2, context=context[:3].numpy())
    np.testing.assert_allclose(samples, flow.sample((5, 3), context[:3], seed=2), atol=1e-4)
    for file in ("encode", "decode", "base"):
        nodes = onnx.load(tmp_path / "bundle" / f"{file}.onnx").graph.node
        assert len(nodes) < 80  # a sequence of 100 steps isn't unrolled
        assert sum(node.op_type == "GRU" for node in nodes) == (use == "gru")


# The encoders of flowkit


def test_the_order_of_a_set_has_no_effect() -> None:
    encoder, sets = DeepSet((5, 2)), torch.randn(3, 5, 2)
    torch.testing.assert_close(encoder(sets.flip(1)), encoder(sets))


def test_the_units_are_those_of_the_paper() -> None:
    """The formula of the docstring, step by step."""
    torch.manual_seed(0)
    encoder, x = GRU((7, 2), features=3, hidden=4).double(), torch.randn(5, 7, 2, dtype=torch.float64)
    w, u, b, c = encoder.weights
    h = torch.zeros(5, 4, dtype=torch.float64)
    for step in x.unbind(1):
        of_x, of_h = (step @ w.T + b).chunk(3, 1), (h @ u.T + c).chunk(3, 1)
        r, z = ((a + b).sigmoid() for a, b in itertools.islice(zip(of_x, of_h, strict=True), 2))
        h = z * h + (1 - z) * (of_x[2] + r * of_h[2]).tanh()
    torch.testing.assert_close(encoder(x), encoder.last(h))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (5, 13), (28, 28)])
def test_images_of_any_size_are_summarized(height: int, width: int) -> None:
    assert Conv((2, height, width), features=3, hidden=4)(torch.randn(2, 2, height, width)).shape == (2, 3)


@pytest.mark.parametrize("shape", [(3,), (4, 3), (3, 1, 1)], ids=str)
def test_standardized_over_all_but_its_own_sizes(shape: tuple[int, ...]) -> None:
    context = 50 + 3 * torch.randn(400, *{1: (3,), 2: (4, 3), 3: (3, 5, 5)}[len(shape)], dtype=torch.float64)
    standardize = Standardize(shape).double()
    standardize.initialize(context)
    given = standardize(context)
    over = [0] if len(shape) < 3 else [0, 2, 3]
    torch.testing.assert_close(given.mean(over), torch.zeros_like(given.mean(over)))
    torch.testing.assert_close(given.std(over, correction=0), torch.ones_like(given.mean(over)))


def test_parameters_are_counted() -> None:
    spec = read_spec(SETS)
    assert count_parameters(spec)[2] == sum(p.numel() for p in Flow.from_spec(spec).encoder.parameters()) > 0


def test_cudnn_can_train_a_gru(monkeypatch: pytest.MonkeyPatch) -> None:
    """It computes gradients with train=True alone, and there is no dropout that would depend on the mode."""
    given: list[bool] = []
    gru = torch.gru
    monkeypatch.setattr(
        torch, "gru", lambda *args, train, **more: given.append(train) or gru(*args, train=train, **more)
    )
    GRU((3, 2)).eval()(torch.zeros(1, 3, 2))
    assert given == [True]
