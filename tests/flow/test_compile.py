"""flow.compile: the same numbers, one graph for all batch sizes, and nothing else about the flow changes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch._inductor import config as inductor

from flowkit.bijectors import AffineMap, Bijector, ChannelLinear, Conditioner, Coupling
from flowkit.errors import FlowkitError, InputError, SpecError
from flowkit.flow import Flow
from flowkit.shapes import Shape
from flowkit.spec import read_spec
from flowkit.testing import BijectorSubject, perturb
from flowkit.testing.run import run_check
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Additive, Affine
from flowkit_glow.permute import Permute
from flowkit_glow.splits import Channels
from tests.extent import extent
from tests.flow.specs import IMAGE, LABELS, SMALL, SPECS, batch, perturbed
from tests.plugins.cases import coupling


@pytest.fixture(autouse=True)
def _no_graphs() -> Iterator[None]:
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


BACKEND = "aot_eager_decomp_partition"
"""The graphs, forward and backward, as a code generator gets them, run as they are. (Under aot_eager pixel_unshuffle
of a single channel, with an open batch size, comes in another memory format than it was traced with.)"""


CPP = {"cpp_wrapper": True, "cpp_wrapper_build_separate": True}


def compiled(flow: Flow, backend: Any = BACKEND, scope: Any = "flow") -> Flow:
    other = copy.deepcopy(flow)
    other.compile(scope, backend=backend)
    return other


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def density(flow: Flow, n: int) -> list[Tensor]:
    return grads(flow, *batch(flow, n))


def grads(flow: Flow, x: Tensor, context: Tensor | None) -> list[Tensor]:
    """log p and the gradients of all parameters."""
    log_prob = flow(x, context)
    return [log_prob.detach(), *torch.autograd.grad(log_prob.square().mean(), list(flow.parameters()))]


@torch.no_grad()
def there_and_back(flow: Flow, n: int) -> list[Tensor]:
    """The latents, and x and log|det| of the way back."""
    x, context = batch(flow, n)
    latents = flow.encode(x, context)
    return [*latents, *flow.inverse_and_log_det(latents, context)]


def assert_same(given: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for mine, plain in zip(given, expected, strict=True):
        torch.testing.assert_close(mine, plain, rtol=tolerance, atol=tolerance)


def small() -> Flow:
    torch.manual_seed(0)
    flow = Flow.from_spec(SMALL).double().eval()
    perturb(flow, 0.2)
    return flow


FAST = [("small", "checkpoint", "step")]
SLOW = [
    *(("image", "checkpoint", "step"), ("labels", "store", "flow")),
    *(("vector", "checkpoint", "flow"), ("sets", "store", "step")),
]
"""Each flow, and each strategy with each scope; `make nightly` has all three together."""
ALL = list(product(SPECS, ("store", "checkpoint"), ("flow", "step")))
CASES = [*FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in extent(SLOW, ALL))]


@pytest.mark.parametrize(("spec", "memory", "scope"), CASES)
def test_the_numbers_are_the_same_and_one_graph_serves_all_batch_sizes(spec: str, memory: str, scope: str) -> None:
    flow = small() if spec == "small" else perturbed(spec)
    flow.memory = memory
    other = compiled(flow, scope=scope)
    for what in (density, there_and_back):
        counts = []
        for n in (4, 3, 6):
            assert_same(what(other, n), what(flow, n), 1e-10)
            counts.append(graphs())
        assert counts[0] > 0 and counts[0] == counts[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "scope"), extent([("labels", "flow")], [*((spec, "flow") for spec in SPECS), ("labels", "step")])
)
def test_generated_code_gives_the_same_numbers(spec: str, scope: str) -> None:
    flow = perturbed(spec)
    other = compiled(flow, "inductor", scope)
    for what in extent([density], [density, there_and_back]):
        for n in (4, 3, 6):
            assert_same(what(other, n), what(flow, n), 1e-9)


@pytest.mark.slow
def test_code_is_not_generated_again_for_a_third_batch_size() -> None:
    """torch has other convolutions for less than 16 events, and other code for sums of more than 4,096 numbers, which
    those over the batch and 16×16 positions are from 17 events on."""
    flow = Flow.from_spec({**LABELS, "event": {"shape": [1, 32, 32], "levels": 17}})
    perturb(flow, 0.2)
    other = compiled(flow, "inductor")
    counts = []
    for n in (20, 3, 16, 40):
        x, context = batch(flow, n)
        given, expected = (grads(each, x.float(), context) for each in (other, flow))
        assert_same(given, expected, 1e-3)
        counts.append(graphs())
    assert counts == [1, 2, 2, 2]


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({}, {"options": CPP}),
        ({"options": {"cpp_wrapper": False}}, {"options": {**CPP, "cpp_wrapper": False}}),
        ({"mode": "reduce-overhead"}, {}),
        ({"backend": BACKEND}, {}),
    ],
)
def test_on_a_cpu_code_calls_code(given: dict[str, Any], more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is said against it: torch takes no options beside a mode."""
    used = []
    monkeypatch.setattr(
        torch, "compile", lambda function, **options: lambda *args: used.append(options) or function(*args)
    )
    flow = Flow([Shift((2,))]).double()
    flow.compile(**given)
    there_and_back(flow, 3)
    assert used == [{"fullgraph": True, **given, **more}] * 2


