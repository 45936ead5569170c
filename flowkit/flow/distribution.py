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
from flowkit.flow import inputs
from flowkit.flow.flow import Flow


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
    """The distributions p(x | context) of a flow over continuous data, one for each context of a batch.

    ``sample`` and ``rsample`` draw from torch's global generator, as all torch distributions do.

    Args:
        flow: The flow.
        context: A single context, or a batch [*batch_shape, *context_shape]. The batch shape of labels is that of the
            tensor.

    Raises:
        InputError: If the flow needs a context and gets none, or the context has the wrong shape or type.

    Examples:
        >>> import torch
        >>> from torch.distributions import Categorical, MixtureSameFamily
        >>> from flowkit import Flow, presets
        >>> from flowkit.flow import FlowDistribution
        >>> flow = Flow.from_spec(presets.realnvp(2, classes=10))
        >>> each = FlowDistribution(flow, torch.arange(10))  # one distribution for each label
        >>> each.sample((5,)).shape
        torch.Size([5, 10, 2])
        >>> marginal = MixtureSameFamily(Categorical(torch.ones(10)), each)  # Σ_c p(c) p(x | c)
        >>> marginal.log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, flow: Flow, context: Tensor | None = None) -> None:
        self.flow, self.context = flow, context
        batch_shape = inputs.batch_shape(flow.context, context)
        super().__init__(torch.Size(batch_shape), torch.Size(flow.event_shape), validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """True if samples have pathwise gradients: see ``Flow.rsample``."""
        return self.flow.reparametrized

    @property
    def support(self) -> constraints.Constraint:
        """The domain of the events: that of the flow's spec. For a flow without a spec it is the reals."""
        domains = REALS if self.flow.spec is None else self.flow.spec.event.domains
        if isinstance(domains, tuple):
            columns = constraints.cat([_constraint(domain) for domain in domains], -1, [1] * len(domains))
            return constraints.independent(columns, 1)
        return constraints.independent(_constraint(domains), len(self.event_shape))

    def expand(self, batch_shape: Sequence[int], _instance: FlowDistribution | None = None) -> FlowDistribution:
        """Return the distribution with its contexts expanded to a batch shape. Samples of one context differ.

        Args:
            batch_shape: The new batch shape, to which that of the contexts can be broadcast.
            _instance: An instance to fill instead of a new one, as torch's distributions have it.
        """
        shape = torch.Size(batch_shape)
        expanded = self._get_checked_instance(FlowDistribution, _instance)
        expanded.flow, expanded.context = self.flow, self.context
        if self.context is not None:
            own = self.context.shape[len(self.batch_shape) :]
            expanded.context = self.context.expand((*shape, *own))
        super(FlowDistribution, expanded).__init__(shape, self.event_shape, validate_args=False)
        return expanded

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw samples without gradients.

        Args:
            sample_shape: The shape of the samples for each context.

        Returns:
            The samples, [*sample_shape, *batch_shape, *event_shape].
        """
        return self.flow.sample((*sample_shape, *self.batch_shape), self.context)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw samples with gradients for the parameters and the contexts.

        Args:
            sample_shape: The shape of the samples for each context.

        Returns:
            The samples, [*sample_shape, *batch_shape, *event_shape].
        """
        return self.flow.rsample((*sample_shape, *self.batch_shape), self.context)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value) in nats, of the shape to which the batch shapes are broadcast.

        Args:
            value: The events, [*shape, *event_shape]. ``shape`` is broadcast to the batch shape of the contexts.

        Raises:
            InputError: If value doesn't end with the event shape, or can't be broadcast.
        """
        inputs.check_tensor("value", value)
        batch_dims = max(0, value.dim() - len(self.event_shape))
        if value.shape[batch_dims:] != self.event_shape:
            raise InputError(f"value has shape {list(value.shape)}; it must end with {list(self.event_shape)}")
        try:
            shape = torch.broadcast_shapes(value.shape[:batch_dims], self.batch_shape)
        except RuntimeError:
            wanted = f"{list(self.batch_shape)}, the shape of the contexts"
            raise InputError(f"value has shape {list(value.shape)}; it can't be broadcast to {wanted}") from None
        events = value.expand((*shape, *self.event_shape)).reshape(-1, *self.event_shape)
        single = not self.batch_shape  # a flow encodes it once for all events
        context = self.context if single else inputs.per_sample(self.flow.context, self.context, shape)
        return self.flow.log_prob(events, context).view(shape)
