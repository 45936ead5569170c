"""Describes shape rules by examples, for `flowkit plugins show` and docs/reference.md. No torch."""

from __future__ import annotations

from flowkit.errors import ShapeError
from flowkit.plugin.config import (
    BaseConfig,
    BijectorConfig,
    ConditionerConfig,
    EncoderConfig,
    MaskedConditionerConfig,
    OrderConfig,
    PluginConfig,
    SplitConfig,
)
from flowkit.plugin.failure import in_a_line
from flowkit.shapes import Shape
from flowkit_runtime.errors import shortened

EVENT_SHAPES: tuple[Shape, ...] = ((2,), (3, 8, 8), (3, 7, 7))
"""The event shapes that shape rules are tried on."""
CONTEXT_SHAPES: tuple[Shape, ...] = ((2,), (20, 2), (3, 8, 8))
"""The context shapes that the shape rules of encoders are tried on. Bases are given the first."""

RULES: dict[type[PluginConfig], tuple[str, str]] = {
    BijectorConfig: ("output_shape", "any event; its shape stays"),
    SplitConfig: ("split_shapes", ""),
    ConditionerConfig: ("check_shapes", "any event"),
    MaskedConditionerConfig: ("check_shape", "any event"),
    OrderConfig: ("check_shape", "any event"),
    BaseConfig: ("check_shapes", "any event"),
    EncoderConfig: ("output_shape", ""),
}
"""The method that is the shape rule of a kind's configs, and what holds if a config leaves it out, where it may."""


def shape_rule(config: PluginConfig) -> list[str]:
    """Return what becomes of a few example shapes, or why they are refused. Kinds without a rule have no lines."""
    kind = next((kind for kind in RULES if isinstance(config, kind)), None)
    if kind is None:
        return []
    method, otherwise = RULES[kind]
    if otherwise and getattr(type(config), method) is getattr(kind, method):
        return [otherwise]
    return [f"{title}{_outcome(config, method, shapes)}" for title, shapes in _examples(config)]


def _examples(config: PluginConfig) -> list[tuple[str, tuple[Shape | None, ...]]]:
    """Return the arguments that a shape rule is tried with, each with a title."""
    match config:
        case EncoderConfig():
            return [(f"{list(context)}", (context,)) for context in CONTEXT_SHAPES]
        case ConditionerConfig():
            return [(f"{list(event)}", (event, event)) for event in EVENT_SHAPES]
        case BaseConfig() if config.reads_context != "no":
            context = CONTEXT_SHAPES[0]
            return [(f"{list(event)} with a context {list(context)}", (event, context)) for event in EVENT_SHAPES]
        case BaseConfig():
            return [(f"{list(event)}", (event, None)) for event in EVENT_SHAPES]
    return [(f"{list(event)}", (event,)) for event in EVENT_SHAPES]


def _outcome(config: PluginConfig, method: str, shapes: tuple[Shape | None, ...]) -> str:
    try:
        given = getattr(config, method)(*shapes)
        match config:
            case BijectorConfig() | EncoderConfig():
                return f" -> {list(given)}"
            case SplitConfig():
                kept, transformed = map(list, given)
                return f" -> kept {kept}, transformed {transformed}"
    except ShapeError as error:
        return f": refused: {shortened(error)}"
    except Exception as error:  # a rule of a stranger's
        return f": its rule fails: {in_a_line(error)}"
    return ": accepted"
