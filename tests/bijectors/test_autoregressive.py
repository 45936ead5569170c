"""Autoregressive layers: the formula, the masks of MADE, the passes of the inverse, and orders."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from flowkit.bijectors import Autoregressive, MaskedConditioner, Order
from flowkit.errors import InputError
from flowkit.flow import Flow
from flowkit.testing import perturb
from flowkit_autoregressive.made import MADE, MaskedLinear
from flowkit_autoregressive.orders import Listed, Natural, Random, Reversed
from flowkit_glow.affine import Affine
from flowkit_glow.mlp import MLP
from tests.flow.specs import perturbed


def layer(order: Order, **fields: object) -> Autoregressive:
    torch.manual_seed(0)
    network = MADE(order, (2, *order.event_shape), **{"hidden": 8, **fields})
    made = Autoregressive(order, network, Affine()).double()
    perturb(made, 0.6)
    return made


class Sum(MaskedConditioner):
    """θ_i = (Σ x_j, Σ x_j) over the j before i in the order."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        ranks = order.ranks().flatten()
        self.before = (ranks[:, None] > ranks).double()
        self.calls = 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        self.calls += 1
        return torch.stack(2 * [x @ self.before.T], 1)


def test_it_is_its_formula() -> None:
    """For order 2, 0, 1: x_2 is kept, x_0 is moved and scaled by x_2, x_1 by x_2 + x_0."""
    order = Listed((3,), [2, 0, 1])
    x = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64)
    y, log_det = Autoregressive(order, Sum(order), Affine(scale=(1e-6, 1e6))).forward_and_log_det(x)
    theta = torch.tensor([2.0, 2.5, 0.0], dtype=torch.float64)
    limit = torch.tensor(1e6, dtype=torch.float64).log()
    log_s = limit * torch.tanh(theta / limit)
    torch.testing.assert_close(y[0], log_s.exp() * x[0] + theta)
    torch.testing.assert_close(log_det[0], log_s.sum())


def test_the_density_takes_one_pass_and_the_inverse_one_for_each_value() -> None:
    order = Random((6,))
    counted = Autoregressive(order, Sum(order), Affine())
    y, _ = counted.forward_and_log_det(torch.randn(2, 6, dtype=torch.float64))
    assert counted.conditioner.calls == 1
    counted.inverse_and_log_det(y)
    assert counted.conditioner.calls == 7


@pytest.mark.parametrize(("activation", "a"), [("relu", torch.relu), ("elu", nn.functional.elu), ("tanh", torch.tanh)])
def test_a_residual_block_adds_to_the_units_before_their_activation(activation: str, a: Callable[..., Tensor]) -> None:
    made = layer(Natural((4,)), residual=True, layers=1, activation=activation).conditioner
    first, inner, outer = made.linears
    x = torch.randn(5, 4, dtype=torch.float64)
    h = first(x)
    torch.testing.assert_close(made(x).flatten(1), made.last(h + outer(a(inner(a(h))))))


@pytest.mark.parametrize("residual", [False, True])
def test_the_inverse_computes_theta_of_one_value_at_a_time(residual: bool) -> None:
    """And it multiplies masks and weights once, not once for each value."""
    size, hidden, layers = 6, 8, 2
    made = MADE(Natural((size,)), (2, size), hidden=hidden, layers=layers, residual=residual)
    y = torch.randn(1, size)
    with FlopCounterMode(display=False) as counted, Calls() as calls, torch.no_grad():
        Autoregressive(Natural((size,)), made, Affine()).inverse_and_log_det(y)
    linears = len(made.linears)
    of_one = 2 * hidden * (size + (linears - 1) * hidden + 2)  # multiplications and additions of one event
    assert counted.get_total_flops() == size * of_one
    assert calls.masked == linears + 1


class Calls(TorchDispatchMode):
    """Counts products of two matrices, element by element: of masks and weights."""

    masked = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.ops.aten.mul.Tensor and all(isinstance(each, Tensor) and each.dim() == 2 for each in args):
            self.masked += len(args[0]) > 1
        return func(*args, **kwargs or {})


