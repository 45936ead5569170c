"""Builds the subjects of an installed plugin: the plugin as a whole, and what specs build of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from flowkit.domains import Domain, by_coordinate
from flowkit.errors import PluginError, SpecError, format_path
from flowkit.flow.building import build, build_bases, build_encoder
from flowkit.plugin import Found, Registry, Shape
from flowkit.plugin.config import SplitConfig
from flowkit.plugin.description import field_schemas
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.reference import Use
from flowkit.spec import Spec, context_shape, directions, likelihood, model, read_spec, walk
from flowkit.spec.conditioning import reads_context
from flowkit.spec.domains import base_support, codomain
from flowkit.spec.example import CONTEXTS, ENCODED, source_with
from flowkit.testing import subjects
from flowkit.testing.subjects import PluginSubject, Subject

EVENTS: tuple[tuple[Shape, ...], ...] = (
    ((5,), (4,), (2,)),
    ((1,),),
    ((3, 3, 5), (1, 3, 3)),
    ((4, 4, 2), (2, 4, 4), (1, 4, 4), (1, 6, 6), (9, 2, 2), (1, 8, 8), (4,)),
)
"""Vectors, a single number, images with odd sides and with even ones, or an even vector if it takes no such images.

A plugin gets the first of each row that it takes.
"""

VALUES: tuple[dict[str, Any], ...] = ({}, {"levels": 256}, {"domain": [0, 1]}, {"domain": {"circle": [0, 1]}})
"""The values that events may have, tried in turn."""

LAYERS: dict[type, str] = {model.CouplingSpec: "a coupling", model.AutoregressiveSpec: "an autoregressive layer"}
"""The steps of specs that have plugins as parts, which are checked in a layer too."""

ONE_POSITION: tuple[Shape, ...] = ((1, 1, 1), (2, 1, 1))
"""Images as the last of several scales may be, in which ``squeeze`` and ``std`` go wrong: of one channel, if taken.

