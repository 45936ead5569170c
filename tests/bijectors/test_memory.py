"""Memory strategies: the gradients are the stored ones, whatever is computed again, and less is kept."""

import copy
import re
import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from flowkit.bijectors import Bijector, Composition
from flowkit.bijectors.memory import DRIFT_LIMIT, STRATEGIES
from flowkit.errors import FlowkitError, InputError
from flowkit.flow import Flow
from flowkit.testing import BijectorSubject, perturb
from flowkit.testing.run import run_check
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from flowkit_glow.conv1x1 import Conv1x1
from flowkit_glow.permute import Permute
from flowkit_glow.squeeze import Squeeze
from tests.extent import extent
from tests.flow.specs import SMALL, SPECS, STEP, batch, perturbed
from tests.plugins.cases import coupling
from tests.zoo.wrong_later import RecomputesAsItsParent

RECOMPUTING = pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s != "store"])
TOLERANCE = 1e-10


def run(flow, strategy, n=4, seed=7):
    """log p and its gradients for x, a context and all parameters, in training mode; random numbers start at seed."""
    flow.train().memory = strategy
    x, context = batch(flow, n)
    inputs = {"x": x.requires_grad_()}
    if context is not None and context.is_floating_point():
        inputs["context"] = context.requires_grad_()
    inputs |= {name: p for name, p in flow.named_parameters() if p.requires_grad}
    torch.manual_seed(seed)
    log_prob = flow(x, context)
    grads = torch.autograd.grad(log_prob.square().mean(), list(inputs.values()), allow_unused=True)
    return {"log_prob": log_prob.detach()} | dict(zip(inputs, grads, strict=True))


def assert_the_stored_ones(flow, strategy, n=4):
    expected, given = run(flow, "store", n), run(flow, strategy, n)
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        if value is None:
            assert given[name] is None, name
        else:
            error, scale = (given[name] - value).norm().item(), value.norm().item()
            assert error <= TOLERANCE * (1 + scale), f"{name} is off by {error:.3g}, and is {scale:.3g}"


def small(*layers, scale=0.3):
    torch.manual_seed(0)
    flow = Flow(layers).double()
    perturb(flow, scale)
    return flow


def with_dropout(name):
    spec = copy.deepcopy(SPECS[name])
    steps = [*spec["flow"]]
    for step in steps:
        steps += step.get("flow", [])
        if "conditioner" in step:
            step["conditioner"]["dropout"] = 0.3
    torch.manual_seed(0)
    flow = Flow.from_spec(spec).double()
    perturb(flow, 0.2)
    return flow


# Gradients


@RECOMPUTING
@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("name", SPECS)
def test_gradients_are_the_stored_ones(name, strategy, n):
    assert_the_stored_ones(perturbed(name), strategy, n)


@RECOMPUTING
def test_layers_within_compositions(strategy):
    inner = Composition([coupling((4,), Affine()), Composition([Conv1x1((4,)), ActNorm((4,))])])
    assert_the_stored_ones(small(ActNorm((4,)), inner, coupling((4,), Affine())), strategy)


@RECOMPUTING
def test_levels_without_a_bijector(strategy):
    """In front of the first factor-out, between two, and behind the last."""
    flow = Flow.from_spec(
        {"flowkit": 1, "event": {"shape": [8, 2, 2]}, "flow": [*[{"factor_out": "channels"}] * 2, *STEP, FACTOR_OUT]}
    ).double()
    perturb(flow, 0.2)
    assert_the_stored_ones(flow, strategy)
    assert_the_stored_ones(Flow([Squeeze((1, 2, 2))]).double(), strategy)


FACTOR_OUT = {"factor_out": "channels"}


@RECOMPUTING
def test_a_batch_of_none(strategy):
    assert_the_stored_ones(perturbed("vector"), strategy, 0)


@RECOMPUTING
def test_tied_parameters(strategy):
    """One network in two couplings, one layer in three places, in two runs of which it is merged with another."""
    event = (4,)
    norm, first, second = ActNorm(event), coupling(event, Affine()), coupling(event, Affine())
    second.conditioner = first.conditioner
    permutation = Permute(event, "random")
    flow = small(norm, first, permutation, second, norm, permutation, first, norm, permutation, second)
    assert_the_stored_ones(flow, strategy)


