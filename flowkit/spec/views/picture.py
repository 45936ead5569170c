"""Draws a flow as an SVG picture: data at the top, the last latent at the bottom, the other latents at the side."""

from __future__ import annotations

from collections.abc import Sequence

from flowkit.plugin.config import SplitConfig
from flowkit.plugin.reference import Use
from flowkit.spec.conditioning import reads_context
from flowkit.spec.model import AutoregressiveSpec, CouplingSpec, ElementwiseSpec, FactorOutSpec, Spec
from flowkit.spec.views.drawing import Drawing, width_of
from flowkit.spec.views.outline import Entry, Latent, LayerOutline, Loop, data_text, encoder_text, fields, outline, span

MARGIN = 22.0
PADDING = 14.0
LINE = 16.0
"""The distance from one line of text to the next."""
FIRST_LINE = 19.0
"""The distance from the upper edge of a box to the base line of its first text."""
GAP = 30.0
"""The distance between two boxes, which is the length of an arrow."""
LABEL = 8.0
"""The distance from an arrow to the shape that is written beside it."""
MIN_WIDTH = 190.0
MAX_LATENTS = 4
"""The most lines for the latents of a factor-out that is repeated."""


def svg(spec: Spec) -> str:
    """Return an SVG document, which is always the same for the same spec."""
    entries, latent = outline(spec)
    blocks = _blocks(entries, spec.context is not None)
    last = [str(latent), *_base_text(spec.base, spec.context is not None)]
    ends = Card(["x", data_text(spec), *encoder_text(spec)], "end", 0), Card(last, "end", 0)
    stack = Stack([ends[0], *blocks, ends[1]], [*_labels(entries), span([latent.shape])])
    side = MARGIN + stack.width + GAP
    width = (side + stack.leaving if stack.leaving else MARGIN + stack.width) + MARGIN
    height = stack.height + 2 * MARGIN
    drawing = Drawing()
    drawing.box(0.5, 0.5, width - 1, height - 1, "page")
    stack.draw(drawing, MARGIN + stack.width / 2, MARGIN, side)
    return drawing.to_svg(width, height, f"A flow from {list(spec.event.shape)} to {spec.base.name}")


def _base_text(base: Use, context: bool) -> list[str]:
    """Return the lines of a base distribution: its name, and the fields that the spec writes."""
    reads = reads_context(base) != "no" and context
    return [f"{base.name}{', given the context' if reads else ''}", *fields(base.config)]


class Block:
    """A part of the picture, centred on the axis along which the event goes down."""

    width: float
    height: float
    leaving = 0.0
    """The width of what leaves to the side."""

    def draw(self, drawing: Drawing, axis: float, y: float, side: float) -> None:
        """Draw the block from ``y`` on downwards. Latents that leave go to the column that begins at ``side``."""
        raise NotImplementedError


class Card(Block):
    """A box with lines of text: the first is the name."""

    def __init__(self, lines: Sequence[str], style: str, min_width: float = MIN_WIDTH):
        self.lines, self.style = lines, style
        name, *rest = lines
        self.width = max(min_width, *(width_of(line, "field") for line in rest), width_of(name, "name")) + 2 * PADDING
        self.height = LINE * len(lines) + 14

    @classmethod
    def of(cls, use: Use, style: str, min_width: float = MIN_WIDTH) -> Card:
        """Return the box of a plugin with the fields that the spec writes."""
        return cls([use.title, *fields(use.config)], style, min_width)

    def draw(self, drawing: Drawing, axis: float, y: float, side: float) -> None:
        drawing.box(axis - self.width / 2, y, self.width, self.height, self.style)
        for index, line in enumerate(self.lines):
            drawing.text(axis, y + FIRST_LINE + LINE * index, line, "field" if index else "name")


class FactorOutBlock(Block):
    """A factor-out, with the latent that leaves at the side."""

    def __init__(self, latents: Sequence[Latent], base: Use | None, context: bool):
        lines = list(map(str, latents))
        if len(lines) > MAX_LATENTS:
            lines[MAX_LATENTS - 2 : -1] = ["…"]
        self.card = Card(["factor_out", "channels"], "factor-out")
        self.end = Card([*lines, *(["standard normal"] if base is None else _base_text(base, context))], "end", 0)
        self.width, self.height = self.card.width, max(self.card.height, self.end.height)
        self.leaving = self.end.width

    def draw(self, drawing: Drawing, axis: float, y: float, side: float) -> None:
        middle = y + self.card.height / 2
        self.card.draw(drawing, axis, y, side)
        drawing.wire((axis, y + self.card.height), (axis, y + self.height), arrow=False)
        drawing.wire((axis + self.card.width / 2, middle), (side, middle))
        self.end.draw(drawing, side + self.end.width / 2, y, side)


