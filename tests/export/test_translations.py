"""Operators that are written another way than torch.onnx does: what they give in onnxruntime against torch in fp64."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flowkit.export import pieces
from flowkit.export.translations import TRANSLATIONS

ROUNDING = 4 * torch.finfo(torch.float32).eps


class Operators(nn.Module):
    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.named(*given).values())

    @staticmethod
    def named(x: Tensor, y: Tensor, w: Tensor, half: Tensor) -> dict[str, Tensor]:
        return {
            "softmax, first": x.softmax(0),
            "softmax, in the middle": x.softmax(-2),
            "softmax, last": x.softmax(-1),
            "softmax, last, from the front": (x + 1).softmax(2),
            "softmax in fp32": torch.softmax(half, 1, dtype=torch.float32),
            "logsumexp": x.logsumexp(1),
            "logsumexp, two dimensions": x.logsumexp((0, -1), keepdim=True),
            "lerp": torch.lerp(x, y, w),
            "lerp, broadcast": torch.lerp(x, y[:, :1], w[..., :1]),
        }


@pytest.fixture(scope="module")
def given() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x, y, half = (torch.randn(5, 4, 3, generator=generator) * 100 for _ in range(3))
    x[0], y[0] = 1e8, 1e-8  # a short way from a large number to a small one
    w = torch.rand(5, 4, 3, generator=generator)
    w[:2, 0], w[:2, 1] = 1.0, 1 - 2**-24
    return x, y, w, half.half()


@pytest.fixture(scope="module")
def model(given):
    batch = torch.export.Dim("batch")
    return pieces._export(Operators(), given, ["x", "y", "w", "half"], ({0: batch},) * len(given), 20, TRANSLATIONS)


def test_they_are_right_to_rounding(model, given):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results = session.run(None, {node.name: t.numpy() for node, t in zip(session.get_inputs(), given, strict=True)})
    x, y, w, half = (t.double() for t in given)
    y0, w0 = y[:, :1], w[..., :1]
    largest = {"lerp": (1 - w) * abs(x) + w * abs(y), "lerp, broadcast": (1 - w0) * abs(x) + w0 * abs(y0)}
    for (name, exact), result in zip(Operators.named(x, y, w, half).items(), results, strict=True):
        assert result.dtype == np.float32, name
        error = abs(torch.from_numpy(result) - exact)
        assert (error <= ROUNDING * largest.get(name, exact.abs().clamp(min=1))).all(), (name, error.max())


class Attention(nn.Module):
    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        q, k, v = given
        attention, heads = F.scaled_dot_product_attention, [t.unflatten(2, (2, 2)).transpose(1, 2) for t in given]
        near = (torch.arange(4)[:, None] - torch.arange(6)).abs() < 3
        return (
            attention(q, k, v),
            attention(*heads),
            attention(q, k, v, is_causal=True, scale=0.3),
            attention(*heads, is_causal=True),
            attention(q, k, v, attn_mask=near),
            attention(*heads, attn_mask=near.to(q) * 2),
        )


def test_attention_needs_no_heads():
    q, k, v = given = tuple(torch.randn(5, n, 4, generator=torch.Generator().manual_seed(n)) for n in (4, 6, 6))
    model = pieces._export(Attention(), given, ["q", "k", "v"], ({0: torch.export.Dim("batch")},) * 3, 20, TRANSLATIONS)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    results = session.run(None, {"q": q.numpy(), "k": k.numpy(), "v": v.numpy()})
    for exact, result in zip(Attention()(q.double(), k.double(), v.double()), results, strict=True):
        np.testing.assert_allclose(result, exact, atol=2e-6)


def wide_softplus(x: Tensor) -> Tensor:
    return F.softplus(x, beta=0.5, threshold=5)


def softplus_of_a_sum(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def logsumexp_of_itself(x: Tensor) -> Tensor:
    return torch.cat([x, x], 1).logsumexp(1, keepdim=True)


class OfOneNumber(nn.Module):
    functions = (
        torch.sigmoid,
        F.logsigmoid,
        F.softplus,
        wide_softplus,
        torch.expm1,
        torch.log1p,
        softplus_of_a_sum,
        logsumexp_of_itself,
    )

    def forward(self, *x: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(*x) for function in self.functions)


def test_small_results_are_right_as_a_share_of_themselves():
    small = torch.logspace(-30, 0, 301)
    x = torch.cat([torch.linspace(-85, 85, 3001), small, -small, small - 1, torch.zeros(1)])
    x = torch.cat([x, torch.tensor([torch.inf, -torch.inf, torch.nan, 1e30])])[:, None]
    for function, exact, result in _in_onnxruntime(OfOneNumber(), x):
        np.testing.assert_allclose(result, exact, rtol=ROUNDING, atol=0, err_msg=function.__name__)


class Tails(nn.Module):
    functions = (torch.erfc, torch.special.erfc, torch.special.erfcx, torch.special.log_ndtr)

    def forward(self, *x: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(*x) for function in self.functions)


class TailsInFp64(Tails):
    functions = (torch.special.erfcx, torch.special.log_ndtr)


@pytest.mark.parametrize(
    ("tails", "dtype", "low", "high", "rtol"),
    [(Tails, torch.float32, -10, 9.5, 2 * ROUNDING), (TailsInFp64, torch.float64, -20, 20, 1e-13)],
)
def test_tails_are_right_as_a_share_of_themselves(tails, dtype, low, high, rtol):
    x = torch.cat([torch.linspace(low, high, 2001), torch.logspace(-30, 0, 31), torch.zeros(1)]).to(dtype)[:, None]
    for function, exact, result in _in_onnxruntime(tails(), x):
        if function is torch.special.erfcx:  # e^(x²), whose rounding counts x² times, as in torch in fp32
            exact, result = exact[x > -1], result[x > -1]
        smallest = np.finfo(result.dtype).smallest_subnormal
        np.testing.assert_allclose(result, exact, rtol=rtol, atol=smallest, err_msg=function.__name__)


def test_tails_have_limits():
    x = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e30, -1e15])[:, None]
    for function, exact, result in _in_onnxruntime(Tails(), x):
        np.testing.assert_allclose(result, exact, rtol=ROUNDING, err_msg=function.__name__)


def _in_onnxruntime(module: nn.Module, x: Tensor) -> Iterator[tuple[Any, Tensor, np.ndarray]]:
    """Each function of the module, what it gives in torch in fp64, and in a graph of the type of x in onnxruntime."""
    results = _session(type(module), x.dtype).run(None, {"x": x.numpy()})
    for function, exact, result in zip(module.functions, module(x.double()), results, strict=True):
        assert result.dtype == x.numpy().dtype
        yield function, exact, result


@functools.cache
def _session(module: type[nn.Module], dtype: torch.dtype) -> onnxruntime.InferenceSession:
    batch, x = torch.export.Dim("batch"), torch.ones(3, 1, dtype=dtype)
    model = pieces._export(module(), (x,), ["x"], ({0: batch},), 20, TRANSLATIONS)
    return onnxruntime.InferenceSession(model.SerializeToString())


def test_softmax_is_onnxruntimes_where_that_is_fast(model):
    operators = Counter(node.op_type for node in model.graph.node)
    assert (operators["Softmax"], operators["ReduceMax"], operators["Where"]) == (2, 5, 0)


def test_logsumexp_leaves_the_largest_to_no_engine(model):
    """OpenVINO computes ReduceLogSumExp as the logarithm of the sum, which is infinite for what is far from 0."""
    assert "ReduceLogSumExp" not in {node.op_type for node in model.graph.node}