class Sharper(Affine):
    def _log_scale(self, t):
        return super()._log_scale(2 * t)


class Stretched(Affine):
    def __init__(self):
        super().__init__()
        self.log_stretch = nn.Parameter(torch.tensor(0.3))

    def forward(self, x, theta):
        y, log_derivative = super().forward(x, theta)
        return y * self.log_stretch.exp(), log_derivative + self.log_stretch

    def inverse(self, y, theta):
        x, log_derivative = super().inverse(y * (-self.log_stretch).exp(), theta)
        return x, log_derivative - self.log_stretch


@pytest.mark.parametrize(
    "layer",
    [lambda: coupling((4,), Sharper()), lambda: coupling((4,), Stretched())],
    ids=["a helper", "the passes of a transformer"],
)
def test_subclasses_of_transformers_are_computed_again_as_they_are(layer):
    assert_the_stored_ones(small(layer(), Permute((4,)), layer()), "reversible")


def test_a_subclass_of_a_coupling_may_be_computed_again_as_any_bijector(monkeypatch):
    """The zoo has it without this, and fails."""
    monkeypatch.setattr(RecomputesAsItsParent, "recompute", Bijector.recompute)
    assert not run_check(BijectorSubject(lambda: RecomputesAsItsParent((4,))), "memory").is_error


@RECOMPUTING
@pytest.mark.parametrize("share", [2, 1], ids=["every other", "all"])
def test_frozen_parameters(strategy, share):
    flow = perturbed("image")
    for parameter in list(flow.parameters())[::share]:
        parameter.requires_grad_(False)
    assert_the_stored_ones(flow, strategy)


class Unused(ActNorm):
    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.unused = nn.Parameter(torch.zeros(3))


class Around(Bijector):
    """A layer that isn't merged with its neighbours, as a third party's."""

    def __init__(self, inner):
        super().__init__(inner.event_shape)
        self.inner = inner

    def forward_and_log_det(self, x, context=None):
        return self.inner.forward_and_log_det(x)

    def inverse_and_log_det(self, y, context=None):
        return self.inner.inverse_and_log_det(y)


@RECOMPUTING
def test_a_parameter_that_is_not_used_has_no_gradient(strategy):
    """Which an optimizer takes for another thing than a gradient of 0."""
    flow = small(Around(Unused((3,))), coupling((3,), Affine()))
    assert run(flow, strategy)["layers.0.inner.unused"] is None
    assert_the_stored_ones(flow, strategy)


# What is drawn


class Jitters(Bijector):
    """In training each event is scaled by a random number; the layer does without an own ``undo``."""

    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.amount = nn.Parameter(torch.tensor(0.3))

    def forward_and_log_det(self, x, context=None):
        log_scale = self._log_scale(x)
        return x * log_scale.exp()[:, None], log_scale * x.shape[1]

    def inverse_and_log_det(self, y, context=None):
        log_scale = self._log_scale(y)
        return y * (-log_scale).exp()[:, None], -log_scale * y.shape[1]

    def _log_scale(self, x):
        return self.amount * (torch.randn_like(x[:, 0]) if self.training else torch.zeros_like(x[:, 0]))


DRAWING = {
    "dropout, image": lambda: with_dropout("image"),
    "dropout, arrays": lambda: with_dropout("arrays"),
    "jitter": lambda: small(Jitters((3,)), coupling((3,), Affine()), Jitters((3,)), ActNorm((3,)), Jitters((3,))),
}


@RECOMPUTING
@pytest.mark.parametrize("name", DRAWING)
def test_the_same_is_drawn_again(name, strategy):
    flow = DRAWING[name]()
    assert not torch.equal(run(flow, "store", seed=1)["x"], run(flow, "store", seed=2)["x"])
    assert_the_stored_ones(flow, strategy)


@RECOMPUTING
@pytest.mark.parametrize("name", DRAWING)
def test_the_generator_stands_where_it_would(name, strategy):
    flow = DRAWING[name]()
    run(flow, "store")
    expected = torch.get_rng_state()
    run(flow, strategy)
    assert torch.equal(torch.get_rng_state(), expected)