@pytest.mark.parametrize(("scope", "grows"), [("flow", True), ("step", False)])
def test_code_of_steps_does_not_grow_with_depth(scope: str, grows: bool) -> None:
    """Where steps differ in their numbers alone. One that differs in more has code of its own."""

    def operators(*layers: Bijector) -> int:
        """Of the graph and of its regions, each counted once."""
        counts = []

        def count(module: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
            graphs = [part.graph for part in module.modules() if isinstance(part, torch.fx.GraphModule)]
            nodes = [node for graph in graphs for node in graph.nodes]
            counts.append(sum(node.op == "call_function" and "invoke" not in str(node.target) for node in nodes))
            return module

        flow = compiled(Flow(list(layers)).double(), count, scope)
        x = torch.randn(3, 4, dtype=torch.float64)
        torch.testing.assert_close(flow.encode(x)[0], flow.freeze().encode(x)[0])
        return counts[0]

    def step(swap: bool = False) -> Bijector:
        return coupling((4,), Additive(), swap=swap, layers=1)

    deep, shallow = operators(step(), step(), step()), operators(step())
    assert (deep > 2 * shallow) == grows
    if scope == "step":
        assert operators(step(), step(swap=True)) > 1.5 * shallow


class Transposed(ChannelLinear):
    """It reads .T of a parameter, which torch puts into the graph of the whole flow, outside of the region."""

    def __init__(self, event_shape: Shape) -> None:
        super().__init__(event_shape)
        self.weight = nn.Parameter(torch.eye(*event_shape, *event_shape))

    def affine(self) -> AffineMap:
        return AffineMap(self.weight.T, None, torch.linalg.slogdet(self.weight).logabsdet)


def test_a_layer_that_cannot_be_compiled_by_steps_is_explained() -> None:
    flow, x = Flow([Transposed((2,)), coupling((2,), Affine())]).double(), torch.randn(3, 2).double()
    with pytest.raises(FlowkitError, match=r"reads \.T or \.mT of a parameter"):
        compiled(flow, scope="step").encode(x)
    torch.testing.assert_close(compiled(flow, "eager").encode(x), flow.encode(x))


def test_many_flows_may_be_compiled_in_one_process() -> None:
    """More than torch's limits of graphs for one function: 8, and 256 in all."""
    with torch._dynamo.config.patch(recompile_limit=2, accumulated_recompile_limit=2):
        for size in (1, 2, 3):
            compiled(Flow([ActNorm((size,))]), "eager").encode(torch.zeros(3, size))


@pytest.mark.slow
def test_a_flow_may_be_used_in_many_ways() -> None:
    """Each takes a graph of its own, and torch by itself gives up at the ninth."""
    flow = perturbed("vector").float()
    other = compiled(flow, "eager")
    for ways in product((True, False), (True, False), (True, False), (4, 1)):
        to_x, gradients, autocast, n = ways
        x, context = batch(flow, n)
        x = x.float().requires_grad_(to_x)
        with torch.set_grad_enabled(gradients), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            given, expected = (each(x, context) for each in (other, flow))
        assert_same([given], [expected], 1e-5)
    assert graphs() > 8


def test_a_compiled_flow_may_be_part_of_what_is_compiled() -> None:
    flow = compiled(small(), "eager")
    x, context = batch(flow, 4)
    whole = torch.compile(lambda x, context: flow(x, context).sum(), backend="eager", fullgraph=True)
    assert_same([whole(x, context)], [flow(x, context).sum()], 1e-10)


def test_compiling_leaves_state_copies_and_the_frozen_flow_alone() -> None:
    flow = perturbed("image")
    other = compiled(flow)
    assert list(other.state_dict()) == list(flow.state_dict())
    for again in (copy.deepcopy(other), pickle.loads(pickle.dumps(other)), other.freeze()):
        assert_same(there_and_back(again, 3), there_and_back(flow, 3), 1e-10)
    assert graphs() == 0


def test_new_weights_and_new_layers_are_followed() -> None:
    flow = compiled(Flow([ActNorm((3,)), Permute((3,))]).double(), "eager")
    there_and_back(flow, 3)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1)
    assert_same(there_and_back(flow, 3), there_and_back(Flow(list(flow.layers)), 3), 1e-10)
    flow.layers[1] = Shift((3,))
    afresh = Flow(list(flow.layers))
    assert_same(there_and_back(flow, 3), there_and_back(afresh, 3), 1e-10)


