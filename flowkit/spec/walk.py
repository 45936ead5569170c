"""Walks a spec's flow in order, repeats expanded, with the event shape at each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flowkit.errors import Path, PluginError, ShapeError, format_path
from flowkit.plugin.config import (
    BaseConfig,
    BijectorConfig,
    ConditionerConfig,
    MaskedConditionerConfig,
    OrderConfig,
    SplitConfig,
)
from flowkit.plugin.descriptor import Likelihood
from flowkit.plugin.failure import guarded
from flowkit.plugin.reference import Use
from flowkit.shapes import Shape, halve
from flowkit.spec.identity import uses
from flowkit.spec.model import (
    MAX_EVENT_SIZE,
    STANDARD_NORMAL,
    AutoregressiveSpec,
    ContextSpec,
    CouplingSpec,
    ElementwiseSpec,
    FactorOutSpec,
    Item,
    LayerSpec,
    Repeat,
    Spec,
    context_shape,
)
from flowkit_runtime.errors import shortened

MAX_SEQUENCE = 65536
"""The most values of an event that an autoregressive layer takes. Its inverse takes a pass of the network for each."""

MAX_LAYERS = 4096
"""The most layers that a flow may have, repeats expanded."""

ENCODER: Path = ("context", "encoder")
"""The path of the encoder in a spec."""

T = TypeVar("T")

Rounds = tuple[tuple[Path, int, int], ...]
"""The repeats around a step, outermost first: path, round (1-based), number of rounds."""


@dataclass(frozen=True)
class Step:
    """One layer of the expanded flow.

    Attributes:
        item: The step of the spec.
        path: Its path in the spec.
        input_shape: The event shape that reaches the layer.
        output_shape: The event shape that leaves it.
        latent_shape: The shape of the latent that leaves the flow here, or None.
    """

    item: LayerSpec
    path: Path
    input_shape: Shape
    output_shape: Shape
    latent_shape: Shape | None = None  # the shape of the latent that leaves here

    @property
    def name(self) -> str:
        """The name that messages print: ``glow/actnorm``, ``inverse of map/logit``, ``coupling glow/affine``."""
        return self.item.title if isinstance(self.item, Use) else self.item.name

    @property
    def is_inverse(self) -> bool:
        """True if the layer is run in the opposite direction."""
        return not isinstance(self.item, FactorOutSpec) and self.item.inverse is True


@dataclass(frozen=True)
class LatentBase:
    """The base distribution of a latent.

    Attributes:
        use: The plugin. None for the standard normal that a factor-out has without a base of its own.
        path: Its path in the spec.
        shape: The shape of the latent.
    """

    use: Use | None  # None for the standard normal that a factor-out has without a base of its own
    path: Path
    shape: Shape

    @property
    def name(self) -> str:
        """The plugin's name."""
        return STANDARD_NORMAL if self.use is None else self.use.name


class BrokenChain(ShapeError):
    """Raised for a layer that can't take the shape that reaches it.

    ``path`` is the layer's, and ``origin`` says where the shape comes from.
    """

    def __init__(self, message: str, path: Path, origin: str | None = None):
        super().__init__(message)
        self.path, self.origin = path, origin


def count_layers(items: Sequence[Item], path: Path = ("flow",)) -> int:
    """Return the number of layers with repeats expanded. Nothing is expanded to count them.

    Args:
        items: The steps of a flow.
        path: The path of the flow in the spec.

    Raises:
        BrokenChain: If a flow has too many. The error has the path of the innermost repeat or flow.
    """
    layers = 0
    for index, item in enumerate(items):
        inner = count_layers(item.flow, (*path, index, "flow")) if isinstance(item, Repeat) else 1
        times = item.repeat if isinstance(item, Repeat) else 1
        if times * inner > MAX_LAYERS:
            written = f"{times:,}" if times < 10**9 else "over a billion"
            message = f"{written} times {inner:,} layers are too many: the most is {MAX_LAYERS:,}"
            raise BrokenChain(message, (*path, index, "repeat"))
        layers += times * inner
    if layers > MAX_LAYERS:
        raise BrokenChain(f"has {layers:,} layers, repeats expanded: the most is {MAX_LAYERS:,}", path)
    return layers