# What happens between forward and backward


@RECOMPUTING
def test_a_parameter_that_changes_before_the_backward_pass_is_an_error(strategy):
    flow = perturbed("labels")
    flow.memory = strategy
    for name, parameter in flow.named_parameters():
        loss = flow(*batch(flow)).sum()
        with torch.no_grad():
            parameter.add_(0.1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
            pytest.fail(f"{name} changed, and nobody noticed")


def test_dropout_that_is_switched_off_before_the_backward_pass_is_an_error():
    flow = with_dropout("vector")
    flow.memory = "reversible"
    loss = flow(batch(flow)[0]).sum()
    flow.eval()
    with pytest.raises(FlowkitError, match=r"switch after backward\(\)"):
        loss.backward()


def test_a_second_derivative_is_refused():
    flow = perturbed("vector")
    flow.memory = "reversible"
    x, _ = batch(flow)
    (grad,) = torch.autograd.grad(flow(x.requires_grad_()).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()


def test_two_backward_passes_of_one_forward_pass():
    flow = with_dropout("image")
    flow.memory = "reversible"
    loss = flow(batch(flow)[0]).sum()
    grads = [torch.autograd.grad(loss, list(flow.parameters()), retain_graph=True) for _ in range(2)]
    assert all(torch.equal(*pair) for pair in zip(*grads, strict=True))


def test_torch_func_is_refused():
    flow = perturbed("vector")
    flow.memory = "reversible"
    with pytest.raises(RuntimeError, match=r"functorch"):
        torch.func.grad(lambda x: flow(x).sum())(batch(flow)[0])


def test_torch_compile_is_refused_with_what_to_do():
    flow = Flow.from_spec(SMALL).double()
    flow.memory = "reversible"
    with pytest.raises(torch._dynamo.exc.Unsupported, match="use checkpoint"):
        torch.compile(flow, backend="eager", fullgraph=True)(batch(flow)[0])


@RECOMPUTING
def test_autocast_is_on_again_where_it_was(strategy):
    """And off while gradients are taken, as torch wants it."""
    flow = perturbed("vector").float()
    flow.memory = strategy
    seen, while_grads = [], []
    conditioner = flow.layers[-1].conditioner
    conditioner.register_forward_hook(lambda module, inputs, theta: seen.append(theta.dtype))
    conditioner.last.weight.register_hook(lambda grad: while_grads.append(torch.is_autocast_enabled("cpu")))
    x = batch(flow)[0].float()
    with torch.autocast("cpu", torch.bfloat16):
        loss = flow(x).sum()
    loss.backward()
    assert seen == [torch.bfloat16] * 2
    assert set(while_grads) == {False}
    seen.clear()
    flow(x).sum().backward()
    assert seen == [torch.float32] * 2


# What is kept


class Live(TorchDispatchMode):
    """Bytes of the storages that operators made and that are still there, whoever holds them."""

    def __init__(self):
        super().__init__()
        self.sizes = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        outputs = function(*args, **(kwargs or {}))
        for output in outputs if isinstance(outputs, tuple | list) else [outputs]:
            if isinstance(output, torch.Tensor):
                self._follow(output.untyped_storage())
        return outputs

    def _follow(self, storage):
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            weakref.finalize(storage, self.sizes.pop, key)

    @property
    def bytes(self):
        return sum(self.sizes.values())


def kept(strategy, steps):
    """Bytes between the forward and the backward pass, few of which are matrices, for this batch."""
    flow = Flow.from_spec(
        {
            "flowkit": 1,
            "event": {"shape": [1, 16, 16]},
            "flow": [{"use": "glow/squeeze"}, {"repeat": steps, "flow": STEP}],
        }
    )
    flow.memory = strategy
    x = torch.randn(256, 1, 16, 16)
    with Live() as live:
        loss = flow(x).sum()
        assert loss.requires_grad
        return live.bytes


@pytest.mark.parametrize("word", ["stoer", "Store", None, ["store"]])
def test_a_word_that_is_no_strategy_is_refused(word):
    flow = Flow([ActNorm((2,))])
    with pytest.raises(InputError, match=rf"store, checkpoint or reversible, not {re.escape(repr(word))}"):
        flow.memory = word
    assert flow.memory == "store"


def test_what_reversible_keeps_does_not_grow_with_depth():
    reversible, checkpoint, store = (kept(strategy, 16) for strategy in ("reversible", "checkpoint", "store"))
    assert reversible <= 1.15 * kept("reversible", 2)
    assert checkpoint >= 4 * kept("checkpoint", 2)  # that is what is measured
    assert reversible < checkpoint / 8 < store / 40


@RECOMPUTING
def test_without_gradients_everything_is_computed_once(strategy, monkeypatch):
    flow = perturbed("image")
    flow.memory = strategy
    monkeypatch.delattr("flowkit.bijectors.memory.torch_checkpoint")
    monkeypatch.delattr("flowkit.bijectors.memory._Reversible")
    with torch.no_grad():
        flow(batch(flow)[0])


# Drift


class Forgets(Around):
    """Its inverse is off by a share of the largest value."""

    share = 0.0

    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y)
        return x + self.share * x.abs().max(), log_det


@pytest.mark.parametrize("share", [0.0, 1e-3, 0.1])
def test_drift_is_how_far_the_input_comes_back_from_where_it_was(share):
    flow = small(ActNorm((3,)), Forgets(ActNorm((3,))), scale=0)
    flow.layers[1].share = share
    flow.memory = "reversible"
    x, _ = batch(flow, 1)
    (flow(4 * x).sum()).backward()
    assert flow.drift.read() == pytest.approx(share, rel=1e-9, abs=1e-14)
    assert flow.drift.read() is None


def test_drift_is_the_worst_since_it_was_read():
    flow = small(Forgets(ActNorm((3,))))
    flow.memory = "reversible"
    for share in (0.0, 0.1, 0.0):
        flow.layers[0].share = share
        flow(10 * batch(flow, 1)[0]).sum().backward()
    assert 0.09 < flow.drift.read() < 0.2
    flow.layers[0].share = float("nan")
    flow(batch(flow)[0]).sum().backward()
    assert flow.drift.read() == float("inf")


def test_drift_of_a_black_event_is_set_against_the_values_of_the_batch():
    torch.manual_seed(0)
    flow = Flow.from_spec(
        {"flowkit": 1, "event": {"shape": [3], "levels": 256}, "flow": [{"use": "glow/rescale"}, *MLP]}
    )
    flow.memory = "reversible"
    x = torch.cat([torch.rand(1, 3), 256 * torch.rand(7, 3)])
    flow(x).sum().backward()
    assert 0 < flow.drift.read() < 1e-6


MLP = [
    {"use": "glow/actnorm"},
    {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp", "hidden": 8}},
]


def glow(levels, size, steps, scale):
    """A Glow with noise of this scale on the networks, initialized on crops of a photograph; the crops come with it."""
    from sklearn.datasets import load_sample_image

    level = [{"use": "glow/squeeze"}, {"repeat": steps, "flow": [*STEP[:2], CONVNET]}]
    flow = [{"use": "glow/rescale"}, *[*level, FACTOR_OUT] * (levels - 1), *level]
    torch.manual_seed(0)
    glow = Flow.from_spec({"flowkit": 1, "event": {"shape": [3, size, size], "levels": 256}, "flow": flow})
    perturb(glow, scale)
    photograph = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[:, 100 : 100 + size]
    n = max(1, 64 // size)
    x, _ = glow.dequantize(torch.stack([photograph[..., 200 + size * i : 200 + size * (i + 1)] for i in range(n)]))
    glow.initialize(x)
    return glow, x


CONVNET = {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/convnet", "hidden": 16}}


def gradient_error(flow, x, strategy, exact):
    """|g - g64| / |g64| over all parameters."""
    flow.memory = strategy
    gradient = torch.autograd.grad(flow.in_unit(flow(x)).mean(), list(flow.parameters()))
    difference = torch.stack([(g.double() - g64).norm() for g, g64 in zip(gradient, exact, strict=True)]).norm()
    return (difference / torch.stack([g64.norm() for g64 in exact]).norm()).item()


def errors_and_drift(flow, x):
    """The errors of gradients in fp32, stored and reversible, against those in fp64, and the drift."""
    exactly = copy.deepcopy(flow).double()
    exactly.memory = "checkpoint"
    exact = torch.autograd.grad(exactly.in_unit(exactly(x.double())).mean(), list(exactly.parameters()))
    stored, reversible = (gradient_error(flow, x, strategy, exact) for strategy in ("checkpoint", "reversible"))
    return stored, reversible, flow.drift.read()


@pytest.mark.parametrize(("scale", "wrong"), [(0.17, False), (0.27, True)])
def test_drift_is_beyond_its_limit_where_gradients_are_wrong(scale, wrong):
    """The worse the inverse is conditioned, the more rounding errors grow; stored gradients are right in each case."""
    stored, reversible, drift = errors_and_drift(*glow(levels=1, size=16, steps=24, scale=scale))
    assert stored < 1e-2
    assert (reversible > 1e-2) == wrong
    assert (drift > DRIFT_LIMIT) == wrong


@pytest.mark.slow
def test_gradients_of_the_largest_published_glow_are_as_good_as_stored_ones():
    """6 levels of 32 steps on 256×256 (Kingma & Dhariwal 2018, CelebA-HQ), with fewer hidden channels: couplings start
    as the identity, so that drift doesn't depend on them. Only `make nightly` takes it whole."""
    levels, size = extent((4, 64), (6, 256))
    stored, reversible, drift = errors_and_drift(*glow(levels, size, steps=32, scale=0.0))
    assert reversible < 1.2 * stored
    assert drift < DRIFT_LIMIT / 3


@RECOMPUTING
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_hooks_of_parameters_are_called_once(strategy, layer):
    flow = small(*(part for _ in range(2) for part in (ActNorm((4,)), Conv1x1((4,)), coupling((4,), Affine()))))
    flow.memory = strategy
    x, parameter = torch.randn(5, 4, dtype=torch.float64), next(flow.layers[layer].parameters())
    (expected,) = torch.autograd.grad(flow(x).sum(), parameter)
    calls = []
    parameter.register_hook(lambda grad: calls.append(grad) or 0.1 * grad)
    for times in (1, 2):
        parameter.grad = None
        flow(x).sum().backward()
        assert len(calls) == times
        torch.testing.assert_close(parameter.grad, 0.1 * expected)


@RECOMPUTING
@pytest.mark.parametrize("layers", [(ActNorm, Conv1x1), (lambda event: coupling(event, Affine()),)])
def test_parameters_that_are_replaced_meanwhile_are_told_of(strategy, layers):
    flow = small(*(layer((4,)) for layer in layers))
    flow.memory = strategy
    x = torch.randn(5, 4, dtype=torch.float64)
    other = {name: (p.detach() + 0.1).requires_grad_() for name, p in flow.named_parameters()}
    with pytest.raises(FlowkitError, match=r"parameters were replaced .*: use memory: store"):
        torch.autograd.grad(torch.func.functional_call(flow, other, (x,)).sum(), list(other.values()))
    loss = flow(x).sum()
    for p in flow.parameters():
        p.data = p.data * 1.5
    with pytest.raises(FlowkitError, match=r"parameters were replaced .*: use memory: store"):
        loss.backward()


@RECOMPUTING
@pytest.mark.parametrize("reentrant", [True, False])
def test_torchs_checkpoint_may_be_around_it(strategy, reentrant):
    flow = small(ActNorm((4,)), Conv1x1((4,)), coupling((4,), Affine()))
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(flow(x).sum(), flow.layers[0].bias)
    flow.memory = strategy
    torch.utils.checkpoint.checkpoint(flow, x, use_reentrant=reentrant).sum().backward()
    torch.testing.assert_close(flow.layers[0].bias.grad, expected)


def test_vmap_takes_images():
    flow = perturbed("image")
    x, _ = batch(flow, 3)
    torch.testing.assert_close(torch.vmap(lambda one: flow(one[None])[0])(x), flow(x))