class Shift(Bijector):
    """y = x + 1."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x + 1, x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y - 1, y.new_zeros(y.shape[0])


class Breaking(Shift):
    """A layer that no graph can hold."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x + len(str(x.sum().item())), x.new_zeros(x.shape[0])


def test_a_layer_that_breaks_the_graph_is_an_error() -> None:
    with pytest.raises(torch._dynamo.exc.Unsupported):
        there_and_back(compiled(Flow([Breaking((2,))]).double()), 3)


class RowByRow(Shift):
    """Events one after another: a graph of as many rows as there are."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.stack([row + 1 for row in x]), x.new_zeros(x.shape[0])


def test_the_kit_says_which_bijector_is_compiled_again_for_each_batch_size() -> None:
    result = run_check(BijectorSubject(lambda: RowByRow((2,))), "compile")
    assert result.is_error and "log_prob is compiled again for a third batch size" in result.reason


class Recurrent(Conditioner):
    """A network that torch compiles only if it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(1, 4, batch_first=True)

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        return self.gru(kept[..., None])[1][-1].unflatten(1, (2, 2))


def test_recurrent_networks_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._dynamo.config, "allow_rnn", False)
    flow, x = Flow([Coupling(Channels((4,)), Recurrent(), Affine())]), torch.randn(5, 4)
    expected = flow.log_prob(x)
    flow.compile(backend="eager")
    torch.testing.assert_close(flow.log_prob(x), expected)


def test_wrong_inputs_are_errors_as_without() -> None:
    with pytest.raises(InputError, match="x has shape"):
        compiled(Flow([Shift((2,))])).log_prob(torch.zeros(3, 4))


def test_reversible_is_refused_before_and_after() -> None:
    flow = perturbed("image")
    flow.memory = "reversible"
    with pytest.raises(FlowkitError, match="use checkpoint or store"):
        flow.compile()
    flow.memory = "store"
    flow.compile(backend=BACKEND)
    with pytest.raises(FlowkitError, match="use checkpoint or store"):
        flow.memory = "reversible"
    assert flow.memory == "store"


def test_reversible_is_refused_in_a_spec() -> None:
    with pytest.raises(SpecError, match=r"train.compile.*\n?.*memory: checkpoint"):
        read_spec({**IMAGE, "train": {"compile": True, "memory": "reversible"}})


def test_a_missing_compiler_is_an_error_that_says_so() -> None:
    with (
        inductor.patch("cpp.cxx", (None, "no-such-compiler")),
        pytest.raises(FlowkitError, match=r"no C\+\+ compiler.*install"),
    ):
        perturbed("image").compile()


def test_it_is_nn_modules_compile() -> None:
    flow = Flow([Shift((2,))])
    assert isinstance(flow, nn.Module) and flow.compile(backend=BACKEND, dynamic=True) is None
    assert graphs() == 0