def walk(spec: Spec, within: Path = ()) -> list[Step]:
    """Return all layers in order, repeats expanded.

    Args:
        spec: The spec.
        within: The path of the section that has the flow, if it isn't the spec itself.

    Raises:
        BrokenChain: If a layer, or the base, can't take the shape that reaches it. It has the path of the first one.
    """
    count_layers(spec.flow, (*within, "flow"))
    steps: list[Step] = []
    shape, context = spec.event.shape, _context_of_layers(spec.context)
    for item, path, rounds in _expand(spec.flow, (*within, "flow")):
        try:
            steps.append(_step(item, path, shape, context))
        except ValueError as error:  # ShapeError is one, and so is what a plugin's rule may raise of its own
            reached = f"{list(shape)} reaches it{_in_rounds(rounds)}"
            raise BrokenChain(f"{shortened(error)} ({reached})", path, _origin(steps, shape, rounds)) from error
        except PluginError as error:
            raise BrokenChain(f"{error}{_in_rounds(rounds)}", path) from error
        shape = steps[-1].output_shape
    try:
        _check_base(spec.base, shape, context)
    except ValueError as error:
        raise BrokenChain(
            f"{shortened(error)} ({list(shape)} reaches it)", (*within, "base"), _origin(steps, shape)
        ) from error
    except PluginError as error:
        raise BrokenChain(str(error), (*within, "base")) from error
    return steps


def _context_of_layers(context: ContextSpec | None) -> Shape | None:
    """Return the shape of the context that layers read. Raises BrokenChain if they can't, or the encoder can't."""
    if context is None or context.encoder is None:
        if context is not None and len(context.own_shape) == 2:
            message = f"{list(context.own_shape)} is a set or a sequence, which only an encoder reads"
            raise BrokenChain(message, ("context", "shape"), "Add an encoder, such as encoder: {use: encoder/deep_set}")
        return context_shape(context)
    try:
        summary = _ruled(context.encoder, context.own_shape, lambda: _checked(context_shape(context)))
    except ValueError as error:
        what = "labels, one-hot" if context.classes is not None else "an array"
        raise BrokenChain(f"{shortened(error)} (the context is {what} {list(context.own_shape)})", ENCODER) from error
    except PluginError as error:
        raise BrokenChain(str(error), ENCODER) from error
    if len(summary) not in (1, 3):
        message = f"plugin {context.encoder.plugin}: its output must be [d] or [channels, height, width], not "
        raise BrokenChain(f"{message}{list(summary)}", ENCODER)
    return summary


def _in_rounds(rounds: Rounds) -> str:
    """Return `` in repeat 3 of 4`` for messages. If repeats are nested, each is given with its path."""
    if len(rounds) < 2:
        return "".join(f" in repeat {now} of {times}" for _, now, times in rounds)
    return " in " + ", ".join(f"repeat {now} of {times} of {format_path(path)}" for path, now, times in rounds)


def _origin(steps: list[Step], shape: Shape, rounds: Rounds = ()) -> str:
    """Return where the shape comes from, for messages: the last step that changed it, or the event."""
    changed = next((step for step in reversed(steps) if step.output_shape != step.input_shape), None)
    if changed is None:
        is_last = len(shape) == 3 and shape[2] in (1, 3, 4) and min(shape[:2]) > 4
        asked = f". Are its channels last? Then write {[shape[2], *shape[:2]]}" if is_last else ""
        return f"{list(shape)} is the shape of the event{asked}"
    made = f"{list(shape)} is what {changed.name} at {format_path(changed.path)} made of {list(changed.input_shape)}"
    again = any(now > 1 and changed.path[: len(path)] == path for path, now, _ in rounds)
    return f"{made}. Put {changed.name} before the repeat if it should stand there once" if again else made


def latent_shapes(spec: Spec) -> list[Shape]:
    """Return the shapes of z_1 … z_L: those of factored-out latents in order, then that of the last.

    Args:
        spec: The spec.
    """
    steps = walk(spec)
    return [step.latent_shape for step in steps if step.latent_shape] + [steps[-1].output_shape]


def latent_bases(spec: Spec, steps: Sequence[Step]) -> list[LatentBase]:
    """Return the bases of z_1 … z_L.

    Args:
        spec: The spec.
        steps: The steps that ``walk`` returns for it.
    """
    leaving = [
        LatentBase(step.item.base, (*step.path, "base"), step.latent_shape)
        for step in steps
        if isinstance(step.item, FactorOutSpec) and step.latent_shape
    ]
    return [*leaving, LatentBase(spec.base, ("base",), steps[-1].output_shape)]


def likelihood(spec: Spec) -> Likelihood:
    """Return the likelihood that a score gives: the weakest that a plugin of the flow, or of the noise's, declares.

    With a flow of the dequantization noise, the score of an integer is a lower bound.

    Args:
        spec: The spec.
    """
    classes = {use.plugin.descriptor.likelihood for use in uses([spec.flow, spec.base, spec.dequantization])}
    if spec.dequantization is not None:
        classes.add("lower_bound")
    weakest_first: tuple[Likelihood, ...] = ("estimate", "lower_bound", "exact")
    return next(each for each in weakest_first if each in {*classes, "exact"})


