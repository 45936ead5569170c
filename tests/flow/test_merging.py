"""Merging is a computed view: same values, same parameters."""

import copy

import pytest
import torch

from flowkit.flow import Composition, FactorOut, Flow
from flowkit.flow.channel_linear import ChannelRun, affine_map
from flowkit.flow.channel_maps import alike
from flowkit.flow.composition import MERGE_UP_TO, merged
from flowkit.testing import perturb
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from flowkit_glow.conv1x1 import Conv1x1
from flowkit_glow.permute import Permute
from flowkit_glow.rescale import Rescale
from tests.flow.specs import SPECS
from tests.plugins.cases import coupling

EVENT = (6, 3, 2)
RUN = [ActNorm, Conv1x1, lambda e: Permute(e, "random"), lambda e: Conv1x1(e, "plain"), lambda e: Rescale(e, -1, 3)]


def kinds(layers):
    return [len(step.layers) if isinstance(step, ChannelRun) else type(step).__name__ for step in merged(layers)]


@pytest.mark.parametrize("event", [EVENT, (6,), (1, 3, 3)], ids=str)
def test_a_run_of_all_kinds_agrees_with_its_layers_to_1e12(event):
    torch.manual_seed(0)
    layers = Composition([make(event) for make in RUN]).double()
    perturb(layers, 0.2)
    x = torch.randn(5, *event, dtype=torch.float64)
    y, log_det = layers.forward_and_log_det(x)
    expected, total = x, torch.zeros(5, dtype=torch.float64)
    for layer in layers.layers:
        expected, term = layer.forward_and_log_det(expected)
        total = total + term
    torch.testing.assert_close(y, expected, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(log_det, total, atol=1e-12, rtol=1e-12)
    back = y
    for layer in reversed(layers.layers):
        back, _ = layer.inverse_and_log_det(back)
    torch.testing.assert_close(layers.inverse_and_log_det(y)[0], back, atol=1e-12, rtol=1e-12)


def one_by_one(layers, x):
    total = x.new_zeros(len(x))
    for layer in layers:
        x, term = layer.forward_and_log_det(x)
        total = total + term
    return x, total


@pytest.mark.parametrize("event", [EVENT, (6,)], ids=str)
def test_gradients_through_runs_are_those_of_their_layers(event):
    """Three alike runs, which are computed together, and one of another kind."""
    torch.manual_seed(0)
    runs = [[make(event) for make in RUN] for _ in range(3)] + [[ActNorm(event), ActNorm(event)]]
    layers = Composition([layer for run in runs for layer in [*run, coupling(event, Affine())]]).double()
    perturb(layers, 0.2)
    x = torch.randn(5, *event, dtype=torch.float64)
    gradients = []
    for run in (layers.forward_and_log_det, lambda x: one_by_one(layers.layers, x)):
        y, log_det = run(x)
        loss = y.square().sum() + log_det.sum()
        gradients.append(torch.autograd.grad(loss, list(layers.parameters())))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


def groups(makes):
    torch.manual_seed(0)
    return [len(group.runs) for group in alike(ChannelRun([make(EVENT)]) for make in makes)]


def test_runs_are_alike_that_differ_in_their_numbers_alone():
    assert groups([ActNorm, ActNorm, Conv1x1, Conv1x1, Conv1x1]) == [2, 3]
    assert groups([lambda e: Conv1x1(e, "lu"), lambda e: Conv1x1(e, "plain")]) == [1, 1]
    assert groups([lambda e: Rescale(e, -1, 3), lambda e: Rescale(e, -1, 4), lambda e: Rescale(e, -1, 3)]) == [2, 1]


class Unbatched(ActNorm):
    """It asks for a value, which torch.vmap can't give."""

    def channels(self, v):
        return super().channels(v) * (1.0 if self.bias[0].item() < 1e9 else 2.0)


def test_alike_runs_that_vmap_cannot_take_are_computed_one_at_a_time():
    torch.manual_seed(0)
    layers = Composition(
        [layer for _ in range(3) for layer in [Unbatched(EVENT), ActNorm(EVENT), coupling(EVENT, Affine())]]
    )
    perturb(layers, 0.2)
    x = torch.randn(5, *EVENT)
    for one, other in zip(layers.forward_and_log_det(x), one_by_one(layers.layers, x), strict=True):
        torch.testing.assert_close(one, other)


class Wider(ActNorm):
    """It says nothing of stacked parameters, and would be wrong with them where there are as many runs as rows."""

    def channels(self, v):
        return v * self.log_scale.exp() + self.bias


def test_a_subclass_does_not_inherit_that_it_takes_stacked_parameters():
    torch.manual_seed(0)
    runs = [ChannelRun([Wider((2, 2, 2))]) for _ in range(3)]
    assert not runs[0].batched and ChannelRun([ActNorm(EVENT), Conv1x1(EVENT)]).batched
    for run in runs:
        perturb(run, 0.3)
    (group,) = alike(runs)
    maps, log_det = group.maps(torch.float32, torch.device("cpu"), False)
    for run in runs:
        for one, other in zip(maps[run], affine_map(run, torch.float32, torch.device("cpu"))[0], strict=True):
            torch.testing.assert_close(one, other)
    torch.testing.assert_close(log_det, 4 * sum(run.layers[0].log_scale.sum() for run in runs))


def test_a_layer_that_is_put_in_later_is_run():
    layers = Composition([ActNorm(EVENT), Conv1x1(EVENT)])
    x = torch.randn(2, *EVENT)
    layers.forward_and_log_det(x)
    layers.layers[1] = Permute(EVENT)
    torch.testing.assert_close(layers.forward_and_log_det(x)[0], x.flip(1))


def test_runs_are_neighbours_only():
    layers = [ActNorm(EVENT), Conv1x1(EVENT), coupling(EVENT, Affine()), ActNorm(EVENT), FactorOut(EVENT)]
    assert kinds(layers) == [2, "Coupling", "ActNorm", "FactorOut"]
    assert kinds([ActNorm(EVENT), FactorOut(EVENT), Conv1x1((3, 3, 2))]) == ["ActNorm", "FactorOut", "Conv1x1"]


def test_runs_reach_into_compositions():
    assert kinds([ActNorm(EVENT), Composition([Conv1x1(EVENT), ActNorm(EVENT)])]) == [3]


def test_wide_runs_stay_apart():
    wide = (MERGE_UP_TO + 1,)
    assert kinds([ActNorm(wide), ActNorm(wide)]) == ["ActNorm", "ActNorm"]


def test_state_dict_keys_are_the_layers():
    keys = Flow.from_spec(SPECS["image"]).state_dict().keys()
    assert "layers.2.log_scale" in keys and "layers.3.matrix.lower" in keys and "initialized" in keys


@pytest.mark.parametrize("dtype, rtol", [(torch.float32, 1e-6), (torch.float64, 1e-14)], ids=str)
@pytest.mark.parametrize("high", [255.0, 60000.0])
def test_a_small_matrix_beside_a_large_offset_keeps_its_digits(dtype, rtol, high):
    run = ChannelRun([Rescale((1,), 0.3, high), ActNorm((1,))])
    for inverse, expected in ((False, 1 / (high - 0.3)), (True, high - 0.3)):
        forward, _ = affine_map(run, dtype, torch.device("cpu"), inverse)
        assert forward.matrix.item() == pytest.approx(expected, rel=rtol)


def test_fp16_holds_the_vectors_that_show_a_matrix():
    flow = Flow([Rescale((3,), 0, 256), ActNorm((3,)), coupling((3,), Affine())])
    perturb(flow, 0.1)
    x = torch.rand(5, 3) * 256
    torch.testing.assert_close(copy.deepcopy(flow).half()(x.half()).float(), flow(x), atol=0.05, rtol=0.01)
