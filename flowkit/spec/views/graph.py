"""Writes a flow as text for Graphviz."""

from __future__ import annotations

from collections.abc import Sequence

from flowkit.plugin.reference import Use
from flowkit.shapes import Shape
from flowkit.spec.model import FactorOutSpec, Spec
from flowkit.spec.views.outline import Entry, LayerOutline, Loop, data_text, encoder_text, fields, outline, span


def dot(spec: Spec) -> str:
    """Return a digraph from data to latents, which `dot -Tsvg` reads. Repeats are clusters."""
    entries, latent = outline(spec)
    graph = _Graph()
    graph.draw(entries, "  ")
    graph.edge("z", [latent.shape])
    lines = [
        "digraph flow {",
        '  node [shape=box, style=rounded, fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9];',
        f"  x [label={_quoted('x', data_text(spec), *encoder_text(spec))}, shape=ellipse];",
        *graph.nodes,
        f"  z [label={_quoted(str(latent), _line(spec.base))}, shape=ellipse];",
        *graph.edges,
        "}",
    ]
    return "\n".join(lines) + "\n"


class _Graph:
    """Writes nodes into their clusters.

    Edges and latents follow all clusters, because a cluster includes what it names.
    """

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.edges: list[str] = []
        self.previous, self.layers, self.loops = "x", 0, 0

    def edge(self, node: str, shapes: Sequence[Shape]) -> None:
        self.edges.append(f"  {self.previous} -> {node} [label={_quoted(span(shapes))}];")
        self.previous = node

    def draw(self, entries: Sequence[Entry], indent: str) -> None:
        for entry in entries:
            if isinstance(entry, Loop):
                self._loop(entry, indent)
            else:
                self._layer(entry, indent)

    def _loop(self, loop: Loop, indent: str) -> None:
        self.loops += 1
        style = "labeljust=l; style=dashed; fontname=Helvetica; fontsize=11;"
        self.nodes.append(f"{indent}subgraph cluster_{self.loops} {{")
        self.nodes.append(f"{indent}  label={_quoted(loop.title)}; {style}")
        self.draw(loop.entries, indent + "  ")
        self.nodes.append(f"{indent}}}")

    def _layer(self, layer: LayerOutline, indent: str) -> None:
        self.layers += 1
        node = f"layer_{self.layers}"
        self.nodes.append(f"{indent}{node} [label={_quoted(*_lines(layer))}];")
        self.edge(node, layer.inputs)
        if layer.latents:
            base = layer.item.base if isinstance(layer.item, FactorOutSpec) else None
            lines = [*map(str, layer.latents), *([] if base is None else [_line(base)])]
            self.edges.append(f"  {node}_z [label={_quoted(*lines)}, shape=ellipse];")
            self.edges.append(f"  {node} -> {node}_z;")


def _lines(layer: LayerOutline) -> list[str]:
    if isinstance(layer.item, Use):
        return [_line(layer.item)]
    if isinstance(layer.item, FactorOutSpec):
        return [layer.item.name]
    parts = [f"{name} {_line(part)}" for name, part in layer.item if isinstance(part, Use)]
    return [layer.item.name, *parts] if parts and layer.steps[0].is_inverse else parts or [layer.item.name]


def _line(use: Use) -> str:
    written = fields(use.config)
    return f"{use.title}: {', '.join(written)}" if written else use.title


def _quoted(*lines: str) -> str:
    """Return these lines as a quoted string of dot."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines)
    return '"' + "\\n".join(escaped) + '"'
