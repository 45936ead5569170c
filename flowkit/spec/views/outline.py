"""Outlines a flow for the views: repeats are loops, and each layer has all shapes that reach it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flowkit.domains import spelled
from flowkit.errors import Path
from flowkit.plugin.config import PluginConfig
from flowkit.plugin.spelling import line
from flowkit.shapes import Shape
from flowkit.spec.model import Item, LayerSpec, Repeat, Spec, context_shape
from flowkit.spec.walk import Step, count_layers, walk

MAX_TEXT = 48
"""The most characters of a field's value."""


@dataclass(frozen=True)
class Latent:
    """The latent z_number that leaves the flow."""

    number: int
    shape: Shape

    def __str__(self) -> str:
        subscript = str(self.number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
        return f"z{subscript} {list(self.shape)}"


@dataclass(frozen=True)
class LayerOutline:
    """A step of the spec: each time that it runs, and the latents that leave there."""

    item: LayerSpec
    steps: tuple[Step, ...]
    latents: tuple[Latent, ...]

    @property
    def inputs(self) -> list[Shape]:
        return [step.input_shape for step in self.steps]


@dataclass(frozen=True)
class Loop:
    """A repeat."""

    times: int
    entries: tuple[Entry, ...]

    @property
    def title(self) -> str:
        return f"× {self.times}"

    @property
    def inputs(self) -> list[Shape]:
        """The shape with which the first pass begins. Those of later passes are listed at its first layer."""
        return self.entries[0].inputs[:1]


Entry = LayerOutline | Loop


def outline(spec: Spec) -> tuple[tuple[Entry, ...], Latent]:
    """Return the entries from data to latent, and the last latent. Raise BrokenChain, as `walk` does."""
    steps: dict[Path, list[Step]] = {}
    latents: dict[Path, list[Latent]] = {}
    number = 1
    for step in (walked := walk(spec)):
        steps.setdefault(step.path, []).append(step)
        if step.latent_shape:
            latents.setdefault(step.path, []).append(Latent(number, step.latent_shape))
            number += 1

    def entries(items: Sequence[Item], path: Path) -> Iterator[Entry]:
        for index, item in enumerate(items):
            here = (*path, index)
            if isinstance(item, Repeat):
                yield Loop(item.repeat, tuple(entries(item.flow, (*here, "flow"))))
            else:
                yield LayerOutline(item, tuple(steps[here]), tuple(latents.get(here, ())))

    return tuple(entries(spec.flow, ("flow",))), Latent(number, walked[-1].output_shape)


def span(shapes: Sequence[Shape]) -> str:
    """Return the shape of all passes as text, or the first and the last if they differ."""
    first, last = str(list(shapes[0])), str(list(shapes[-1]))
    return first if first == last else f"{first} … {last}"


def fields(config: PluginConfig) -> list[str]:
    """Return the fields that the spec writes, as ``hidden 64``. Fields that it leaves at their default are left out."""
    dumped = config.model_dump(mode="json")
    written = {name: dumped[name] for name in dumped if name in config.model_fields_set}
    return [name if value is True else f"{name} {_shortened(line(value))}" for name, value in written.items()]


def data_text(spec: Spec) -> str:
    """Return a line that says what an event holds and what it is conditioned on."""
    values = "continuous" if spec.event.levels is None else f"integers 0 … {spec.event.levels - 1}"
    values += f" in {spelled(spec.event.domains)}" if spec.event.domain is not None else ""
    values += f", noise of {count_layers(spec.dequantization.flow)} layers" if spec.dequantization is not None else ""
    if spec.context is None:
        return values
    if spec.context.classes is not None:
        return f"{values}, given a label 0 … {spec.context.classes - 1}"
    return f"{values}, given an array {list(spec.context.shape or ())}"


def encoder_text(spec: Spec) -> list[str]:
    """Return a line that says what summarizes the context, and to what shape. There is none without an encoder."""
    encoder = spec.context and spec.context.encoder
    if not encoder:
        return []
    return [
        f"context → {', '.join([encoder.name, *fields(encoder.config)])} → {list(context_shape(spec.context) or ())}"
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
