"""Builds the layers and bases of a validated spec, and checks that those of a flow fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from flowkit.bijectors import (
    Autoregressive,
    Base,
    Bijector,
    Coupling,
    Elementwise,
    Encoder,
    FactorOut,
    Inverse,
    StandardNormal,
    Transformer,
)
from flowkit.bijectors.multiscale import Layer
from flowkit.directions import Direction, Shared, lacks, shared
from flowkit.errors import FlowkitError, InputError, Path, PluginError, ShapeError, format_path
from flowkit.plugin.config import SplitConfig
from flowkit.plugin.failure import in_a_line
from flowkit.plugin.reference import Use
from flowkit.shapes import Shape
from flowkit.spec import context_shape, directions, model
from flowkit.spec.directions import which_way
from flowkit.spec.walk import ENCODER, LatentBase, Step, latent_bases, walk

CREATING = frozenset(
    [
        torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.logspace, torch.ones, torch.rand,
        torch.randint, torch.randn, torch.randperm, torch.zeros,
    ]
)  # fmt: skip
"""The torch functions that create a tensor from its shape."""

MAX_PARAMETERS = 2**32
"""The most parameters that a flow may have."""

MAX_VALUES = 2**30
"""The most values that a layer may create while it is built: 4 GB in fp32."""


def build_layers(spec: model.Spec) -> list[Layer]:
    """Build one layer for each step of the spec. Raises PluginError, and ShapeError for too many parameters."""
    of_layers, of_bases, of_encoder = count_parameters(spec)
    parameters = sum(of_layers) + sum(of_bases) + of_encoder
    if parameters > MAX_PARAMETERS:
        raise ShapeError(f"this flow has {parameters:,} parameters; the most is {MAX_PARAMETERS:,}")
    return [build(step, context_shape(spec.context)) for step in walk(spec)]


def count_parameters(spec: model.Spec) -> tuple[list[int], list[int], int]:
    """Return the number of parameters of each step, of each latent's base, and of the context's encoder, 0 without one.

    All are built to be counted, and discarded. A repeated step is built once for each shape that it takes.
    """
    counts: dict[tuple[Path, Shape], int] = {}
    steps = walk(spec)
    with torch.random.fork_rng(devices=[]):  # counting must not change the weights that a seed gives
        for step in steps:
            if (step.path, step.input_shape) not in counts:
                counts[step.path, step.input_shape] = _size(build(step, context_shape(spec.context)))
        bases, encoder = build_bases(spec), build_encoder(spec)
    of_encoder = 0 if encoder is None else _size(encoder)
    return [counts[step.path, step.input_shape] for step in steps], [_size(base) for base in bases], of_encoder


def _size(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def build_bases(spec: model.Spec) -> list[Base]:
    """Build the base distribution of each latent. Raises PluginError, and ShapeError for one that is too large."""
    return [build_base(each, context_shape(spec.context)) for each in latent_bases(spec, walk(spec))]


def build_encoder(spec: model.Spec) -> Encoder | None:
    """Build the encoder of the context, or return None if there is none. Errors are those of `build`."""
    if spec.context is None or spec.context.encoder is None:
        return None
    use = spec.context.encoder
    with _placed(use.name, ENCODER), _Bounded():
        built: Encoder = use.build(spec.context.own_shape)
    return built


class _Bounded(TorchFunctionMode):
    """Raises ShapeError when torch functions, such as `torch.empty`, would create more than MAX_VALUES values in total.

    It is raised before the memory is allocated.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left = MAX_VALUES

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in CREATING:
            shape = {name: value for name, value in kwargs.items() if name not in ("generator", "out", "pin_memory")}
            self.left -= func(*args, **shape | {"device": "meta"}).numel()
            if self.left < 0:
                raise ShapeError(f"its layer would have more than {MAX_VALUES:,} values: make it smaller")
        return func(*args, **kwargs)


def build(step: Step, context: Shape | None) -> Layer:
    """Build the layer of one step.

    Raises PluginError, naming the place in the spec, if its plugin can't be built, or if its output shape is not the
    one that the plugin's config announces. Raises ShapeError if the layer is too large.
    """
    with _placed(step.name, step.path), _Bounded():
        layer = _build(step, context)
        layer = Inverse(layer) if step.is_inverse and isinstance(layer, Bijector) else layer
    _check_directions(step, layer)
    if tuple(layer.output_shape) != step.output_shape:
        raise PluginError(
            f"{step.name}: its config says that {list(step.input_shape)} becomes {list(step.output_shape)}, "
            f"its layer's output_shape says {list(layer.output_shape)}: make them agree"
        )
    return layer