class ConditionedBlock(Block):
    """A frame with the transformer on the right, and on the left the conditioner that computes its parameters."""

    def __init__(self, title: str, transformer: Use, conditioner: Use, context: bool):
        self.title, self.context = title, context
        self.conditioner = Card.of(conditioner, "conditioner", 90)
        self.transformer = Card.of(transformer, "transformer", 90)
        self.width = self.conditioner.width + self.transformer.width + 2 * GAP + 4 * PADDING
        self.inner_height = max(self.conditioner.height, self.transformer.height)
        self.height = 102 + LINE * context + self.inner_height

    def heights(self, y: float) -> tuple[float, float, float]:
        """Return where the wires part, where the middle of the inner boxes is, and where the wires meet again."""
        merge = y + self.height - 14
        return y + 50, merge - 20 - self.inner_height / 2, merge

    def draw(self, drawing: Drawing, axis: float, y: float, side: float) -> None:
        left, right = axis - self.width / 2, axis + self.width / 2
        fork, middle, merge = self.heights(y)
        transformed = right - PADDING - self.transformer.width / 2
        under = (left + 2 * PADDING + transformed - self.transformer.width / 2) / 2

        drawing.box(left, y, self.width, self.height, "coupling")
        drawing.text(left + PADDING, y + FIRST_LINE, self.title, "name", "start")
        drawing.wire((axis, y), (axis, fork), arrow=False)
        drawing.wire((axis, fork), (transformed, fork), (transformed, middle - self.transformer.height / 2))
        below = (transformed, middle + self.transformer.height / 2)
        drawing.wire(below, (transformed, merge), (axis, merge), arrow=False)
        drawing.wire((axis, merge), (axis, y + self.height), arrow=False)
        drawing.wire((under + self.conditioner.width / 2, middle), (transformed - self.transformer.width / 2, middle))
        for box, centre in ((self.conditioner, under), (self.transformer, transformed)):
            box.draw(drawing, centre, middle - box.height / 2, side)
        if self.context:
            edge = middle - self.conditioner.height / 2
            drawing.text(under, edge - 18, "context", "field")
            drawing.wire((under, edge - 15), (under, edge))


class CouplingBlock(ConditionedBlock):
    """A coupling, with the transformer on the right. The kept part goes down on the left, past the conditioner."""

    def __init__(self, coupling: CouplingSpec, layer: LayerOutline, context: bool):
        super().__init__("coupling", coupling.coupling, coupling.conditioner, context)
        split = coupling.split.config
        assert isinstance(split, SplitConfig)
        parts = [split.split_shapes(shape) for shape in layer.inputs]
        kept, transformed = (span(shapes) for shapes in zip(*parts, strict=True))
        through = "" if coupling.kept is None else ", ".join(["", coupling.kept.name, *fields(coupling.kept.config)])
        self.kept, self.transformed = f"kept {kept}{through}", f"transformed {transformed}"
        inverse = ["inverse"] if coupling.inverse else []
        self.split = ", ".join([*inverse, f"split {coupling.split.name}", *fields(split)])
        beside = max(width_of(text, "field") for text in (self.kept, self.transformed, self.split))
        self.width = max(2 * (beside + 2 * PADDING), self.width)

    def draw(self, drawing: Drawing, axis: float, y: float, side: float) -> None:
        super().draw(drawing, axis, y, side)
        kept, right = axis - self.width / 2 + 2 * PADDING, axis + self.width / 2 - PADDING
        fork, middle, merge = self.heights(y)
        conditioner = (kept + right - self.transformer.width) / 2 - self.conditioner.width / 2
        drawing.text(right, y + FIRST_LINE, self.split, "field", "end")
        drawing.text(kept, fork - 6, self.kept, "field", "start")
        drawing.text(right, fork - 6, self.transformed, "field", "end")
        drawing.wire((axis, fork), (kept, fork), (kept, merge), (axis, merge), arrow=False)
        drawing.wire((kept, middle), (conditioner, middle))


