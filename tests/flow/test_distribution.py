"""Samples for batches of contexts, pathwise gradients, and flows as torch distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily

from flowkit.errors import InputError
from flowkit.flow import Flow, FlowDistribution
from flowkit.testing import perturb
from tests.flow.specs import VECTOR, batch, perturbed

CONTEXTS = torch.tensor([[0.3, 0.1], [-1.0, 2.0], [0.5, 0.5]], dtype=torch.float64)


def of_base(base: str, **fields: object) -> Flow:
    flow = Flow.from_spec({**VECTOR, "base": {"use": f"base/{base}", **fields}}).double()
    perturb(flow, 0.3)
    return flow


@pytest.mark.parametrize("name", ["arrays", "labels"])
def test_contexts_are_broadcast_to_the_shape_of_samples(name: str) -> None:
    flow = perturbed(name)
    contexts = batch(flow, 3)[1]
    samples = flow.sample((4, 3), contexts, seed=0)
    assert torch.equal(samples.flatten(0, 1), flow.sample(12, torch.cat([contexts] * 4), seed=0))
    column = flow.sample((3, 4), contexts[:, None], seed=0)
    assert torch.equal(column.flatten(0, 1), flow.sample(12, contexts.repeat_interleave(4, 0), seed=0))
    assert torch.equal(flow.sample((2, 3), contexts[0], seed=0), flow.sample((2, 3), contexts[:1], seed=0))
    assert flow.sample(3, contexts).shape == (3, *flow.event_shape)  # as many contexts as samples: one for each
    assert flow.sample((), contexts[0]).shape == flow.event_shape
    assert flow.sample((2, 0, 3), contexts).shape == (2, 0, 3, *flow.event_shape)


@pytest.mark.parametrize(
    ("n", "says"),
    {
        "other": (5, r"context has shape \[3, 2\]; these samples need \[5, 2\].* draw sample\(\(5, 3\), context\)"),
        "first": ((3, 4), r"these samples need \[3, 4, 2\], or \[2\] for all$"),
        "one": ((), r"these samples need \[2\]"),
        "negative": ((3, -1), "n must be at least 0"),
        "text": ("34", "n must be an integer"),
    }.values(),
)
def test_shapes_that_contexts_do_not_fit(n: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        perturbed("arrays").sample(n, CONTEXTS)


def test_a_distribution_for_each_context() -> None:
    flow = perturbed("arrays")
    each = FlowDistribution(flow, CONTEXTS)
    assert each.batch_shape == (3,) and each.event_shape == (3,)
    samples = each.sample((5,))
    assert samples.shape == (5, 3, 3)
    expected = [flow.log_prob(samples[:, i], context) for i, context in enumerate(CONTEXTS)]
    torch.testing.assert_close(each.log_prob(samples), torch.stack(expected, 1))
    # one event under each context, and each event under each context
    torch.testing.assert_close(each.log_prob(samples[0, 0]), flow.log_prob(samples[0, 0].expand(3, 3), CONTEXTS))
    assert each.log_prob(samples[:, :1]).shape == (5, 3)
    with pytest.raises(InputError, match=r"value has shape \[2, 3\]; it can't be broadcast to \[3\]"):
        each.log_prob(samples[0, :2])


def test_a_distribution_refuses_a_context_at_once() -> None:
    with pytest.raises(InputError, match=r"context has shape \[3\]; it must end with \[2\]"):
        FlowDistribution(perturbed("arrays"), torch.zeros(3))
    with pytest.raises(InputError, match="this flow is conditional"):
        FlowDistribution(perturbed("arrays"))
    with pytest.raises(InputError, match="takes no context"):
        FlowDistribution(perturbed("vector"), torch.zeros(2))


def test_expand() -> None:
    for each in (FlowDistribution(perturbed("arrays"), CONTEXTS), FlowDistribution(perturbed("vector"))):
        expanded = each.expand((4, 3))
        assert type(expanded) is FlowDistribution
        assert expanded.batch_shape == (4, 3) and expanded.event_shape == each.event_shape
        samples = expanded.sample((2,))
        assert samples.shape == (2, 4, 3, 3)
        assert len(samples.reshape(-1, 3).unique(dim=0)) == 24
        torch.testing.assert_close(expanded.log_prob(samples), each.log_prob(samples))
        assert expanded.support.event_dim == 1


def test_a_class_that_is_not_known_is_summed_over() -> None:
    """log p(x) = log Σ_c p(c) p(x | c), by torch's own mixture."""
    flow = perturbed("sequence")
    weights = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    marginal = MixtureSameFamily(Categorical(weights), FlowDistribution(flow, torch.arange(3)))
    x = marginal.sample((6,))
    assert x.shape == (6, 3)
    each = torch.stack([flow.log_prob(x, torch.tensor(c)) for c in range(3)], 1)
    torch.testing.assert_close(marginal.log_prob(x), (each + weights.log()).logsumexp(1))


@pytest.mark.parametrize("base", ["standard_normal", "full_normal", "student_t", "laplace"])
def test_gradients_of_samples_are_those_of_the_parameters(base: str) -> None:
    flow = of_base(base)
    samples = flow.rsample(7, seed=0)
    assert torch.equal(samples.detach(), flow.sample(7, seed=0))
    samples.square().sum().backward()
    for parameter in flow.parameters():
        if parameter.grad is None:  # of a layer whose log-det alone depends on it, none here
            continue
        entry = parameter.view(-1)
        at, step = int(parameter.grad.abs().argmax()), 1e-6
        sums = []
        for sign in (1, -1):
            with torch.no_grad():
                entry[at] += sign * step
                sums.append(flow.sample(7, seed=0).square().sum().item())
                entry[at] -= sign * step
        assert parameter.grad.view(-1)[at].item() == pytest.approx((sums[0] - sums[1]) / (2 * step), rel=1e-4, abs=1e-5)


def test_gradients_of_samples_reach_the_context() -> None:
    context = CONTEXTS.clone().requires_grad_()
    each = FlowDistribution(perturbed("arrays"), context)
    assert each.has_rsample
    each.rsample((4,)).sum().backward()
    assert (context.grad != 0).all()
    assert not each.sample((4,)).requires_grad


def test_samples_without_gradients_say_so() -> None:
    mixture, integers = of_base("gaussian_mixture", components=2), perturbed("image")
    assert not FlowDistribution(mixture).has_rsample and not FlowDistribution(integers).has_rsample
    with pytest.raises(InputError, match="its base GaussianMixture chooses among components: use sample"):
        FlowDistribution(mixture).rsample((2,))
    with pytest.raises(InputError, match="its data are integers: use sample"):
        integers.rsample(2)
    assert not mixture.freeze().reparametrized