def _check_directions(step: Step, layer: Layer) -> None:
    """Raise PluginError if the layer lacks a direction that its config declares. It may have one more."""
    declared = directions(step.item)
    if shared([declared, layer.directions]) != declared:
        advice = "write the missing method, or declare directions in the config"
        raise PluginError(
            f"{step.name} at {format_path(step.path)}: its config says that it {which_way(declared)}, and its layer "
            f"{which_way(layer.directions)}: {advice}"
        )


def build_base(each: LatentBase, context: Shape | None) -> Base:
    """Build the base distribution of one latent. Errors are those of `build`."""
    if each.use is None:
        return StandardNormal(each.shape)
    with _placed(each.name, each.path), _Bounded():
        built: Base = each.use.build(each.shape, *_context_for(each.use, context))
    return built


def _context_for(use: Use, context: Shape | None) -> tuple[Shape | None, ...]:
    """Return the argument ``context_shape`` for a plugin that declares to read the context, and none for another."""
    return () if use.config.reads_context == "no" else (context,)


@contextmanager
def _placed(name: str, path: Path) -> Iterator[None]:
    """Prefix errors with a place in the spec. An error that isn't flowkit's becomes a PluginError."""
    try:
        yield
    except (PluginError, ShapeError) as error:
        raise type(error)(f"{format_path(path)}: {error}") from error
    except FlowkitError:
        raise
    except Exception as error:
        raise PluginError(f"{name} at {format_path(path)} can't be built: {in_a_line(error)}") from error


def named_layers(layers: Sequence[Layer], spec: model.Spec | None) -> Iterator[tuple[str, Layer]]:
    """Yield each layer with its name for messages, which has its place in the spec if there is one."""
    if spec is None:
        yield from ((f"layer {i} ({type(layer).__name__})", layer) for i, layer in enumerate(layers))
        return
    for index, (step, layer) in enumerate(zip(walk(spec), layers, strict=True)):
        yield f"layer {index} ({step.name} at {format_path(step.path)})", layer


def without_direction(layers: Sequence[Layer], spec: model.Spec | None, direction: Direction) -> str:
    """Return a message that names the first layer without this direction, and says what can't be done."""
    declared: list[Shared] = ["both"] * len(layers) if spec is None else [directions(step.item) for step in walk(spec)]
    lacking = (
        f"{name} {which_way(has)}"
        for (name, layer), own in zip(named_layers(layers, spec), declared, strict=True)
        if lacks(has := shared([layer.directions, own]), direction)
    )
    needs = {
        "forward": "densities, latents and training need the forward direction of every layer",
        "inverse": "samples, decoding and memory: reversible need the inverse of every layer",
    }
    return f"{next(lacking)}, and {needs[direction]}"


def check_chain(layers: Sequence[Layer]) -> None:
    """Check that each layer takes the output shape of the layer before it.

    Raises ShapeError if one doesn't, or if there are no layers.
    """
    if not layers:
        raise ShapeError("a flow has at least one layer: they tell the shape of an event")
    for index, (before, after) in enumerate(pairwise(layers), 1):
        _check_fits(f"layer {index}", after, before.output_shape)


def all_bases(latents: Sequence[Shape], given: Base | Sequence[Base] | None) -> list[Base]:
    """Return one base for each latent: those that are given, one of them being that of the last, or standard normals.

    Raises ShapeError if their number isn't that of the latents, or one doesn't take its latent.
    """
    if given is None or isinstance(given, Base):
        last = StandardNormal(latents[-1]) if given is None else given
        bases = [*map(StandardNormal, latents[:-1]), last]
    else:
        bases = list(given) if isinstance(given, Iterable) else [given]
    for base in bases:
        if not isinstance(base, Base):
            raise InputError(f"a base is a module that derives from flowkit.bijectors.Base, not {base!r}")
    if len(bases) != len(latents):
        raise ShapeError(f"{len(bases)} bases are given, and the flow has {len(latents)} latents: one for each")
    for index, (base, shape) in enumerate(zip(bases, latents, strict=True), 1):
        _check_fits("the base" if index == len(bases) else f"the base of latent {index}", base, shape)
    return bases


