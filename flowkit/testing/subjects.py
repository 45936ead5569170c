"""Defines subjects, which checks run on: they make the thing under test, and draw its inputs from one seed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from itertools import islice
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from flowkit.bijectors import Order
from flowkit.bijectors.base_distribution import as_uniform, from_flat_noise
from flowkit.directions import Direction, Shared, lacks
from flowkit.domains import REALS, Domain, Domains
from flowkit.export.program import Operation
from flowkit.plugin import Found, Shape
from flowkit.plugin.descriptor import Likelihood
from flowkit.testing.perturbation import move_vectors, perturb, seeded

FORWARD, INVERSE = "forward_and_log_det", "inverse_and_log_det"
LOG_PROB, FROM_NOISE = "log_prob", "from_noise"


PERTURBATION = 0.3
"""The scale of the noise on parameters."""
SCALES = (PERTURBATION, 0.6, 0.6)
"""Perturbations of several draws: one may be a special case, and one too near to the identity to show an error."""
DRAWS = 30
"""The most draws until one shows what it must."""
EXTREME = 30.0
"""A value unlike any that a standardized event has."""
NEAR = 1e-2, 1e-4, 1e-6, 1e-8
"""The scales of rows near 0, where a formula may have a branch of its own."""
FAR_CONTEXTS = 10.0
"""The distance at which contexts are tried, in standard deviations."""
FAR_VECTORS = 3.0
"""The scale of the noise on vectors and numbers that data in other units makes large: e³ is a scale of 20."""


@dataclass(frozen=True)
class Call:
    """A call of a method, with the event shape of each tensor that it must return."""

    method: str
    inputs: tuple[Tensor, ...]
    returns: Mapping[str, Shape]

    def __call__(self, module: nn.Module) -> dict[str, Tensor]:
        """Return what the module returns, by name. Raises AssertionError if it is not as many tensors."""
        output = self.function(module)(module, *self.inputs)
        outputs = output if isinstance(output, tuple | list) else (output,)
        wanted = ", ".join(self.returns)
        assert len(outputs) == len(self.returns), f"{self.method} returns {len(outputs)} values, not {wanted}"
        return {f"{name} of {self.method}": value for name, value in zip(self.returns, outputs, strict=True)}

    def at(self, *inputs: Tensor) -> Call:
        """Return the same call with other inputs."""
        return replace(self, inputs=inputs)

    def map(self, function: Callable[[Tensor], Tensor]) -> Call:
        """Return the same call with every input changed."""
        return self.at(*map(function, self.inputs))

    def function(self, module: nn.Module) -> Callable[..., Any]:
        """Return the module's method as a function of the module and the inputs."""
        return from_flat_noise if self.method == FROM_NOISE else getattr(type(module), self.method)

    def on(self, module: nn.Module) -> Operation:
        """Return the module's method as a module, which gives a tuple of tensors."""
        return Operation(module, self.function(module))


@dataclass(frozen=True)
class Subject(ABC):
    """A part that is tested.

    Attributes:
        make: A function that builds a new one at each call.
        seed: The seed of all random numbers.
        expected_failures: The ids of checks that fail, for now, each with the reason. One that passes is an error.
        kind: The name of its kind, a key of ``CHECKS``.
    """

    make: Callable[[], Any]
    seed: int = field(default=0, kw_only=True)
    expected_failures: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    kind: ClassVar[str]


