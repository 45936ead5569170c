"""A flow as an SVG picture: data at the top, the last latent at the bottom, what leaves before at the side."""

from __future__ import annotations

from collections.abc import Sequence

from flowkit.spec.model import Spec
from flowkit.spec.views.cards import FIRST_LINE, GAP, PADDING, Block, CouplingCard, End, card
from flowkit.spec.views.drawing import Drawing, width_of
from flowkit.spec.views.outline import Entry, Loop, data_text, outline, span

MARGIN = 22.0
LABEL = 8.0
"""From an arrow to the shape that is written beside it."""


def svg(spec: Spec) -> str:
    """An SVG document, the same for the same spec."""
    flow, context = outline(spec), spec.context is not None
    data, last = End(["x", data_text(spec)]), End([str(flow.last), spec.base.name])
    blocks = [data, *(_block(entry, context) for entry in flow.entries), last]
    stack = Stack(blocks, [*_labels(flow.entries), span([flow.last.shape])])
    side = MARGIN + stack.width + GAP
    width = (side + stack.leaving if stack.leaving else MARGIN + stack.width) + MARGIN
    height = stack.height + 2 * MARGIN
    drawing = Drawing()
    drawing.box(0.5, 0.5, width - 1, height - 1, "page")
    stack.draw(drawing, MARGIN + stack.width / 2, MARGIN, side)
    return drawing.to_svg(width, height, f"A flow from {list(spec.event.shape)} to {spec.base.name}")


class Stack:
    """Blocks, one below the other, and the arrows between them with their labels."""

    def __init__(self, blocks: Sequence[Block], labels: Sequence[str]):
        self.blocks, self.labels = blocks, labels
        couplings = [block for block in blocks if isinstance(block, CouplingCard)]
        for coupling in couplings:  # those that take turns look alike
            coupling.width = max(each.width for each in couplings)
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


class Frame:
    """A repeat: a frame around what is repeated, with the number of times."""

    def __init__(self, loop: Loop, context: bool):
        first = loop.entries[0].inputs
        self.label = span(first) if len(set(first)) > 1 else ""
        self.title = loop.title
        self.inner = Stack([_block(entry, context) for entry in loop.entries], _labels(loop.entries[1:]))
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


def _block(entry: Entry, context: bool) -> Block:
    return Frame(entry, context) if isinstance(entry, Loop) else card(entry, context)


def _labels(entries: Sequence[Entry]) -> list[str]:
    """The shapes that reach the entries."""
    return [span(entry.inputs) for entry in entries]