class AutoregressiveBlock(ConditionedBlock):
    """An autoregressive layer. The conditioner on the left reads the event too; the transformer is on the right."""

    def __init__(self, layer: AutoregressiveSpec, context: bool):
        title = "inverse of autoregressive" if layer.inverse else "autoregressive"
        super().__init__(title, layer.autoregressive, layer.conditioner, context)
        self.order = ", ".join([f"order {layer.order.name}", *fields(layer.order.config)])
        texts = width_of(title, "name") + width_of(self.order, "field")
        self.width = max(texts + 4 * PADDING, self.width)

    def draw(self, drawing: Drawing, axis: float, y: float, side: float) -> None:
        super().draw(drawing, axis, y, side)
        left, right = axis - self.width / 2 + PADDING, axis + self.width / 2 - PADDING
        fork, middle, _ = self.heights(y)
        conditioner = (left + PADDING + right - self.transformer.width) / 2 - self.conditioner.width / 2
        drawing.text(right, y + FIRST_LINE, self.order, "field", "end")
        drawing.wire((axis, fork), (left, fork), (left, middle), (conditioner, middle))


class Stack(Block):
    """Blocks, one below the other, and the arrows between them with their labels."""

    def __init__(self, blocks: Sequence[Block], labels: Sequence[str]):
        self.blocks, self.labels = blocks, labels
        conditioned = [block for block in blocks if isinstance(block, ConditionedBlock)]
        for block in conditioned:  # couplings that alternate get the same width
            block.width = max(each.width for each in conditioned)
        beside = max((LABEL + width_of(label, "field") for label in labels), default=0.0)
        self.width = max(2 * beside, *(block.width for block in blocks))
        self.height = sum(block.height for block in blocks) + GAP * len(labels)
        self.leaving = max(block.leaving for block in blocks)

    def draw(self, drawing: Drawing, axis: float, y: float, side: float) -> None:
        for index, block in enumerate(self.blocks):
            block.draw(drawing, axis, y, side)
            y += block.height
            if index < len(self.labels):
                into_loop = isinstance(self.blocks[index + 1], Frame)  # which has an arrow of its own
                drawing.wire((axis, y), (axis, y + GAP), arrow=not into_loop)
                drawing.text(axis + LABEL, y + GAP / 2 + 4, self.labels[index], "field", "start")
                y += GAP


class Frame(Block):
    """A frame around the layers of a repeat, with the number of times."""

    def __init__(self, loop: Loop, context: bool):
        first = loop.entries[0].inputs
        self.label = span(first) if len(set(first)) > 1 else ""
        self.title = loop.title
        self.inner = Stack(_blocks(loop.entries, context), _labels(loop.entries[1:]))
        self.width = max(self.inner.width, 2 * (LABEL + width_of(self.label, "field"))) + 2 * PADDING
        self.height = self.inner.height + GAP + PADDING
        self.leaving = self.inner.leaving

    def draw(self, drawing: Drawing, axis: float, y: float, side: float) -> None:
        bottom = y + self.height
        drawing.box(axis - self.width / 2, y, self.width, self.height, "frame")
        drawing.text(axis - self.width / 2 + PADDING, y + FIRST_LINE, self.title, "name", "start")
        if self.label:
            drawing.text(axis + LABEL, y + FIRST_LINE, self.label, "field", "start")
        drawing.wire((axis, y), (axis, y + GAP))
        self.inner.draw(drawing, axis, y + GAP, side)
        drawing.wire((axis, bottom - PADDING), (axis, bottom), arrow=False)


def _blocks(entries: Sequence[Entry], context: bool) -> list[Block]:
    return [_block(entry, context) for entry in entries]


def _block(entry: Entry, context: bool) -> Block:
    if isinstance(entry, Loop):
        return Frame(entry, context)
    match entry.item:
        case Use():
            return Card.of(entry.item, "layer")
        case CouplingSpec():
            return CouplingBlock(entry.item, entry, context)
        case ElementwiseSpec(elementwise=transformer, conditioner=None):
            return Card([entry.item.name, *fields(transformer.config)], "layer")
        case ElementwiseSpec(elementwise=transformer, conditioner=Use() as conditioner):
            title = "inverse of elementwise" if entry.item.inverse else "elementwise"
            return ConditionedBlock(title, transformer, conditioner, context)
        case AutoregressiveSpec():
            return AutoregressiveBlock(entry.item, context)
        case FactorOutSpec(base=base):
            return FactorOutBlock(entry.latents, base, context)
    raise TypeError(f"not a step of a flow: {entry.item!r}")


def _labels(entries: Sequence[Entry]) -> list[str]:
    """Return the shapes that reach the entries, as labels of arrows."""
    return [span(entry.inputs) for entry in entries]