class ModuleSubject(Subject):
    """A torch module."""

    def fresh(self, seed: int = 0) -> Any:
        """Return a new module as ``make`` gives it, in fp64 and evaluation mode."""
        with seeded(self.seed + seed):
            return self.make().double().eval()

    def module(self, seed: int = 0, scale: float = PERTURBATION) -> Any:
        """Return a new module with every parameter moved, because errors don't show at initialisation."""
        module = self.fresh(seed)
        with seeded(self.seed + seed + 1):
            perturb(module, scale)
        return module

    def far_module(self) -> Any:
        """Return a module whose offsets and logarithms of scales are large."""
        module = self.module()
        with seeded(self.seed + 2):
            move_vectors(module, FAR_VECTORS)
        return module

    def draws(self) -> Iterator[Any]:
        """Yield many draws, for what must show in one of them: the few units of a small network are often dead."""
        for seed in range(DRAWS):
            yield self.module(seed, SCALES[min(seed, len(SCALES) - 1)])

    def modules(self) -> list[Any]:
        """Return several draws, for what must hold in each of them: a determinant has either sign."""
        return list(islice(self.draws(), len(SCALES)))

    @abstractmethod
    def calls(self, module: Any, n: int = 3, seed: int = 1) -> list[Call]:
        """Return all calls that the module takes, with ``n`` rows each."""

    def normal(self, *shape: int, seed: int = 1) -> Tensor:
        """Return standard normal draws, fp64."""
        generator = torch.Generator().manual_seed(self.seed + seed)
        return torch.randn(*shape, dtype=torch.float64, generator=generator)


class ConditionalSubject(ModuleSubject):
    """A torch module that may read a context."""

    context_shape: Shape | None
    labels: bool

    def contexts(self, n: int, seed: int = 1, distance: float = 1.0) -> list[Tensor]:
        """Return the context of n events, in a list, which is empty if there is none.

        Args:
            n: The number of events.
            seed: The seed of the contexts.
            distance: The scale of the normal draws that contexts are made of. A label is that of the largest draw.
        """
        if self.context_shape is None:
            return []
        drawn = distance * self.normal(n, *self.context_shape, seed=seed + 1000)
        return [nn.functional.one_hot(drawn.argmax(1), drawn.shape[1]).to(drawn) if self.labels else drawn]

    def far_context(self, context: Tensor) -> Tensor:
        """Return a context far from 0, unless it is a label."""
        return context if self.labels else FAR_CONTEXTS * context

    def other_context(self, context: Tensor) -> Tensor:
        """Return a context of which each row differs."""
        return context.roll(1, 1) if self.labels else context + 1


@dataclass(frozen=True)
class BijectorSubject(ConditionalSubject):
    """A Bijector from ``domain`` to ``codomain``.

    Keep its event small, at most some 60 values: the Jacobian is computed in full.

    Attributes:
        context_shape: The shape of the context that it is given, or None without one.
        domain: The domain that it takes.
        codomain: The domain that it gives.
        directions: The directions that it has.
        labels: True if contexts are one-hot labels [classes], as a flow gives labels to its layers.
        likelihood: Its declared likelihood. Log-dets and densities are compared if it is exact.
    """

    context_shape: Shape | None = None
    domain: Domains = REALS
    codomain: Domains = REALS
    directions: Shared = "both"
    labels: bool = False
    likelihood: Likelihood = "exact"
    kind = "bijector"

    def calls(self, module: Any, n: int = 3, seed: int = 1, distance: float = 1.0) -> list[Call]:
        """Return the calls of the directions that the bijector has: forward first, if it has both.

        Args:
            module: The bijector.
            n: The number of rows.
            seed: The seed of the inputs.
            distance: The scale of the normal draws that x and y are made of.
        """
        return self._both_ways(module, lambda shape: distance * self.normal(n, *shape, seed=seed), seed)

    def near_calls(self, module: Any) -> list[Call]:
        """Return the calls with rows nearer and nearer to 0, which is the middle of a domain that isn't the reals.

        Args:
            module: The bijector.
        """

        def near(shape: Shape) -> Tensor:
            normal = self.normal(len(NEAR), *shape)
            return normal * normal.new_tensor(NEAR).reshape(-1, *[1] * len(shape))

        return self._both_ways(module, near)

    def extreme_calls(self, module: Any, extreme: float = EXTREME) -> list[Call]:
        """Return the calls with rows of 0, of 1, of -1, of ±30, and of 0, 30 and -30 together.

        Args:
            module: The bijector.
            extreme: What stands in the place of 30.
        """

        def rows(shape: Shape) -> Tensor:
            mixed = extreme * self.normal(2, *shape).round().clamp(-1, 1)
            equal = mixed.new_tensor([0.0, 1, -1, extreme, -extreme]).reshape(-1, *[1] * len(shape))
            return torch.cat([equal.expand(-1, *shape), mixed])

        return self._both_ways(module, rows)

    def axis_calls(self, module: Any, distance: float) -> list[Call]:
        """Return the calls with a row for each value of x and y, at this distance from 0 and at its negative.

        Args:
            module: The bijector.
            distance: The distance.
        """

        def axes(shape: Shape) -> Tensor:
            each = distance * torch.eye(math.prod(shape), dtype=torch.float64)
            return torch.cat([each, -each]).reshape(-1, *shape)

        return self._both_ways(module, axes)

    def _both_ways(self, module: Any, rows: Callable[[Shape], Tensor], seed: int = 1) -> list[Call]:
        """Return the calls with rows of the domain and of the codomain. ``rows`` gives real numbers of a shape."""
        x, y = inside(self.domain, rows(module.event_shape)), inside(self.codomain, rows(module.output_shape))
        context = self.contexts(len(x), seed)
        both = [
            Call(FORWARD, (x, *context), {"y": module.output_shape, "log_det": ()}),
            Call(INVERSE, (y, *context), {"x": module.event_shape, "log_det": ()}),
        ]
        return _of_directions(both, self.directions)


