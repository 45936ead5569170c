"""Walks a spec's flow in order, repeats expanded, with the event shape at each step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flowkit.errors import Path, ShapeError
from flowkit.plugin.config import BijectorConfig, ConditionerConfig, Shape, SplitConfig, halve
from flowkit.plugin.descriptor import Likelihood
from flowkit.plugin.reference import Use
from flowkit.spec.model import Coupling, FactorOut, Item, Repeat, Spec

MAX_LAYERS = 4096
"""The most layers that a flow may have, repeats expanded."""


@dataclass(frozen=True)
class Step:
    """One layer of the expanded flow: what it is, where the spec says so, the shapes before and after."""

    item: Use | Coupling | FactorOut
    path: Path
    input_shape: Shape
    output_shape: Shape
    latent_shape: Shape | None = None  # of what leaves here

    @property
    def name(self) -> str:
        """As `show` prints it: ``glow/actnorm``, ``coupling glow/affine``, ``factor_out``."""
        match self.item:
            case Use():
                return self.item.name
            case Coupling():
                return f"coupling {self.item.coupling.name}"
            case FactorOut():
                return "factor_out"


class BrokenChain(ShapeError):
    """The layer at ``path`` can't take the shape that reaches it."""

    def __init__(self, message: str, path: Path):
        super().__init__(message)
        self.path = path


def count_layers(items: Iterable[Item]) -> int:
    """Layers after expanding repeats, without expanding them."""
    return sum(item.repeat * count_layers(item.flow) if isinstance(item, Repeat) else 1 for item in items)


def walk(spec: Spec) -> list[Step]:
    """All layers in order. Raises BrokenChain at the first that can't take the shape that reaches it."""
    layers = count_layers(spec.flow)
    if layers > MAX_LAYERS:
        raise BrokenChain(f"{layers} layers after expanding repeats; the most is {MAX_LAYERS}", ("flow",))
    steps, shape = [], spec.event.shape
    for item, path in _expand(spec.flow, ("flow",)):
        try:
            step = _step(item, path, shape)
        except ValueError as error:  # ShapeError is one, and so is what a plugin's rule may raise of its own
            raise BrokenChain(f"{error} (the event that reaches it is {list(shape)})", path) from error
        except Exception as error:  # a plugin's rule that is broken
            raise BrokenChain(
                f"its shape rule fails on {list(shape)}: {type(error).__name__}: {error}", path
            ) from error
        steps.append(step)
        shape = step.output_shape
    return steps


def latent_shapes(spec: Spec) -> list[Shape]:
    """The shapes of z_1 … z_L: of what leaves on the way, then of what is left at the end."""
    steps = walk(spec)
    return [step.latent_shape for step in steps if step.latent_shape] + [steps[-1].output_shape]


def likelihood(spec: Spec) -> Likelihood:
    """What log_prob is for this flow: exact if it is for every layer, otherwise the weakest of them."""
    uses = [step.item.coupling if isinstance(step.item, Coupling) else step.item for step in walk(spec)]
    classes = {use.plugin.descriptor.likelihood for use in uses if isinstance(use, Use)}
    weakest_first: tuple[Likelihood, ...] = ("estimate", "lower_bound", "exact")
    return next(each for each in weakest_first if each in {*classes, "exact"})


def _expand(items: Iterable[Item], path: Path) -> Iterator[tuple[Use | Coupling | FactorOut, Path]]:
    for index, item in enumerate(items):
        if isinstance(item, Repeat):
            for _ in range(item.repeat):
                yield from _expand(item.flow, (*path, index, "flow"))
        else:
            yield item, (*path, index)


def _step(item: Use | Coupling | FactorOut, path: Path, shape: Shape) -> Step:
    match item:
        case Use(config=BijectorConfig() as config):
            return Step(item, path, shape, tuple(config.output_shape(shape)))
        case Coupling(split=Use(config=SplitConfig() as split), conditioner=Use(config=ConditionerConfig() as network)):
            network.check_shapes(*split.split_shapes(shape))
            return Step(item, path, shape, shape)
        case FactorOut():
            kept, leaves = halve(shape[0])
            if not leaves:
                raise ShapeError("factor_out divides the channels, and there is only one")
            return Step(item, path, shape, (kept, *shape[1:]), (leaves, *shape[1:]))
    raise TypeError(f"not a step of a flow: {item!r}")
