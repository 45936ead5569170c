"""A layer brings its own translation of an operator that torch.onnx doesn't know."""

from __future__ import annotations

from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from onnxscript import opset18 as op
from torch import Tensor, nn

from flowkit.bijectors import Bijector
from flowkit.errors import ExportError
from flowkit.export.graphs import make_graphs
from flowkit.export.pieces import EXAMPLES
from flowkit.export.program import Program
from flowkit.export.translations import translations_of
from flowkit.flow import Flow
from flowkit.testing import BijectorSubject, check
from tests.export.conftest import encoder_of

pytestmark = pytest.mark.slow

SEARCH = torch.ops.aten.searchsorted.Tensor


class Untranslated(Bijector):
    """y = x e^s, with one s for negative x and another for positive x."""

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.log_slopes = nn.Parameter(torch.tensor([0.5, -0.5]))
        self.register_buffer("edges", torch.zeros(1))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        s = self.log_slopes[torch.searchsorted(self.edges, x)]
        return x * s.exp(), s.flatten(1).sum(1)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        s = self.log_slopes[torch.searchsorted(self.edges, y)]
        return y * (-s).exp(), -s.flatten(1).sum(1)


def forward_graph(layer: Bijector) -> onnx.ModelProto:
    program = Program.of_function("layer", layer, type(layer).forward_and_log_det, 1, 2)
    return make_graphs([program], [[torch.zeros(EXAMPLES, *layer.event_shape)]])[0]


def searchsorted(edges: Any, x: Any, **options: Any) -> Any:
    last = op.Constant(value_ints=[-1])
    return op.ReduceSum(op.Cast(op.Less(edges, op.Unsqueeze(x, last)), to=7), last, keepdims=0)  # 7: int64


class Translated(Untranslated):
    """The same."""

    @staticmethod
    def onnx_translations() -> dict[Any, Any]:
        return {SEARCH: searchsorted}


class Inherits(Translated):
    """It has the method of its parent, and that is no conflict."""


def test_the_kit_says_if_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Translated, "onnx_translations", staticmethod(lambda: {SEARCH: lambda e, x, **_: _none(x)}))
    with pytest.raises(AssertionError, match="onnxruntime is off by"):
        check(BijectorSubject(lambda: Translated((2,))), only=("onnx",))


def _none(x: Any) -> Any:
    return op.Mul(op.Cast(x, to=7), op.Constant(value_ints=[0]))


def test_the_error_without_one_names_the_way_out() -> None:
    with pytest.raises(ExportError, match=r"aten\.searchsorted.*static method onnx_translations.*plugin-contracts"):
        forward_graph(Untranslated((2,)))


def search_right(edges: Any, x: Any, **options: Any) -> Any:
    last = op.Constant(value_ints=[-1])
    return op.ReduceSum(op.Cast(op.LessOrEqual(edges, op.Unsqueeze(x, last)), to=7), last, keepdims=0)


class Other(Untranslated):
    """It translates the same operator in another way."""

    @staticmethod
    def onnx_translations() -> dict[Any, Any]:
        return {SEARCH: search_right}


def test_graphs_have_what_the_translation_of_each_layer_writes() -> None:
    """Two layers may translate the same operator in different ways."""
    flow = Flow([Translated((2,)), Other((2,)), Inherits((2,))])
    encoder = encoder_of(flow, torch.zeros(EXAMPLES, 2))
    operators = [node.op_type for node in encoder.graph.node]
    assert operators.count("Less") == 2 and operators.count("LessOrEqual") == 1
    x = torch.tensor([[1.0, -1.0], [-0.5, 2.0]])
    session = onnxruntime.InferenceSession(encoder.SerializeToString(), providers=["CPUExecutionProvider"])
    z, log_prob = session.run(None, {"x": x.numpy()})
    latents, _ = flow.double().forward_and_log_det(x.double())
    torch.testing.assert_close(torch.from_numpy(z).double(), latents[0].detach(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(
        torch.from_numpy(log_prob).double(), flow.log_prob(x.double()).detach(), rtol=1e-6, atol=0
    )


def test_two_translations_of_one_operator_in_a_layer() -> None:
    layer = nn.Sequential(Translated((2,)), Other((2,)))
    with pytest.raises(ExportError, match=r"Other and Translated both translate aten\.searchsorted\.Tensor"):
        translations_of(layer)


def test_a_translation_of_ones_own_comes_before_flowkits() -> None:
    sigmoid = torch.ops.aten.sigmoid.default
    module = type("Brings", (nn.Module,), {"onnx_translations": staticmethod(lambda: {sigmoid: op.Sigmoid})})()
    assert translations_of(module)[sigmoid] == op.Sigmoid


@pytest.mark.parametrize(
    ("brings", "words"),
    [
        (lambda: [SEARCH], r"must return a dict of functions by operators of torch, .*, not \[<OpOverload"),
        (lambda: {"aten.searchsorted": searchsorted}, "onnx_translations of Brings must .*, not {'aten.searchsorted'"),
        (lambda: {torch.ops.aten.searchsorted: searchsorted}, "such as torch.ops.aten.erfc.default, not {<OpOverload"),
        (lambda: {SEARCH: "searchsorted"}, "not {<OpOverload.*'searchsorted'}"),
        (lambda: 1 / 0, "onnx_translations of Brings fails: ZeroDivisionError"),
    ],
)
def test_what_is_no_translation(brings: Any, words: str) -> None:
    module = type("Brings", (nn.Module,), {"onnx_translations": staticmethod(brings)})()
    with pytest.raises(ExportError, match=words):
        translations_of(module)
