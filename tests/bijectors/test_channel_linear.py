"""Merging is a computed view: same values, same parameters."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from flowkit.bijectors import AffineMap, ChannelLinear, Composition, FactorOut, Inverse
from flowkit.bijectors.channel_linear import ChannelRun
from flowkit.bijectors.composition import merged
from flowkit.flow import Flow
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


MATRICES = {"full": torch.eye(4), "diagonal": torch.ones(4), "scalar": torch.tensor(2.0), "order": torch.arange(4)}


@pytest.mark.parametrize("offset", [torch.ones(4), None], ids=["offset", "linear"])
@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_the_map_of_vectors_is_one_operator(matrix, offset):
    """And views: small layers cost as much as they have operators. A permutation with an offset takes two."""
    affine = AffineMap(matrix, offset, torch.zeros(()))
    x = torch.ones(3, 4)
    with Operators() as seen:
        affine.transform(x)
    assert len(seen.names) == 1 + (matrix is MATRICES["order"] and offset is not None)


@pytest.mark.parametrize("event", [(4,), (4, 2, 3)], ids=str)
@pytest.mark.parametrize("first", MATRICES.values(), ids=MATRICES)
@pytest.mark.parametrize("second", MATRICES.values(), ids=MATRICES)
def test_no_offset_is_an_offset_of_0(event, first, second):
    x = torch.randn(3, *event)
    log_det = torch.ones(())
    maps = {
        offset: [AffineMap(matrix, zero, log_det) for matrix in (first, second)]
        for offset, zero in {"none": None, "zero": torch.zeros(4)}.items()
    }
    for change in (lambda a, b: a.then(b), lambda a, b: a.then(b).inverse()):
        given, expected = (change(*pair).transform(x) for pair in maps.values())
        for one, other in zip(given, expected, strict=True):
            torch.testing.assert_close(one, other)
    composed = [a.then(b) for a, b in maps.values()]
    torch.testing.assert_close(composed[0].undo(x), composed[1].undo(x))
    assert maps["none"][0].then(maps["none"][1]).offset is None


class Shift(ChannelLinear):
    """A map with a scalar offset."""

    def __init__(self, event_shape, matrix):
        super().__init__(event_shape)
        self.matrix = matrix

    def affine(self):
        return AffineMap(self.matrix, torch.tensor(0.5), torch.zeros(()))


@pytest.mark.parametrize("event", [(4,), (4, 2, 3)], ids=str)
@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_a_scalar_offset_is_that_of_all_channels(event, matrix):
    x, layer = torch.randn(3, *event), Shift(event, matrix)
    expected, _ = AffineMap(matrix, torch.full((4,), 0.5), torch.zeros(())).transform(x)
    for each in (layer, layer.freeze(), Composition([layer])):
        torch.testing.assert_close(each.forward_and_log_det(x)[0], expected)
        torch.testing.assert_close(each.inverse_and_log_det(expected)[0], x)


class Operators(TorchDispatchMode):
    """Lists the operators that compute something."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view:
            self.names.append(func.name())
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("event", [EVENT, (6,)], ids=str)
@pytest.mark.parametrize("make", RUN)
def test_a_layer_in_another_is_frozen_too(event, make):
    """Its inverse is computed once: torch.linalg has no translation to ONNX."""
    layer = Inverse(make(event)).double()
    perturb(layer, 0.2)
    frozen, x = layer.freeze(), torch.randn(5, *event, dtype=torch.float64)
    assert not list(frozen.parameters())
    for given, expected in zip(frozen.forward_and_log_det(x), layer.forward_and_log_det(x), strict=True):
        torch.testing.assert_close(given, expected, atol=1e-12, rtol=1e-12)
    for given, expected in zip(frozen.inverse_and_log_det(x), layer.inverse_and_log_det(x), strict=True):
        torch.testing.assert_close(given, expected, atol=1e-12, rtol=1e-12)


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


@pytest.mark.parametrize("make", RUN)
def test_an_inverse_that_a_layer_does_not_write_is_that_of_its_matrix(make):
    torch.manual_seed(0)
    layer = make(EVENT).double()
    perturb(layer, 0.3)
    given, own = layer.affine().inverse(), layer.affine_inverse()
    x = torch.randn(3, *EVENT, dtype=torch.float64)
    applied = (each.to(x, x.shape[1]).transform(x) for each in (given, own))
    for one, other in zip(*applied, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


def test_constants_may_be_in_any_precision():
    layer = Permute(EVENT, "random")  # integers
    x = torch.randn(2, *EVENT)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        y, log_det = layer.forward_and_log_det(x.to(dtype))
        assert y.dtype == log_det.dtype == dtype
        torch.testing.assert_close(y, x.to(dtype)[:, layer.index])


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


def test_state_dict_keys_are_the_layers():
    keys = Flow.from_spec(SPECS["image"]).state_dict().keys()
    assert "layers.2.log_scale" in keys and "layers.3.matrix.lower" in keys and "initialized" in keys


@pytest.mark.parametrize("dtype, rtol", [(torch.float32, 1e-6), (torch.float64, 1e-14)], ids=str)
@pytest.mark.parametrize("high", [255.0, 60000.0])
def test_a_small_matrix_beside_a_large_offset_keeps_its_digits(dtype, rtol, high):
    run = ChannelRun([Rescale((1,), 0.3, high), ActNorm((1,))])
    like = torch.zeros(1, dtype=dtype)
    for composed, expected in ((run.affine, 1 / (high - 0.3)), (run.affine_inverse, high - 0.3)):
        assert composed(like).matrix.item() == pytest.approx(expected, rel=rtol)


def test_fp16_holds_the_vectors_that_show_a_matrix():
    flow = Flow([Rescale((3,), 0, 256), ActNorm((3,)), coupling((3,), Affine())])
    perturb(flow, 0.1)
    x = torch.rand(5, 3) * 256
    torch.testing.assert_close(copy.deepcopy(flow).half()(x.half()).float(), flow(x), atol=0.05, rtol=0.01)
