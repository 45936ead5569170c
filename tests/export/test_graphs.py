"""Graphs: layers that are alike are traced once, what is constant is folded, and every opset gives the same numbers."""

from __future__ import annotations

import gc
from contextlib import nullcontext

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from flowkit.bijectors import AffineMap, Autoregressive, Bijector, ChannelLinear, Composition, Inverse
from flowkit.errors import ExportError, InputError
from flowkit.export import pieces
from flowkit.export.graphs import OPSETS, Graphs
from flowkit.export.pieces import EXAMPLES
from flowkit.export.stitching import cpu_session, make_model
from flowkit.export.structure import structure
from flowkit.flow import Flow
from flowkit.testing import perturb
from flowkit_autoregressive.made import MADE
from flowkit_autoregressive.orders import Natural, Reversed
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from flowkit_glow.conv1x1 import Conv1x1
from flowkit_runtime.bundle import DECODER, ENCODER
from tests.export.conftest import encoder_of
from tests.extent import extent
from tests.flow.specs import PRIOR, STEP, batch, perturbed


def run(model: onnx.ModelProto, outputs=None, **feed):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(outputs, {name: t.float().numpy() for name, t in feed.items()})


def assert_same(flow: Flow, graphs: Graphs) -> None:
    x, _ = batch(flow, 5)
    x = x.float().double()
    with torch.no_grad():
        latents, log_det = flow.forward_and_log_det(x)
        log_prob = flow.latent_log_prob(latents) + log_det
    for given, wanted in zip(run(graphs.models[ENCODER], x=x), [*latents, log_prob], strict=True):
        np.testing.assert_allclose(given, wanted, atol=1e-5 * (1 + float(wanted.abs().max())))
    feed = {f"z_{i}": z for i, z in enumerate(latents, 1)}
    np.testing.assert_allclose(run(graphs.models[DECODER], **feed)[0], x, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("opset", extent([OPSETS[0], OPSETS[-1]], list(OPSETS)))
def test_every_opset_gives_the_same(opset):
    flow = perturbed("vector", scale=0.05)
    graphs = Graphs(flow, opset)
    for model in (graphs.models[ENCODER], graphs.models[DECODER]):
        assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
        onnx.checker.check_model(model, full_check=True)
    assert_same(flow, graphs)


def test_the_inverse_of_a_channel_linear_layer_is_a_constant_map():
    """torch exports neither the inverse of a matrix nor that of its LU factors."""
    torch.manual_seed(0)
    flow = Flow([Inverse(Conv1x1((4,), "lu")), Inverse(Conv1x1((4,), "plain"))]).double().eval()
    graphs = Graphs(flow)
    assert [node.op_type for node in graphs.models[DECODER].graph.node] == ["Gemm", "Gemm"]
    assert_same(flow, graphs)


@pytest.mark.parametrize("opset", [17, 25])
def test_other_opsets_are_refused(opset):
    with pytest.raises(InputError, match=f"opset {opset}: choose one from 18 to 24"):
        Graphs(perturbed("vector"), opset)


@pytest.fixture(scope="module")
def traced():
    """The calls that were traced for the graphs of three steps, and the graphs."""
    calls = []
    honest = pieces._trace_all
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_trace_all", lambda distinct, *args: calls.append(distinct) or honest(distinct, *args))
        return calls, Graphs(deep(steps=3))


@pytest.fixture
def three_steps(traced):
    return traced[1]


def test_steps_that_are_alike_are_traced_once(traced):
    (distinct,), graphs = traced
    names = sorted(type(step.call.module).__name__ for step, _ in distinct)  # of the encoder and of the decoder
    assert names == ["Coupling", "Coupling", "FrozenChannels", "FrozenChannels", "StandardNormal"]
    assert_same(deep(steps=3), graphs)  # each step has its own numbers, though it is traced once


def test_autoregressive_layers_are_traced_once_whatever_their_orders(monkeypatch):
    distinct, captured = [], []
    trace, capture = pieces._trace_all, torch.export.export
    monkeypatch.setattr(pieces, "_trace_all", lambda calls, *args: distinct.extend(calls) or trace(calls, *args))
    monkeypatch.setattr(torch.export, "export", lambda *args, **named: captured.append(1) or capture(*args, **named))
    torch.manual_seed(0)
    orders = Natural((3,)), Reversed((3,))
    flow = Flow([Autoregressive(order, MADE(order, (2, 3), hidden=8), Affine()) for order in orders]).double().eval()
    perturb(flow, 0.3)
    assert_same(flow, Graphs(flow))
    names = sorted(type(instruction.call.module).__name__ for instruction, _ in distinct)
    assert names == ["Autoregressive", "Autoregressive", "StandardNormal"]  # of the encoder and of the decoder
    assert len(captured) == 1  # torch.onnx does it again, in a slower way, if the first way fails


@pytest.mark.parametrize("fails", [False, True])
def test_the_garbage_collector_rests_while_a_flow_is_traced(monkeypatch, fails):
    honest, running = torch.onnx.export, []

    def export(*args, **options):
        running.append(gc.isenabled())
        if fails:
            raise RuntimeError("no graph")
        return honest(*args, **options)

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(ExportError, match="no graph") if fails else nullcontext():
        Graphs(Flow([ActNorm((2,))]).double().eval())
    assert not any(running)
    assert gc.isenabled()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_a_trace_that_is_stopped_is_not_tried_again(monkeypatch, stop):
    attempts = []

    def export(*args, **options):
        attempts.append(args)
        try:
            raise stop
        except BaseException as error:
            raise RuntimeError("export failed") from error

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(stop):
        Graphs(Flow([ActNorm((2,))]).double().eval())
    assert len(attempts) == 1


def deep(steps: int) -> Flow:
    torch.manual_seed(0)
    spec = {"flowkit": 1, "event": {"shape": [4, 2, 2]}, "flow": [{"repeat": steps, "flow": [*STEP[:2], PRIOR]}]}
    flow = Flow.from_spec(spec).double().eval()
    for parameter in flow.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return flow


def test_what_is_constant_is_folded(three_steps):
    encoder = three_steps.models[ENCODER]
    operators = [node.op_type for node in encoder.graph.node]
    assert operators.count("Conv") == 3 * (1 + 1)  # a run of channel maps, and the network
    assert operators.count("Sum") == 1 and operators[-1] == "Sum"
    constants = {tensor.name for tensor in encoder.graph.initializer}
    assert constants <= {name for node in encoder.graph.node for name in node.input}  # none is dead
    for node in encoder.graph.node:  # none is left that every batch would compute anew
        assert not constants.issuperset(node.input), node.name
    total = onnx.numpy_helper.to_array(next(t for t in encoder.graph.initializer if t.name == "log_prob/constant"))
    log_dets = [4 * run_.log_det.item() for run_ in deep(steps=3).freeze().layers if hasattr(run_, "log_det")]
    assert total == pytest.approx(sum(log_dets), rel=1e-5) and total.shape == ()


def test_values_are_named_after_what_they_are(three_steps):
    values = [name for node in three_steps.models[ENCODER].graph.node for name in node.output]
    assert {"h_1", "h_5", "log_det_6", "z_1", "log_prob"} <= set(values) and len(values) == len(set(values))


def test_the_shapes_of_all_values_are_known(three_steps):
    """Without them onnxruntime takes long to open a graph."""
    for graph in (three_steps.models[ENCODER].graph, three_steps.models[DECODER].graph):
        infos = {info.name: info.type.tensor_type for info in (*graph.value_info, *graph.output)}
        assert infos.keys() == {name for node in graph.node for name in node.output}
        assert all(info.HasField("shape") for info in infos.values())
        assert all(size.dim_param or size.dim_value for info in infos.values() for size in info.shape.dim)


class Regrouped(Bijector):
    """x -> 2 x + 1, computed on all values of a batch as one row, and on its squares."""

    def forward_and_log_det(self, x, context=None):
        return self.all_in_one(x) * 2 + 1, x.new_full((x.shape[0],), 4).log() * 2

    def inverse_and_log_det(self, y, context=None):
        return (self.all_in_one(y) - 1) / 2, y.new_full((y.shape[0],), 4).log() * -2

    @staticmethod
    def all_in_one(x):
        row = x.reshape(-1)
        return (torch.cat([row, row]).square()[: row.shape[0]] * 0 + row).reshape(x.shape)


def test_sizes_that_are_made_of_the_batchs_are_other_sizes():
    flow = Flow([Regrouped((2, 1, 2)), ActNorm((2, 1, 2)), Regrouped((2, 1, 2))])
    encoder = encoder_of(flow, torch.zeros(EXAMPLES, 2, 1, 2))
    for n in (1, 5):
        x = torch.randn(n, 2, 1, 2)
        np.testing.assert_allclose(run(encoder, x=x)[0], 4 * x + 3, rtol=1e-6)


def test_a_flow_that_only_reorders_has_graphs():
    flow = Flow.from_spec({"flowkit": 1, "event": {"shape": [2, 4, 4]}, "flow": [{"use": "glow/squeeze"}]}).double()
    assert_same(flow, Graphs(flow))


class Aside(Bijector):
    """y = x; gives its input back as it is, and a log-det that is no constant."""

    def forward_and_log_det(self, x, context=None):
        return x, 0 * x.sum(1)

    def inverse_and_log_det(self, y, context=None):
        return y, 0 * y.sum(1)


class Tied(Bijector):
    """A module in two places, in another a parameter of its, and functions that are written anew, in fp64."""

    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.first = self.again = nn.Linear(3, 3)
        self.other = nn.Linear(3, 3)
        self.other.weight = self.first.weight

    def shift(self):
        return self.again(torch.sigmoid(self.first(torch.ones(1, 3).to(self.first.weight))))

    def forward_and_log_det(self, x, context=None):
        precise = torch.log1p(torch.sigmoid(x.double())).sum(1)
        return x + self.other(self.shift()), 0 * precise.to(x.dtype)

    def inverse_and_log_det(self, y, context=None):
        return y - self.other(self.shift()), y.new_zeros(y.shape[0])


class Scaled(ChannelLinear):
    """y = s x; s is a plain attribute."""

    def __init__(self, event_shape, s):
        super().__init__(event_shape)
        self.s = s

    def affine(self):
        s = torch.tensor(self.s)
        return AffineMap(s, None, self.event_shape[0] * s.log())


class Halved(Bijector):
    """y = x / s, s in a plain attribute or a list."""

    def __init__(self, event_shape, s):
        super().__init__(event_shape)
        self.s = s

    def forward_and_log_det(self, x, context=None):
        s = self.s[0] if isinstance(self.s, list) else self.s
        return x / s, (x / x).sum(1) * -np.log(float(s))

    def inverse_and_log_det(self, y, context=None):
        s = self.s[0] if isinstance(self.s, list) else self.s
        return y * s, (y / y).sum(1) * np.log(float(s))


@pytest.mark.slow
def test_layers_that_are_shared_tied_or_nearly_alike_have_their_own_numbers():
    """One layer stands twice, or gives its input back; modules and tensors are tied; layers differ in a setting alone.

    They are channel-linear, or have a number, a list or a tensor that no state_dict holds.
    """
    twice = ActNorm((3,))
    with torch.no_grad():
        twice.log_scale.add_(0.3)
    settings = (2.0, 3.0, [2.0], [3.0], torch.tensor(2.0), torch.tensor(3.0))
    nearly_alike = [Scaled((3,), 2.0), Aside((3,)), Scaled((3,), 3.0), *(Halved((3,), s) for s in settings)]
    layers = [Aside((3,)), Aside((3,)), twice, Composition([Aside((3,)), twice]), Tied((3,)), Tied((3,))]
    flow = Flow([*nearly_alike, *layers]).double().eval()
    x = torch.randn(5, 3)
    encoder = encoder_of(flow.freeze().float(), x[:EXAMPLES])
    latents, log_prob = (t.detach() for t in (flow.encode(x.double())[0], flow.log_prob(x.double())))
    for given, wanted in zip(run(encoder, x=x), [latents, log_prob], strict=True):
        np.testing.assert_allclose(given, wanted, atol=1e-5 * (1 + float(wanted.abs().max())))


class Centered(Bijector):
    """Its tensors are called as torch calls the values that it computes."""

    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.mean, self.add = nn.Parameter(torch.ones(3)), nn.Parameter(torch.full((3,), 2.0))
        self.register_buffer("val_0", torch.full((3,), 3.0))

    def forward_and_log_det(self, x, context=None):
        y = x + self.add
        return y - self.mean * self.val_0, x.mean(1) * 0

    def inverse_and_log_det(self, y, context=None):
        return y + self.mean * self.val_0 - self.add, y.mean(1) * 0


def test_tensors_may_be_called_as_values_are():
    flow, x = Flow([Centered((3,))]), torch.randn(4, 3)
    latents, _ = run(encoder_of(flow.freeze(), x[:EXAMPLES]), x=x)
    np.testing.assert_allclose(latents, x - 1, rtol=1e-6, atol=1e-6)


def test_warnings_about_optimizations_are_not_shown(capfd):
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    unused = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "unused")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Abs", ["x"], ["y"])], "g", [x], [], [unused])
    graph.output.append(onnx.helper.make_empty_tensor_value_info("y"))
    cpu_session(make_model(graph, 20).SerializeToString())
    assert capfd.readouterr() == ("", "")


def test_hooks_make_a_module_its_own():
    plain, hooked, other = (nn.Linear(2, 2) for _ in range(3))
    assert structure(plain) == structure(other)
    hooked.register_forward_hook(lambda module, args, output: output + 1)
    assert structure(hooked) != structure(plain)


def test_a_layer_whose_graph_is_invalid_is_named(monkeypatch):
    """torch gives such a graph for nn.MultiheadAttention in a batch of any size."""

    def refuse(model, full_check):
        raise onnx.shape_inference.InferenceError(
            "Inference error(s): (op_type:Reshape, node name: 0_Coupling/49_Reshape)"
        )

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(
        ExportError, match=r"can't be exported to ONNX: torch translates it to a graph that isn't valid"
    ):
        Graphs(Flow([ActNorm((3,))]).double())
