"""What a flow can't take is an InputError, and one context serves all events."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch

from flowkit.errors import InputError, SpecError
from flowkit.flow import Flow, FlowDistribution
from tests.flow.specs import SPECS, batch
from tests.flow.test_flow import perturbed

ONE = {"labels": torch.tensor(3), "arrays": torch.tensor([0.5, -1.0], dtype=torch.float64)}


@functools.cache
def of_spec(name: str) -> Flow:
    """A flow that is only refused what it can't take."""
    return Flow.from_spec(SPECS[name])


class Fails:
    def __index__(self) -> int:
        raise RuntimeError("not ready")

    __float__ = __fspath__ = __index__


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("name", ONE)
def test_one_context_serves_all_events(name, batched):
    flow = perturbed(name)
    x, context = batch(flow)
    one = ONE[name].to(context.dtype)
    each = one.expand(len(x), *one.shape).clone()
    given = one[None] if batched else one
    assert torch.equal(flow.log_prob(x, given), flow.log_prob(x, each))
    scored = x.floor() if flow.levels else x
    assert torch.equal(flow.nll(scored, given), flow.nll(scored, each))
    for mine, its in zip(flow.encode(x, given), flow.encode(x, each), strict=True):
        assert torch.equal(mine, its)
    latents = flow.encode(x, each)
    assert torch.equal(flow.decode(latents, given), flow.decode(latents, each))
    assert torch.equal(flow.sample(len(x), given, seed=0), flow.sample(len(x), each, seed=0))
    assert flow.log_prob(x[:0], given).shape == (0,)


def test_gradients_of_one_context_add_up():
    flow = perturbed("arrays")
    x, _ = batch(flow)
    one, each = (ONE["arrays"].clone().requires_grad_() for _ in range(2))
    flow.log_prob(x, one).sum().backward()
    flow.log_prob(x, each.expand(len(x), -1)).sum().backward()
    torch.testing.assert_close(one.grad, each.grad)


@pytest.mark.parametrize(
    ("name", "context", "words"),
    [
        ("labels", torch.tensor([True, False]), "pass integers"),
        ("labels", torch.zeros(2, dtype=torch.complex64), "pass integers"),
        ("labels", torch.tensor(5), "labels outside 0 … 4"),
        ("arrays", torch.zeros(2, 2, dtype=torch.complex64), "context holds complex numbers"),
        ("arrays", torch.zeros(2, 2).to_sparse(), r"dense tensors: context\.to_dense\(\)"),
        ("arrays", np.zeros((2, 2)), "context is a numpy.ndarray"),
    ],
)
def test_contexts_that_are_none(name, context, words):
    flow = of_spec(name)
    x = torch.zeros(2, *flow.event_shape)
    for call in (lambda: flow.log_prob(x, context), lambda: flow.sample(2, context)):
        with pytest.raises(InputError, match=words):
            call()


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("n", [10**12, 10**15])
def test_more_samples_than_there_is_memory_for(n, seed):
    flow = of_spec("vector")
    for call in (lambda: flow.sample(n, seed=seed), lambda: FlowDistribution(flow).sample((n,))):
        with pytest.raises(InputError, match=r"there isn't enough memory: .*; work on fewer events at a time"):
            call()


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n": 10**20}, "n is 10{20}, more events than one array can hold"),
        ({"n": 10**400}, "more events than one array can hold"),
        ({"n": True}, "n must be an integer, got True"),
        ({"n": Fails()}, "n must be an integer"),
        ({"n": -1}, "n must be at least 0"),
        ({"n": 2.5}, "n must be an integer, got 2.5"),
        *(
            ({"temperature": value}, "temperature must be a finite number of at least 0")
            for value in (True, Fails(), -1, math.nan, math.inf, "1", None)
        ),
        ({"temperature": 1e300}, r"temperature 1e\+300 makes noise that float32 can't hold"),
        ({"temperature": 1e38}, r"temperature 1e\+38 makes noise that float32 can't hold"),
    ],
)
def test_samples_that_cannot_be_drawn(arguments, words, seed):
    with pytest.raises(InputError, match=words):
        of_spec("vector").sample(**{"n": 2, "seed": seed, **arguments})


@pytest.mark.parametrize("seed", [True, -1, 2**64, "a", Fails()])
def test_seeds_that_are_none(seed):
    with pytest.raises(InputError, match="seed must be"):
        of_spec("vector").sample(2, seed=seed)


@pytest.mark.parametrize("method", ["log_prob", "nll", "encode", "dequantize", "initialize"])
@pytest.mark.parametrize("x", [None, 5, "x", [[1.0]], np.zeros((2, 1, 4, 4)), torch.zeros(2, 1, 4, 4).to_sparse()])
def test_events_that_are_no_dense_tensors(method, x):
    with pytest.raises(InputError, match=r"x is .*; a flow takes (dense )?tensors: "):
        getattr(of_spec("image"), method)(x)


@pytest.mark.parametrize("method", ["nll", "encode"])
def test_complex_events_are_no_levels(method):
    with pytest.raises(InputError, match="x holds complex numbers"):
        getattr(of_spec("image"), method)(torch.zeros(2, 1, 4, 4, dtype=torch.complex64))


@pytest.mark.parametrize("latents", [None, 5, "z", torch.zeros(2, 3), Fails(), {"z": 1}])
def test_latents_that_are_none(latents):
    with pytest.raises(InputError, match="latents must be a tuple of tensors"):
        of_spec("vector").decode(latents)


@pytest.mark.parametrize(
    "value", [5, None, b"bytes", "a" * 5000, "a\0b", Fails()], ids=lambda value: type(value).__name__
)
def test_paths_that_are_none(value):
    for call in (Flow.load, of_spec("vector").save):
        with pytest.raises(InputError, match=r"must be a path, got|is longer than a path can be"):
            call(value)


@pytest.mark.parametrize("source", [5, None, True, ["x"]])
def test_specs_that_are_none(source):
    with pytest.raises(SpecError, match="a spec is a file's path, a text or a dict, not a "):
        Flow.from_spec(source)


@pytest.mark.parametrize("value", [np.zeros(3), None, torch.zeros(2), torch.zeros(2, 4), torch.tensor(1.0)])
def test_values_that_are_none_of_a_distribution(value):
    with pytest.raises(InputError, match=r"value (is a .*; a flow takes tensors|has shape .*; it must end with)"):
        FlowDistribution(of_spec("vector")).log_prob(value)
