"""A flow that others use at the same time: threads, and the transforms of torch.func."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.func import functional_call, jvp, stack_module_state, vmap

from tests.bijectors.test_changed_layers import EVENT, glow

X = torch.randn(5, *EVENT, dtype=torch.float64)


@pytest.mark.parametrize("gradients", [True, False], ids=["with gradients", "without"])
def test_threads_may_share_a_flow(gradients: bool) -> None:
    flow = glow().eval()
    expected = flow(X).detach()

    def score(_: int) -> bool:
        with torch.set_grad_enabled(gradients):
            return torch.equal(flow(X), expected)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(score, range(100)))


def test_threads_may_share_a_flow_whose_layers_are_replaced() -> None:
    flow = glow()
    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            flow.layers[0] = copy.deepcopy(flow.layers[0])
            list(threads.map(lambda _: flow(X), range(8)))
            flow(X)


def test_a_derivative_forward_is_that_of_the_numbers_at_hand() -> None:
    """Matrices that were kept have no tangents."""
    flow = glow()
    at = {name: p.detach() for name, p in flow.named_parameters()}
    along = {name: torch.ones_like(p) for name, p in at.items()}

    def log_prob(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional_call(flow, parameters, (X,))

    expected = jvp(log_prob, (at,), (along,))
    with torch.no_grad():
        flow(X)
        found = jvp(log_prob, (at,), (along,))
    torch.testing.assert_close(found, expected)


def test_an_ensemble_leaves_the_flow_alone() -> None:
    flow, flows = glow(), [glow() for _ in range(3)]
    parameters, buffers = stack_module_state(flows)
    with torch.no_grad():
        together = vmap(lambda p, b: functional_call(flow, (p, b), (X,)))(parameters, buffers)
        torch.testing.assert_close(together, torch.stack([each(X) for each in flows]))
        torch.testing.assert_close(copy.deepcopy(flow)(X), flow(X))