def context_without_encoder(
    given: model.ContextSpec | Mapping[str, Any] | None, encoder: Encoder | None
) -> model.ContextSpec | None:
    """Return the context that a flow is given, without its encoder, which is a module.

    Raises InputError if the encoder is none, has no context to read, or is that of a spec and wasn't built.
    """
    if encoder is not None and not isinstance(encoder, Encoder):
        raise InputError(f"an encoder is a module that derives from flowkit.bijectors.Encoder, not {encoder!r}")
    if given is None and encoder is not None:
        raise InputError("the encoder reads a context: say of which shape, as in context={'shape': [100, 2]}")
    content = given if isinstance(given, Mapping) else {} if given is None else dict(given)
    if encoder is None and content.get("encoder") is not None:
        raise InputError("an encoder is a module here: build it, and pass it as encoder=")
    return None if given is None else model.ContextSpec.model_validate({**content, "encoder": None})


def _check_fits(name: str, taking: Layer | Base, given: Shape) -> None:
    if tuple(taking.event_shape) != tuple(given):
        kind, wanted = type(taking).__name__, list(taking.event_shape)
        raise ShapeError(f"{name} ({kind}) takes events of shape {wanted}; {list(given)} reaches it")


def _build(step: Step, context: Shape | None) -> Layer:
    match step.item:
        case Use():
            return step.item.build(step.input_shape, *_context_for(step.item, context))
        case model.CouplingSpec(split=Use(config=SplitConfig() as split)):
            kept, transformed = split.split_shapes(step.input_shape)
            transformer = step.item.coupling.build()
            params = (_n_params(step.item.coupling, transformer), *transformed)
            conditioner = step.item.conditioner.build(kept, params, context)
            kept_layer = None if step.item.kept is None else _build_elementwise(step.item.kept, kept)
            return Coupling(step.item.split.build(step.input_shape), conditioner, transformer, kept_layer)
        case model.ElementwiseSpec():
            return _build_elementwise(step.item.elementwise, step.input_shape, step.item.conditioner, context)
        case model.AutoregressiveSpec():
            order, transformer = step.item.order.build(step.input_shape), step.item.autoregressive.build()
            params = (_n_params(step.item.autoregressive, transformer), *step.input_shape)
            return Autoregressive(order, step.item.conditioner.build(order, params, context), transformer)
        case model.FactorOutSpec():
            return FactorOut(step.input_shape)
    raise TypeError(f"not a step of a flow: {step.item!r}")


def _build_elementwise(
    use: Use, event: Shape, conditioner: Use | None = None, context: Shape | None = None
) -> Elementwise:
    """Build an elementwise layer. A conditioner reads the context in the place of the kept part."""
    transformer = use.build()
    params = (_n_params(use, transformer), *event)
    return Elementwise(event, transformer, None if conditioner is None else conditioner.build(context, params, None))


def _n_params(use: Use, transformer: Transformer) -> int:
    """Return the transformer's ``n_params``, for which the layer's parameters or its conditioner are built.

    Raises PluginError that names the transformer if ``n_params`` isn't a positive integer. Otherwise what is built for
    it would fail with a misleading error.
    """
    n_params = getattr(transformer, "n_params", None)
    if not isinstance(n_params, int) or n_params < 1:
        raise PluginError(f"plugin {use.plugin}: its n_params must be a whole number, 1 at least, not {n_params!r}")
    return n_params


def parts(layers: Sequence[Layer], bases: Sequence[Base], encoder: Encoder | None) -> list[nn.Module]:
    """List the modules that a spec names: layers, bases, the encoder, and parts such as a coupling's conditioner."""
    plain = [layer.bijector if isinstance(layer, Inverse) else layer for layer in layers]
    kept = [layer.kept for layer in plain if isinstance(layer, Coupling) and layer.kept is not None]
    named = [*layers, *plain, *kept, *bases]
    inner = [part for module in named for name, part in module.named_children() if name != "parametrizations"]
    return [*named, *inner, *([] if encoder is None else [encoder])]