@dataclass(frozen=True)
class TransformerSubject(ModuleSubject):
    """A Transformer of a domain.

    Attributes:
        event_shape: The shape of the events that it is checked on.
        domain: The domain that it maps to itself.
        directions: The directions that it has.
    """

    event_shape: Shape = (2, 3, 2)
    domain: Domain = REALS
    directions: Shared = "both"
    kind = "transformer"

    def theta(self, module: Any, n: int, seed: int = 1, shape: Shape | None = None, scale: float = 1.0) -> Tensor:
        """Return parameters that differ from the starting θ by at most 1.5 times ``scale``, [n, n_params, *event].

        Args:
            module: The transformer.
            n: The number of rows.
            seed: The seed of the parameters.
            shape: The shape of the event, or None for ``event_shape``.
            scale: The scale of the differences.
        """
        shape = self.event_shape if shape is None else shape
        return module.from_start(scale * self.normal(n, module.n_params, *shape, seed=seed + 1000).clamp(-1.5, 1.5))

    def calls(self, module: Any, n: int = 3, seed: int = 1, scale: float = 1.0) -> list[Call]:
        """Return the calls of the directions that the transformer has: forward first, if it has both.

        Args:
            module: The transformer.
            n: The number of rows.
            seed: The seed of the inputs.
            scale: The scale of θ's differences from the starting θ.
        """
        real = 2 * self.normal(n, *self.event_shape, seed=seed)
        return self.both_ways(inside(self.domain, real), self.theta(module, n, seed, scale=scale))

    def both_ways(self, value: Tensor, theta: Tensor) -> list[Call]:
        """Return the calls of forward and inverse with these inputs, as far as the transformer has both.

        Args:
            value: The values, [n, *event].
            theta: The parameters, [n, n_params, *event].
        """
        shapes = dict.fromkeys(("value", "log-derivative"), tuple(value.shape[1:]))
        both = [Call(method, (value, theta), shapes) for method in ("forward", "inverse")]
        return _of_directions(both, self.directions)


def _of_directions(calls: list[Call], directions: Shared) -> list[Call]:
    """Return the calls of the directions that there are. ``calls`` are that of forward and that of the inverse."""
    ways: tuple[Direction, Direction] = ("forward", "inverse")
    return [call for call, way in zip(calls, ways, strict=True) if not lacks(directions, way)]


def inside(domains: Domains, real: Tensor) -> Tensor:
    """Map real numbers [batch, *event] into a domain, strictly rising, so that large numbers stay off its ends."""
    if isinstance(domains, tuple):
        return torch.stack([_inside(domain, real[:, i]) for i, domain in enumerate(domains)], 1)
    return _inside(domains, real)


