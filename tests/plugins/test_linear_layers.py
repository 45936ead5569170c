"""Permutations, flips, rolls and Householder reflections do what their formulas say, and are read back as written."""

import pytest
import torch

from flowkit import Flow
from flowkit.errors import ShapeError, SpecError
from flowkit_glow.householder import Householder
from flowkit_glow.permute import Permute
from flowkit_glow.reordering import Flip, Roll

IMAGE = torch.tensor([[[0.0, 1, 2], [3, 4, 5]]])  # [1, 2, 3]

MOVES = {
    "permute": (Permute((4,), [2, 0, 3, 1]), torch.tensor([10.0, 11, 12, 13]), [12, 10, 13, 11]),
    "permute an image": (Permute((2, 1, 2), [1, 0]), torch.tensor([[[0.0, 1]], [[2, 3]]]), [[[2, 3]], [[0, 1]]]),
    "flip a vector": (Flip((3,)), torch.arange(3.0), [2, 1, 0]),
    "flip the width": (Flip((1, 2, 3)), IMAGE, [[[2, 1, 0], [5, 4, 3]]]),
    "flip the height": (Flip((1, 2, 3), "height"), IMAGE, [[[3, 4, 5], [0, 1, 2]]]),
    "roll a vector": (Roll((4,)), torch.arange(4.0), [3, 0, 1, 2]),
    "roll back": (Roll((4,), shift=-1), torch.arange(4.0), [1, 2, 3, 0]),
    "roll the width": (Roll((1, 2, 3), shift=10**30 + 2), IMAGE, [[[0, 1, 2], [3, 4, 5]]]),
    "roll the height": (Roll((1, 2, 3), "height"), IMAGE, [[[3, 4, 5], [0, 1, 2]]]),
}
"""A layer, an event, and where the layer moves its values: 10³⁰ + 2 is a multiple of 3."""


@pytest.mark.parametrize("name", MOVES)
def test_values_are_moved_as_the_formula_says(name):
    layer, event, moved = MOVES[name]
    y, log_det = layer.forward_and_log_det(event[None])
    assert y[0].tolist() == moved
    assert log_det.tolist() == [0]
    assert torch.equal(layer.inverse_and_log_det(y)[0], event[None])


@pytest.mark.parametrize(("c", "reflections"), [(1, None), (5, None), (4, 3), (2, 9)])
def test_a_householder_matrix_is_the_product_of_its_reflections(c, reflections):
    torch.manual_seed(0)
    layer = Householder((c,), reflections).double()
    identity = torch.eye(c).double()
    product = identity
    for v in layer.v:
        product = product @ (identity - 2 * torch.outer(v, v) / v.dot(v))
    affine = layer.affine()
    torch.testing.assert_close(affine.matrix, product, rtol=0, atol=1e-13)
    torch.testing.assert_close(layer.affine_inverse().matrix @ product, identity, rtol=0, atol=1e-13)
    assert affine.log_det == 0
    assert torch.linalg.det(affine.matrix).item() == pytest.approx((-1) ** len(layer.v))


def test_a_vector_of_zeros_reflects_nothing():
    layer = Householder((3,), 2)
    with torch.no_grad():
        layer.v[1] = 0
    v = layer.v[0]
    torch.testing.assert_close(layer.affine().matrix, torch.eye(3) - 2 * torch.outer(v, v) / v.dot(v))
    layer.affine().matrix.sum().backward()
    assert layer.v.grad.isfinite().all()


STEPS = [
    {"use": "glow/permute", "order": [1, 2, 3, 0]},
    {"use": "glow/flip", "axis": "height"},
    {"use": "glow/roll", "axis": "width", "shift": -3},
    {"use": "glow/householder", "reflections": 2},
    {"use": "glow/householder"},
]


def test_they_are_written_and_read_as_the_same():
    flow = Flow.from_spec({"flowkit": 1, "event": {"shape": [4, 2, 3]}, "flow": STEPS})
    again = Flow.from_spec(Flow(flow.layers).to_spec())
    assert again.to_spec() == flow.to_spec()
    again.load_state_dict(flow.state_dict())
    x = torch.randn(2, 4, 2, 3)
    assert torch.equal(again.log_prob(x), flow.log_prob(x))


REFUSED = {
    "twice the same index": ([0, 2, 2], r"flow\[0\].order: is no permutation: a list of 3 has each index from 0 to 2"),
    "indices from 1": ([1, 2, 3], r"flow\[0\].order: is no permutation"),
    "indices from the end": ([0, -1, -2], r"flow\[0\].order\[1\]: must be at least 0, not -1"),
    "no index": ([], r"flow\[0\].order: must have 1 or more entries"),
    "a fraction": ([0, 1.5, 1], r"flow\[0\].order\[1\]: must be a whole number"),
    "too few channels": ([1, 0], r"flow\[0\]: permute has an order of 2 channels, and there are 3: list 3 indices"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_list_that_is_no_permutation_of_the_channels_is_refused(name):
    order, message = REFUSED[name]
    spec = {"flowkit": 1, "event": {"shape": [3]}, "flow": [{"use": "glow/permute", "order": order}]}
    with pytest.raises(SpecError, match=message):
        Flow.from_spec(spec)


def test_a_layer_that_does_not_fit_its_event_is_not_built():
    with pytest.raises(ShapeError, match="order of 2 channels"):
        Permute((3,), [1, 0])
    for layer in (Flip, Roll):
        with pytest.raises(ShapeError, match="only an image"):
            layer((3,), "height")