class Overflows(MaskedConditioner):
    """θ_i is infinite as long as a value before i is 0, as it is until that value is found."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        ranks = order.ranks()
        self.before = ranks[:, None] > ranks

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        missing = ((x[:, None] == 0) & self.before).any(2)
        return torch.where(missing, torch.inf, 0.1)[:, None].expand(-1, 2, -1)


def test_what_is_not_found_yet_leaves_no_trace_in_values_and_gradients() -> None:
    order = Natural((4,))
    overflowing = Autoregressive(order, Overflows(order), Affine())
    y = torch.linspace(1, 2, 8, dtype=torch.float64).reshape(2, 4).requires_grad_()
    x, log_det = overflowing.inverse_and_log_det(y)
    (gradient,) = torch.autograd.grad(x.sum() + log_det.sum(), y)
    assert x.isfinite().all() and log_det.isfinite().all() and gradient.isfinite().all()


def test_the_jacobian_of_both_directions_under_torch_func() -> None:
    made = layer(Random((4,)))
    x = torch.randn(3, 4, dtype=torch.float64)
    y, log_det = made.forward_and_log_det(x)
    there = vmap(jacrev(lambda v: made.forward_and_log_det(v[None])[0][0]))(x)
    back = vmap(jacrev(lambda v: made.inverse_and_log_det(v[None])[0][0]))(y)
    torch.testing.assert_close(torch.linalg.slogdet(there).logabsdet, log_det)
    torch.testing.assert_close(back @ there, torch.eye(4, dtype=torch.float64).expand(3, 4, 4), atol=1e-10, rtol=0)


def masks(made: MADE) -> list[Tensor]:
    return [linear.mask for linear in (*made.linears, made.last) if isinstance(linear, MaskedLinear)]


@pytest.mark.parametrize(
    ("size", "hidden", "layers", "residual"), [*product([2, 3, 5], [5, 7], [1, 3], [False, True]), (1, 4, 2, False)]
)
def test_the_masks_of_made_connect_all_that_they_may(size: int, hidden: int, layers: int, residual: bool) -> None:
    """The product of the masks is not 0 exactly where θ_i may depend on x_j."""
    order = Random((size,), seed=size)
    for context in (0, 2):
        made = MADE(order, (3, size), (context,) if context else None, hidden, layers, residual)
        product_ = torch.eye(size + context)
        for mask in masks(made):
            product_ = mask @ product_
        connected = product_.unflatten(0, (3, size)) > 0
        ranks = order.ranks()
        assert torch.equal(connected[..., :size], (ranks[:, None] > ranks).expand(3, size, size))
        assert connected[..., size:].all()


@pytest.mark.parametrize("hidden", [1, 2, 3, 6])
def test_with_few_units_every_value_but_the_last_is_read(hidden: int) -> None:
    order = Natural((9,))
    first, _, last = masks(MADE(order, (1, 9), None, hidden))
    read = (last @ first).any(0)
    assert read[:8].all() and not read[8]


def test_freeze_multiplies_the_masks_into_the_weights() -> None:
    made = layer(Random((5,)), residual=True)
    frozen = made.freeze()
    assert not any(isinstance(part, MaskedLinear) for part in frozen.modules())
    assert [*dict(frozen.named_buffers())] == ["sequence", "ranks"]
    x = torch.randn(3, 5, dtype=torch.float64)
    for each in (frozen, frozen.freeze()):
        for one, other in zip(made.forward_and_log_det(x), each.forward_and_log_det(x), strict=True):
            torch.testing.assert_close(one, other, atol=1e-14, rtol=0)
    assert any(isinstance(part, MaskedLinear) for part in made.modules())


def test_the_state_has_weights_alone() -> None:
    assert {key.rpartition(".")[2] for key in layer(Random((5,))).state_dict()} == {"weight", "bias"}


def test_orders() -> None:
    assert list(Natural((2, 1, 2)).sequence()) == [0, 1, 2, 3] and list(Reversed((3,)).sequence()) == [2, 1, 0]
    assert Listed((3,), [2, 0, 1]).ranks().tolist() == [1, 2, 0]
    assert Reversed((2, 1, 2)).ranks().tolist() == [[[3, 2]], [[1, 0]]]


def test_a_random_order_is_the_same_in_every_version() -> None:
    """A saved model must find its order again."""
    assert list(Random((8,)).sequence()) == RANDOM_0
    assert list(Random((8,), seed=1).sequence()) == RANDOM_1


RANDOM_0 = [3, 7, 5, 2, 4, 1, 6, 0]
RANDOM_1 = [0, 3, 5, 4, 6, 2, 7, 1]


def test_a_flow_is_written_as_a_spec() -> None:
    flow = perturbed("sequence")
    written = Flow(list(flow.layers), context={"classes": 3}).to_spec()
    assert written.flow == flow.to_spec().flow
    assert written.flow[1].order.config.indices == [2, 0, 1] and written.flow[2].inverse is True


class Shuffles(Order):
    """It gives another sequence at each call."""

    calls = 0

    def sequence(self) -> list[int]:
        self.calls += 1
        return [self.calls % 2, (self.calls + 1) % 2]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Listed((3,), [2, 2, 1]), "Listed gives the sequence 2, 2, 1"),
        (Listed((3,), [0, 1]), "each of 0 … 2 once"),
        (Shuffles((2,)), "another sequence at each call"),
    ],
)
def test_an_order_that_is_no_permutation_is_refused(order: Order, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Autoregressive(order, MADE(order, (2, *order.event_shape)), Affine())


def test_a_network_without_masks_is_refused() -> None:
    with pytest.raises(InputError, match="takes a MaskedConditioner, not a MLP"):
        Autoregressive(Natural((3,)), MLP((3,), (2, 3), None), Affine())  # type: ignore[arg-type]