def _inside(domain: Domain, real: Tensor) -> Tensor:
    hypotenuse = (1 + real.square()).sqrt()
    positive = torch.where(real > 0, hypotenuse + real, 1 / (hypotenuse - real))
    match math.isfinite(domain.low), math.isfinite(domain.high):
        case True, True:
            return domain.low + (domain.high - domain.low) * (0.5 + real.atan() / math.pi)
        case True, False:
            return domain.low + positive
        case False, True:
            return domain.high - 1 / positive
    return real


@dataclass(frozen=True)
class SplitSubject(ModuleSubject):
    """A Split.

    Attributes:
        shapes: The shapes of both parts, kept and transformed, as its config's ``split_shapes`` returns them. With None
            they are what ``split`` gives.
    """

    shapes: tuple[Shape, Shape] | None = None
    kind = "split"

    def calls(self, module: Any, n: int = 3, seed: int = 1) -> list[Call]:
        event = module.event_shape
        kept, transformed = self.shapes or [tuple(part.shape[1:]) for part in module.split(self.normal(3, *event))]
        parts = self.normal(n, *kept, seed=seed), self.normal(n, *transformed, seed=seed + 1000)
        return [
            Call("split", (self.normal(n, *event, seed=seed),), {"kept": kept, "transformed": transformed}),
            Call("merge", parts, {"event": event}),
        ]


@dataclass(frozen=True)
class ConditionerSubject(ConditionalSubject):
    """A Conditioner.

    Attributes:
        kept_shape: The shape of the kept part that it reads.
        params_shape: The shape of the parameters that it writes, [n_params, *transformed].
        context_shape: The shape of the context that it reads, or None without one.
        labels: True if contexts are one-hot labels [classes].
    """

    kept_shape: Shape
    params_shape: Shape
    context_shape: Shape | None = None
    labels: bool = False
    kind = "conditioner"

    def calls(self, module: Any, n: int = 3, seed: int = 1) -> list[Call]:
        return _network_calls(self, self.kept_shape, n, seed)


@dataclass(frozen=True)
class MaskedConditionerSubject(ConditionalSubject):
    """A MaskedConditioner.

    Attributes:
        order: The order that it is made for. Take one that is neither that of the event nor its reverse, so that masks
            which ignore it are noticed.
        params_shape: The shape of the parameters that it writes, [n_params, *event].
        context_shape: The shape of the context that it reads, or None without one.
        labels: True if contexts are one-hot labels [classes].
    """

    order: Order
    params_shape: Shape
    context_shape: Shape | None = None
    labels: bool = False
    kind = "masked-conditioner"

    def calls(self, module: Any, n: int = 3, seed: int = 1) -> list[Call]:
        return _network_calls(self, self.order.event_shape, n, seed)


def _network_calls(
    subject: ConditionerSubject | MaskedConditionerSubject, read: Shape, n: int, seed: int
) -> list[Call]:
    """Return a call of a network that reads events of the shape ``read``, and the context if it takes one."""
    x = subject.normal(n, *read, seed=seed)
    return [Call("forward", (x, *subject.contexts(n, seed)), {"θ": subject.params_shape})]


@dataclass(frozen=True)
class OrderSubject(ModuleSubject):
    """An Order."""

    kind = "order"

    def calls(self, module: Any, n: int = 3, seed: int = 1) -> list[Call]:
        """Return none: an order computes nothing of tensors.

        Args:
            module: The order.
            n: The number of rows, which has no effect.
            seed: The seed, which has no effect.
        """
        return []


