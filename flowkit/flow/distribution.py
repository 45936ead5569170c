"""Defines FlowDistribution, which presents a flow as a torch.distributions.Distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from flowkit.domains import REALS, Domain
from flowkit.errors import InputError
from flowkit.flow.flow import Flow
from flowkit.flow.inputs import check_tensor


def _constraint(domain: Domain) -> constraints.Constraint:
    """Return the constraint of one coordinate. A circle has that of the interval which it is cut open to."""
    match math.isfinite(domain.low), math.isfinite(domain.high):
        case True, True:
            return constraints.interval(domain.low, domain.high)
        case True, False:
            return constraints.greater_than(domain.low)
        case False, True:
            return constraints.less_than(domain.high)
    return constraints.real


class FlowDistribution(Distribution):
    """The distribution p(x | context) of a flow over continuous data, with one context for all samples.

    ``sample`` draws from torch's global generator, as all torch distributions do.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, flow: Flow, context: Tensor | None = None) -> None:
        self.flow, self.context = flow, context
        super().__init__(event_shape=torch.Size(flow.event_shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The domain of the events: that of the flow's spec. For a flow without a spec it is the reals."""
        domains = REALS if self.flow.spec is None else self.flow.spec.event.domains
        if isinstance(domains, tuple):
            columns = constraints.cat([_constraint(domain) for domain in domains], -1, [1] * len(domains))
            return constraints.independent(columns, 1)
        return constraints.independent(_constraint(domains), len(self.event_shape))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw samples, [*sample_shape, *event_shape]."""
        n = torch.Size(sample_shape).numel()
        return self.flow.sample(n, self.context).view(*sample_shape, *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value) in nats, [*sample_shape], for value [*sample_shape, *event_shape].

        Raises InputError if value doesn't end with the event shape.
        """
        check_tensor("value", value)
        batch_dims = value.dim() - len(self.event_shape)
        if value.shape[max(0, batch_dims) :] != self.event_shape:
            raise InputError(f"value has shape {list(value.shape)}; it must end with {list(self.event_shape)}")
        flat = value.reshape(-1, *self.event_shape)
        return self.flow.log_prob(flat, self.context).view(value.shape[:batch_dims])
