"""The boxes of a picture: a layer, a coupling with its parts, a factor-out with the latent that leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flowkit.plugin.config import SplitConfig
from flowkit.plugin.reference import Use
from flowkit.spec.model import CouplingSpec, FactorOutSpec
from flowkit.spec.views.drawing import Drawing, width_of
from flowkit.spec.views.outline import Latent, LayerOutline, fields, span

PADDING = 14.0
LINE = 16.0
"""From one line of text to the next."""
FIRST_LINE = 19.0
"""From the upper edge of a box to the base line of its first text."""
GAP = 30.0
"""Between two boxes: the length of an arrow."""
MIN_WIDTH = 190.0
MAX_LATENTS = 4
"""The most lines for the latents of a factor-out that is repeated."""


class Block(Protocol):
    """A part of the picture, centred on the axis along which the event goes down."""

    width: float
    height: float
    leaving: float
    """The width of what leaves to the side."""

    def draw(self, drawing: Drawing, axis: float, y: float, side: float) -> None:
        """Paint it from ``y`` on downwards; what leaves goes to the column that begins at ``side``."""


class Card:
    """A box with lines of text: the first is the name."""

    leaving = 0.0

    def __init__(self, lines: Sequence[str], style: str, min_width: float = MIN_WIDTH):
        self.lines, self.style = lines, style
        name, *rest = lines
        self.width = max(min_width, *(width_of(line, "field") for line in rest), width_of(name, "name")) + 2 * PADDING
        self.height = LINE * len(lines) + 14

    def draw(self, drawing: Drawing, axis: float, y: float, side: float) -> None:
        drawing.box(axis - self.width / 2, y, self.width, self.height, self.style)
        for index, line in enumerate(self.lines):
            drawing.text(axis, y + FIRST_LINE + LINE * index, line, "field" if index else "name")


class End(Card):
    """Data or a latent: where a density is given."""

    def __init__(self, lines: Sequence[str]):
        super().__init__(lines, "end", min_width=0)


class FactorOutCard:
    """A factor-out, and at the side what leaves there."""

    def __init__(self, latents: Sequence[Latent]):
        self.card, self.end = Card(["factor_out", "channels"], "factor-out"), End(_lines_of(latents))
        self.width, self.height = self.card.width, max(self.card.height, self.end.height)
        self.leaving = self.end.width

    def draw(self, drawing: Drawing, axis: float, y: float, side: float) -> None:
        middle = y + self.card.height / 2
        self.card.draw(drawing, axis, y, side)
        drawing.wire((axis, y + self.card.height), (axis, y + self.height), arrow=False)
        drawing.wire((axis + self.card.width / 2, middle), (side, middle))
        self.end.draw(drawing, side + self.end.width / 2, y, side)


class CouplingCard:
    """The kept part goes down on the left, past the conditioner that reads it; the transformer is on the right."""

    leaving = 0.0

    def __init__(self, coupling: CouplingSpec, layer: LayerOutline, context: bool):
        split = coupling.split.config
        assert isinstance(split, SplitConfig)
        parts = [split.split_shapes(shape) for shape in layer.inputs]
        kept, transformed = (span(shapes) for shapes in zip(*parts, strict=True))
        self.kept, self.transformed = f"kept {kept}", f"transformed {transformed}"
        self.split = ", ".join([f"split {coupling.split.name}", *fields(split)])
        self.context = context
        self.conditioner = _use_card(coupling.conditioner, "conditioner", 90)
        self.transformer = _use_card(coupling.coupling, "transformer", 90)
        beside = max(width_of(text, "field") for text in (self.kept, self.transformed, self.split))
        boxes = self.conditioner.width + self.transformer.width
        self.width = max(2 * (beside + 2 * PADDING), boxes + 2 * GAP + 4 * PADDING)
        self.inner_height = max(self.conditioner.height, self.transformer.height)
        self.height = 102 + LINE * context + self.inner_height

    def draw(self, drawing: Drawing, axis: float, y: float, side: float) -> None:
        left, right = axis - self.width / 2, axis + self.width / 2
        drawing.box(left, y, self.width, self.height, "coupling")
        drawing.text(left + PADDING, y + FIRST_LINE, "coupling", "name", "start")
        drawing.text(right - PADDING, y + FIRST_LINE, self.split, "field", "end")

        lane, over = left + 2 * PADDING, right - PADDING - self.transformer.width / 2
        under = (lane + over - self.transformer.width / 2) / 2
        fork, merge = y + 50, y + self.height - 14
        top = merge - 20 - self.inner_height
        middle = top + self.inner_height / 2
        drawing.text(lane, fork - 6, self.kept, "field", "start")
        drawing.text(right - PADDING, fork - 6, self.transformed, "field", "end")
        drawing.wire((axis, y), (axis, fork), arrow=False)
        drawing.wire((axis, fork), (lane, fork), (lane, merge), (axis, merge), arrow=False)
        drawing.wire((axis, fork), (over, fork), (over, middle - self.transformer.height / 2))
        drawing.wire((over, middle + self.transformer.height / 2), (over, merge), (axis, merge), arrow=False)
        drawing.wire((axis, merge), (axis, y + self.height), arrow=False)
        drawing.wire((lane, middle), (under - self.conditioner.width / 2, middle))
        drawing.wire((under + self.conditioner.width / 2, middle), (over - self.transformer.width / 2, middle))
        for box, centre in ((self.conditioner, under), (self.transformer, over)):
            box.draw(drawing, centre, middle - box.height / 2, side)
        if self.context:
            edge = middle - self.conditioner.height / 2
            drawing.text(under, edge - 18, "context", "field")
            drawing.wire((under, edge - 15), (under, edge))


def card(layer: LayerOutline, context: bool) -> Block:
    """The box of a layer."""
    match layer.item:
        case Use():
            return _use_card(layer.item, "layer")
        case CouplingSpec():
            return CouplingCard(layer.item, layer, context)
        case FactorOutSpec():
            return FactorOutCard(layer.latents)


def _use_card(use: Use, style: str, min_width: float = MIN_WIDTH) -> Card:
    return Card([use.name, *fields(use.config)], style, min_width)


def _lines_of(latents: Sequence[Latent]) -> list[str]:
    lines = [str(latent) for latent in latents]
    if len(lines) > MAX_LATENTS:
        lines[MAX_LATENTS - 2 : -1] = ["…"]
    return [*lines, "standard normal"]
