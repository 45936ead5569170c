"""Layers that stand in a flow twice, and what is done to layers once a flow was made of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from flowkit.bijectors import AffineMap, Bijector, Composition
from flowkit.flow import Flow
from flowkit.testing import perturb
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from flowkit_glow.conv1x1 import LU, Conv1x1
from flowkit_glow.permute import Permute
from tests.plugins.cases import coupling

EVENT = (4,)


def flow_of(*runs: list[Bijector]) -> Flow:
    """The runs with a coupling after each, perturbed, in fp64."""
    torch.manual_seed(0)
    flow = Flow([layer for run in runs for layer in [*run, coupling(EVENT, Affine())]]).double()
    perturb(flow, 0.3)
    return flow


def glow() -> Flow:
    torch.manual_seed(0)
    return flow_of(*([ActNorm(EVENT), Conv1x1(EVENT)] for _ in range(2)))


def assert_as_its_layers(flow: Flow) -> None:
    """In training, and twice without gradients, where matrices are kept."""
    x = torch.randn(5, *EVENT, dtype=torch.float64)
    y, log_det = x, torch.zeros(5, dtype=torch.float64)
    for layer in flow.layers:
        y, term = layer.forward_and_log_det(y)
        log_det = log_det + term
    for gradients in (True, False, False):
        with torch.set_grad_enabled(gradients):
            (latent,), total = flow.forward_and_log_det(x)
            torch.testing.assert_close(latent, y, atol=1e-10, rtol=1e-10)
            torch.testing.assert_close(total, log_det, atol=1e-10, rtol=1e-10)
            torch.testing.assert_close(flow.inverse_and_log_det([latent])[0], x, atol=1e-9, rtol=1e-9)


def twice_in_a_run() -> Flow:
    return flow_of(*([layer, layer] for layer in (ActNorm(EVENT), ActNorm(EVENT))))


def twice_where_vmap_runs() -> Flow:
    permutation = Permute(EVENT)
    return flow_of(*([permutation, ActNorm(EVENT), permutation] for _ in range(2)))


def once_and_twice() -> Flow:
    one, other = ActNorm(EVENT), ActNorm(EVENT)
    return flow_of([one, one], [other, other], [ActNorm(EVENT), ActNorm(EVENT)])


def in_two_runs() -> Flow:
    shared = ActNorm(EVENT)
    return flow_of([shared, Permute(EVENT)], [shared, Permute(EVENT)])


def one_parameter_of_two() -> Flow:
    runs: list[list[Bijector]] = []
    for _ in range(2):
        one, other = ActNorm(EVENT), ActNorm(EVENT)
        other.log_scale = one.log_scale
        runs.append([one, other])
    return flow_of(*runs)


@pytest.mark.parametrize(
    "make", [twice_in_a_run, twice_where_vmap_runs, once_and_twice, in_two_runs, one_parameter_of_two]
)
def test_tied_layers(make: Callable[[], Flow]) -> None:
    flow = make()
    shapes = [p.shape for p in flow.parameters()]
    assert_as_its_layers(flow)
    assert shapes == [p.shape for p in flow.parameters()]


def test_tied_layers_are_saved_under_each_of_their_names(tmp_path) -> None:
    flow = twice_in_a_run()
    flow.save(tmp_path / "weights.safetensors")
    assert load_file(tmp_path / "weights.safetensors").keys() == flow.state_dict().keys()


def replaced(flow: Flow) -> None:
    flow.layers[4].matrix = LU(torch.linalg.qr(torch.randn(*EVENT, *EVENT)).Q).double()


def tied(flow: Flow) -> None:
    flow.layers[3].log_scale = flow.layers[0].log_scale


class Halved(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return w / 2


def parametrized(flow: Flow) -> None:
    parametrize.register_parametrization(flow.layers[1].matrix, "log_abs_s", Halved())


def pruned(flow: Flow) -> None:
    prune.l1_unstructured(flow.layers[4].matrix, "lower", 0.5)


@pytest.mark.parametrize("change", [replaced, tied, parametrized, pruned])
@pytest.mark.parametrize("alone", [False, True], ids=["alike runs", "one run"])
def test_what_is_changed_in_a_layer_is_followed(change: Callable[[Flow], None], alone: bool) -> None:
    run = [ActNorm(EVENT), Conv1x1(EVENT), Permute(EVENT), ActNorm(EVENT), Conv1x1(EVENT)]
    flow = flow_of(run) if alone else glow()
    assert_as_its_layers(flow)
    change(flow)
    assert_as_its_layers(flow)


def test_a_hook_is_called() -> None:
    """It changes what goes forward, and nothing else."""
    flow = glow()
    x = torch.randn(5, *EVENT, dtype=torch.float64)
    flow(x)
    flow.layers[4].matrix.register_forward_hook(lambda module, inputs, w: 2 * w)
    y = x
    for layer in flow.layers:
        y, _ = layer.forward_and_log_det(y)
    torch.testing.assert_close(flow.encode(x)[0], y)


class Training(ActNorm):
    """Another map in training than after it."""

    def affine(self) -> AffineMap:
        affine = super().affine()
        return affine._replace(offset=affine.offset + int(self.training))

    def affine_inverse(self) -> AffineMap:
        return self.affine().inverse()


@pytest.mark.parametrize("runs", [1, 2])
def test_a_map_may_depend_on_whether_it_is_trained(runs: int) -> None:
    flow = flow_of(*([Training(EVENT), Permute(EVENT)] for _ in range(runs)))
    for training in (True, False, True):
        assert_as_its_layers(flow.train(training))
    flow.layers[-3].eval()  # one of those that were alike
    assert_as_its_layers(flow)


def test_a_backward_hook_is_for_the_layer_that_has_it() -> None:
    flow, x = glow(), torch.randn(5, *EVENT, dtype=torch.float64)
    flow.layers[0].register_full_backward_pre_hook(lambda layer, grads: grads)
    flow.layers[1].matrix.register_full_backward_pre_hook(lambda matrix, grads: [torch.zeros_like(g) for g in grads])
    flow(x).sum().backward()
    lower = [flow.layers[index].matrix.lower.grad.abs().max() for index in (1, 4)]
    assert lower[0] == 0 and lower[1] > 0


@pytest.mark.parametrize("strategy", ["store", "checkpoint", "reversible"])
def test_a_layer_that_is_replaced_before_the_backward_pass_has_its_gradient(strategy: str) -> None:
    flow = glow()
    flow.memory = strategy
    x, bias = torch.randn(5, *EVENT, dtype=torch.float64), flow.layers[0].bias
    (expected,) = torch.autograd.grad(flow(x).sum(), bias)
    loss = flow(x).sum()
    flow.layers[0] = ActNorm(EVENT).double()
    flow(x)
    torch.testing.assert_close(torch.autograd.grad(loss, bias)[0], expected)


class Doubled(Composition):
    """A composition whose output it doubles."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, log_det = super().forward_and_log_det(x, context)
        return 2 * y, log_det + x[0].numel() * torch.log(torch.tensor(2.0))

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = super().inverse_and_log_det(y / 2, context)
        return x, log_det - y[0].numel() * torch.log(torch.tensor(2.0))


def test_a_subclass_of_a_composition_with_passes_of_its_own_is_run_by_those() -> None:
    flow = flow_of([ActNorm(EVENT), Doubled([ActNorm(EVENT), Permute(EVENT)]), Permute(EVENT)])
    assert_as_its_layers(flow)
    x = torch.randn(5, *EVENT, dtype=torch.float64)
    torch.testing.assert_close(flow.freeze()(x), flow(x))
