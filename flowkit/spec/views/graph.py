"""A flow as text for Graphviz."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from flowkit.plugin.reference import Use
from flowkit.shapes import Shape
from flowkit.spec.model import CouplingSpec, Spec
from flowkit.spec.views.outline import Entry, LayerOutline, Loop, data_text, fields, outline, span


def dot(spec: Spec) -> str:
    """A digraph from data to latents, repeats as clusters: what `dot -Tsvg` reads."""
    flow, graph = outline(spec), _Graph()
    clusters = list(graph.draw(flow.entries, "  "))
    graph.edge("z", [flow.last.shape])
    lines = [
        "digraph flow {",
        '  node [shape=box, style=rounded, fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9];',
        f"  x [label={_quoted('x', data_text(spec))}, shape=ellipse];",
        *clusters,
        f"  z [label={_quoted(str(flow.last), spec.base.name)}, shape=ellipse];",
        *graph.outside,
        "}",
    ]
    return "\n".join(lines) + "\n"


class _Graph:
    """Writes nodes where they stand. Edges and latents come after all clusters: a cluster takes in what it names."""

    def __init__(self) -> None:
        self.outside: list[str] = []
        self.previous, self.layers, self.loops = "x", 0, 0

    def edge(self, node: str, shapes: Sequence[Shape]) -> None:
        self.outside.append(f"  {self.previous} -> {node} [label={_quoted(span(shapes))}];")
        self.previous = node

    def draw(self, entries: Iterable[Entry], indent: str) -> Iterator[str]:
        for entry in entries:
            yield from self._loop(entry, indent) if isinstance(entry, Loop) else self._layer(entry, indent)

    def _loop(self, loop: Loop, indent: str) -> Iterator[str]:
        self.loops += 1
        yield f"{indent}subgraph cluster_{self.loops} {{"
        yield f"{indent}  label={_quoted(loop.title)}; labeljust=l; style=dashed; fontname=Helvetica; fontsize=11;"
        yield from self.draw(loop.entries, indent + "  ")
        yield f"{indent}}}"

    def _layer(self, layer: LayerOutline, indent: str) -> Iterator[str]:
        self.layers += 1
        node = f"layer_{self.layers}"
        yield f"{indent}{node} [label={_quoted(*_lines(layer))}];"
        self.edge(node, layer.inputs)
        if layer.latents:
            self.outside.append(f"  {node}_z [label={_quoted(*map(str, layer.latents))}, shape=ellipse];")
            self.outside.append(f"  {node} -> {node}_z;")


def _lines(layer: LayerOutline) -> list[str]:
    match layer.item:
        case Use():
            return [_line(layer.item)]
        case CouplingSpec(coupling=coupling, conditioner=conditioner, split=split):
            return [f"coupling {_line(coupling)}", f"conditioner {_line(conditioner)}", f"split {_line(split)}"]
    return [layer.steps[0].name]


def _line(use: Use) -> str:
    written = fields(use.config)
    return f"{use.name}: {', '.join(written)}" if written else use.name


def _quoted(*lines: str) -> str:
    """A quoted string of dot with these lines."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines)
    return '"' + "\\n".join(escaped) + '"'