Plugins that are built beside a network aren't tried on them: one that normalizes over positions has nothing to read.
"""

SMALL: tuple[Shape, ...] = ((2,),)
"""An event for bases, whose density is integrated for events of one or two values."""


def plugin_subjects(
    name: str,
    fields: Sequence[str] = (),
    event: Shape | None = None,
    seed: int = 0,
    context: Shape | None = None,
) -> dict[str, Subject]:
    """Return what to check of an installed plugin, by titles.

    Args:
        name: The full name, ``namespace/name``.
        fields: The plugin's fields, such as ``["scale=2"]``; what it requires beside them is guessed.
        event: The event to check it on, instead of a vector, a single number and two images, as far as it takes them.
        seed: The seed of all random numbers.
        context: The shape of a context. With it all is checked in flows that are given one. A plugin that
            may read a context is checked with and without one in any case.

    Raises:
        PluginError: If the plugin can't be used.
        SpecError: If it takes none of the events, or a field isn't valid.
    """
    registry = Registry.discover()
    found = registry.look_up(None, name)
    _check_guessed(found, fields)
    titled: dict[str, Subject] = {}
    specs = _specs(found, fields, _trials(found.kind, event, context), registry)
    of_context = KINDS[found.kind].of_context
    if not of_context:
        specs = _conditional(found, specs, context)
    for spec in specs:
        where = _where(found, spec)
        part = PARTS[found.kind](spec)
        titled[f"{name} in a spec, {where}"] = _whole(found, spec, part)
        titled[f"{name}, {where}"] = part
        if not of_context and (layer := LAYERS.get(type(spec.flow[0]))):
            titled[f"{layer} with it, {where}"] = PARTS["bijector"](spec)
    return {title: replace(subject, seed=seed) for title, subject in titled.items()}


def _where(found: Found, spec: Spec) -> str:
    """Return the shape that a subject is checked on: that of the context for an encoder, otherwise of the event."""
    if spec.context is not None and KINDS[found.kind].of_context:
        return f"{list(spec.context.own_shape)}{', labels' if _has_labels(spec) else ''}"
    return f"{list(spec.event.shape)}{', conditional' if spec.context else ''}{', labels' if _has_labels(spec) else ''}"


def _check_guessed(found: Found, fields: Sequence[str]) -> None:
    """Raise PluginError if a dataset requires a path or a text: no guess tells where data is."""
    config, given = found.descriptor.config, {field.partition("=")[0] for field in fields}
    missing = [
        name
        for name, schema in field_schemas(config).items()
        if config.model_fields[name].is_required() and name not in given
        if schema.get("type") == "string" and "enum" not in schema
    ]
    if missing and not KINDS[found.kind].in_flow:
        raise PluginError(f"{found} reads data, and requires {', '.join(missing)}: --set {missing[0]}=…")


Trial = tuple[Shape, dict[str, Any], dict[str, Any] | None]
"""The shape of an event, the values that it may have, and the context of the spec."""


def _trials(kind: str, event: Shape | None, context: Shape | None) -> list[list[Trial]]:
    """Return what specs of a plugin are tried with. The first of each list that the plugin takes is used.

    Encoders are tried with contexts of all kinds, and other plugins with events.
    """
    if KINDS[kind].of_context:
        contexts = ENCODED if context is None else ({"shape": list(context)},)
        return [[(event or SMALL[0], {}, each)] for each in contexts]
    more = {"bijector": (ONE_POSITION,), "base": (ONE_POSITION, SMALL)}
    rows = ((event,),) if event else (*EVENTS, *more.get(kind, ()))
    return [list(product(row, VALUES, (None, *CONTEXTS))) for row in rows]


def _specs(found: Found, fields: Sequence[str], trials: list[list[Trial]], registry: Registry) -> list[Spec]:
    """Return a spec for each list of trials of which the plugin takes any."""
    overrides = [f"{format_path(KINDS[found.kind].place)}.{field}" for field in fields]
    specs, refusal = [], None
    for trial in trials:
        for shape, values, context in trial:
            try:
                event = {"shape": list(shape), **values}
                source = source_with(found, event, context, registry, overrides)
                specs.append(read_spec(source, overrides, registry))
                break
            except SpecError as error:
                refusal = refusal or error
    if refusal and not specs:
        raise refusal
    return specs if KINDS[found.kind].in_flow else specs[:1]


def _conditional(found: Found, specs: list[Spec], context: Shape | None) -> list[Spec]:
    """Return the specs with this context. Without one, add a spec with a context if the plugin may read it."""
    reads = reads_context(specs[0].base if found.kind == "base" else specs[0].flow[0])
    if context is None and (reads != "optional" or not KINDS[found.kind].given_context):
        return specs
    if reads == "no":
        raise PluginError(f"{found} reads no context, as its config declares: see reads_context in the contracts")
    labels = specs[0].context is not None and specs[0].context.classes is not None
    shaped = {"classes": context[0]} if context and labels and len(context) == 1 else {"shape": context}
    section = model.ContextSpec.model_validate(shaped if context else CONTEXTS[0])
    conditional = [each.model_copy(update={"context": section}) for each in specs]
    return conditional if context else specs + conditional[:1]


def _whole(found: Found, spec: Spec, part: Subject) -> PluginSubject:
    return PluginSubject(lambda: spec, found, part if isinstance(part, subjects.ModuleSubject) else None)


def _conditioner(spec: Spec) -> subjects.ConditionerSubject:
    step, (kept, transformed), coupling = spec.flow[0], _shapes(spec), _layer(spec)
    assert isinstance(step, model.CouplingSpec)
    params = (step.coupling.build().n_params, *transformed)
    return subjects.ConditionerSubject(
        lambda: coupling().conditioner, kept, params, context_shape(spec.context), _has_labels(spec)
    )


def _masked_conditioner(spec: Spec) -> subjects.MaskedConditionerSubject:
    step, event, layer = spec.flow[0], spec.event.shape, _layer(spec)
    assert isinstance(step, model.AutoregressiveSpec)
    order, params = step.order.build(event), (step.autoregressive.build().n_params, *event)
    return subjects.MaskedConditionerSubject(
        lambda: layer().conditioner, order, params, context_shape(spec.context), _has_labels(spec)
    )


def _encoder(spec: Spec) -> subjects.EncoderSubject:
    assert spec.context is not None
    given, summary = spec.context.own_shape, context_shape(spec.context)
    assert summary is not None
    return subjects.EncoderSubject(lambda: build_encoder(spec), given, summary, _has_labels(spec))


def _dataset(spec: Spec) -> subjects.DatasetSubject:
    assert spec.data is not None
    return subjects.DatasetSubject(spec.data.build)


PARTS: dict[str, Callable[[Spec], Subject]] = {
    "bijector": lambda spec: subjects.BijectorSubject(
        _layer(spec),
        context_shape(spec.context),
        spec.event.domains,
        codomain(walk(spec)[0], spec.event.domains),
        directions(spec.flow[0]),
        _has_labels(spec),
        likelihood(spec),
    ),
    "transformer": lambda spec: subjects.TransformerSubject(
        lambda: _layer(spec)().transformer, _shapes(spec)[1], _transformer_domain(spec), directions(spec.flow[0])
    ),
    "split": lambda spec: subjects.SplitSubject(lambda: _layer(spec)().split, _shapes(spec)),
    "conditioner": _conditioner,
    "masked-conditioner": _masked_conditioner,
    "order": lambda spec: subjects.OrderSubject(lambda: _layer(spec)().order),
    "base": lambda spec: subjects.BaseSubject(
        lambda: build_bases(spec)[-1],
        base_support(spec.base, spec.event.shape),
        context_shape(spec.context),
        _has_labels(spec),
        likelihood(spec),
    ),
    "encoder": _encoder,
    "dataset": _dataset,
}
"""The part of a spec that is checked, by the kind of the plugin that the spec is about."""


def _has_labels(spec: Spec) -> bool:
    return spec.context is not None and spec.context.classes is not None


def _transformer_domain(spec: Spec) -> Domain:
    (domain,) = by_coordinate(spec.event.domains)  # all coordinates of a coupling have the same
    return domain


def _layer(spec: Spec) -> Callable[[], Any]:
    """Return what builds the first layer of the spec."""
    return lambda: build(walk(spec)[0], context_shape(spec.context))


def _shapes(spec: Spec) -> tuple[Shape, Shape]:
    """Return the shapes of the parts, kept and transformed, of the spec's coupling."""
    match spec.flow[0]:
        case model.CouplingSpec(split=Use(config=SplitConfig() as split)):
            return split.split_shapes(spec.event.shape)
    raise TypeError(f"not a coupling: {spec.flow[0]!r}")