@dataclass(frozen=True)
class BaseSubject(ConditionalSubject):
    """A Base. With events of one or two values the integral of its density is computed too.

    Attributes:
        support: Its support.
        context_shape: The shape of the context that it reads, or None without one.
        labels: True if contexts are one-hot labels [classes], as a flow gives labels to its layers.
        likelihood: Its declared likelihood. Log-dets and densities are compared if it is exact.
    """

    support: Domains = REALS
    context_shape: Shape | None = None
    labels: bool = False
    likelihood: Likelihood = "exact"
    kind = "base"

    def calls(self, module: Any, n: int = 3, seed: int = 1) -> list[Call]:
        noise, context = self.noise(module, n, seed), self.contexts(n, seed)
        with torch.no_grad():
            z = from_flat_noise(module, *noise, *context)  # inside the support, whatever that is
        return [
            Call(LOG_PROB, (z.clone(), *context), {"log p": ()}),
            Call(FROM_NOISE, (*noise, *context), {"z": module.event_shape}),
        ]

    def noise(self, module: Any, n: int, seed: int = 1, distance: float = 1.0) -> list[Tensor]:
        """Return noise for n events.

        Args:
            module: The base.
            n: The number of events.
            seed: The seed of the noise.
            distance: The scale of the normal numbers.
        """
        generator = torch.Generator().manual_seed(self.seed + seed)
        return [
            distance * torch.randn(n, *each.shape, dtype=torch.float64, generator=generator)
            if each.kind == "normal"
            else as_uniform(torch.rand(n, *each.shape, dtype=torch.float64, generator=generator))
            for each in module.noise
        ]


@dataclass(frozen=True)
class EncoderSubject(ConditionalSubject):
    """An Encoder.

    Attributes:
        context_shape: The shape of the contexts.
        output_shape: The shape of the summaries, as its config says.
        labels: True if contexts are one-hot labels [classes].
    """

    context_shape: Shape
    output_shape: Shape
    labels: bool = False
    kind = "encoder"

    def calls(self, module: Any, n: int = 3, seed: int = 1, distance: float = 1.0) -> list[Call]:
        """Return the call.

        Args:
            module: The encoder.
            n: The number of rows.
            seed: The seed of the contexts.
            distance: The scale of the normal draws that contexts are made of.
        """
        return [Call("forward", tuple(self.contexts(n, seed, distance)), {"the summary": self.output_shape})]


@dataclass(frozen=True)
class DatasetSubject(Subject):
    """A Dataset."""

    kind = "dataset"


@dataclass(frozen=True)
class PluginSubject(Subject):
    """A plugin as a whole. ``make`` returns a spec that names it.

    Attributes:
        plugin: The plugin.
        part: The part of the spec's flow that it brings, or None for a dataset.
    """

    plugin: Found
    part: ModuleSubject | None = None
    kind = "plugin"


Check = Callable[[Any], None]
"""Takes a subject; raises AssertionError saying what is wrong, or NotApplicable."""


class NotApplicable(Exception):
    """Raised by a check that has nothing to check here, with the reason."""


def only_where(holds: Callable[[Any], bool], otherwise: str) -> Callable[[Check], Check]:
    """Decorate a check of those subjects for which this holds; on others it is not applicable, for this reason."""

    def decorate(check: Check) -> Check:
        @wraps(check)
        def checked(subject: Any) -> None:
            if not holds(subject):
                raise NotApplicable(otherwise)
            check(subject)

        checked.holds = lambda subject: holds(subject) and _holds(check, subject)  # type: ignore[attr-defined]
        return checked

    return decorate


def needs(*directions: Direction) -> Callable[[Check], Check]:
    """Decorate a check of subjects that have these directions; on others it is not applicable."""

    def holds(subject: Any) -> bool:
        return not any(lacks(subject.directions, direction) for direction in directions)

    ways: dict[tuple[Direction, ...], str] = {("forward",): "its inverse", ("inverse",): "forward"}
    way = ways.get(directions, "in one direction")
    return only_where(holds, f"declared to run {way} only")


exact = only_where(
    lambda subject: subject.likelihood == "exact", "its likelihood is declared to be a bound or an estimate"
)
"""Decorates a check of log-dets or densities that are declared to be exact."""


def is_applicable(check: Check, subject: Any) -> bool:
    """Return True if the check has something to check on the subject, or the subject can't be made."""
    try:
        return _holds(check, subject)
    except (Exception, SystemExit):  # whatever a plugin raises: the checks will say so
        return True


def _holds(check: Check, subject: Any) -> bool:
    return bool(getattr(check, "holds", lambda _: True)(subject))