def _expand(items: Iterable[Item], path: Path, rounds: Rounds = ()) -> Iterator[tuple[LayerSpec, Path, Rounds]]:
    for index, item in enumerate(items):
        place = (*path, index)
        if not isinstance(item, Repeat):
            yield item, place, rounds
            continue
        for now in range(1, item.repeat + 1):
            yield from _expand(item.flow, (*place, "flow"), (*rounds, (place, now, item.repeat)))


def _step(item: LayerSpec, path: Path, shape: Shape, context: Shape | None) -> Step:
    match item:
        case Use(config=BijectorConfig() as config):
            output = _ruled(item, shape, lambda: _checked(config.output_shape(shape)))
            if item.inverse and output != shape:
                made = f"{item.name} gives {list(output)}: leave this step out"
                raise ShapeError(f"inverse: true needs a layer that keeps shapes; {made}")
            return Step(item, path, shape, output)
        case CouplingSpec(
            split=Use(config=SplitConfig() as split), conditioner=Use(config=ConditionerConfig() as network)
        ):
            kept, transformed = _ruled(item.split, shape, lambda: _two(split.split_shapes(shape)))
            _ruled(item.conditioner, kept, lambda: network.check_shapes(kept, transformed))
            return Step(item, path, shape, shape)
        case ElementwiseSpec(conditioner=conditioner):
            if conditioner is not None and context is not None:
                _check_elementwise(conditioner, context, shape)
            return Step(item, path, shape, shape)
        case AutoregressiveSpec(
            conditioner=Use(config=MaskedConditionerConfig() as masked), order=Use(config=OrderConfig() as order)
        ):
            if math.prod(shape) > MAX_SEQUENCE:
                raise ShapeError(
                    f"an autoregressive layer takes events of at most {MAX_SEQUENCE:,} values: write coupling instead"
                )
            _ruled(item.order, shape, lambda: order.check_shape(shape))
            _ruled(item.conditioner, shape, lambda: masked.check_shape(shape))
            return Step(item, path, shape, shape)
        case FactorOutSpec():
            stay, leave = halve(shape[0])
            if not leave:
                raise ShapeError(
                    "factor_out divides the channels, and there is only one: put {use: glow/squeeze} before it"
                )
            if item.base is not None:
                _check_base(item.base, (leave, *shape[1:]), context)
            return Step(item, path, shape, (stay, *shape[1:]), (leave, *shape[1:]))
    raise TypeError(f"not a step of a flow: {item!r}")


def _check_elementwise(conditioner: Use, context: Shape, event: Shape) -> None:
    """Check that the conditioner reads the context, which it is given in the place of the kept part."""
    assert isinstance(conditioner.config, ConditionerConfig)
    network = conditioner.config
    try:
        _ruled(conditioner, context, lambda: network.check_shapes(context, event))
    except ValueError as error:
        raise ShapeError(f"{error}; here it reads the context, {list(context)}") from error


def _check_base(use: Use, event: Shape, context: Shape | None) -> None:
    """Check that there is such a base distribution over a latent of this shape."""
    assert isinstance(use.config, BaseConfig)
    base = use.config
    _ruled(use, event, lambda: base.check_shapes(event, context))


def _ruled(use: Use, shape: Shape, rule: Callable[[], T]) -> T:
    """Return what a shape rule gives. A ValueError, such as ShapeError, passes; others become a PluginError."""
    with guarded(f"plugin {use.plugin}: its shape rule fails on {list(shape)}", ValueError):
        return rule()


def _two(shapes: Any) -> tuple[Shape, Shape]:
    """Return the result of a split's rule, checked to be two shapes."""
    if not isinstance(shapes, Sequence) or len(shapes) != 2:
        raise TypeError(f"it gives {shapes!r}, not two shapes")
    return _checked(shapes[0]), _checked(shapes[1])


def _checked(shape: Any) -> Shape:
    """Return the result of a plugin's rule, checked to be a shape."""
    if not shape or not all(isinstance(size, int) and size > 0 for size in shape):
        raise TypeError(f"it gives {shape!r}, which is no shape")
    if math.prod(shape) > MAX_EVENT_SIZE:
        raise ShapeError(f"makes {list(shape)}, more than {MAX_EVENT_SIZE:,} values")
    return tuple(shape)
