"""Draws SVG elements: boxes, text and arrows, each with a class of the style sheet."""

from __future__ import annotations

from xml.etree import ElementTree

SIZES = {"name": 13.0, "field": 11.0}
"""Font sizes by class, in pixels."""

CHARACTER = 0.61
"""The width of a character as a share of the font's size: of DejaVu Sans, the widest of the fonts below."""

STYLE = """
text { font-family: system-ui, "Segoe UI", Roboto, Helvetica, Arial, "DejaVu Sans", sans-serif }
.name { fill: #1f2933 }
.field { fill: #52606d }
.page { fill: #ffffff; stroke: #d9e0e7 }
.end { fill: #e3eaf1; stroke: #4a6581 }
.layer { fill: #e9f1fa; stroke: #7fa8d1 }
.coupling { fill: #f7f8fa; stroke: #b4bfca }
.conditioner { fill: #f2ecfb; stroke: #a78bd6 }
.transformer { fill: #e6f5ec; stroke: #66b48a }
.factor-out { fill: #fdf3df; stroke: #d9a441 }
.frame { fill: none; stroke: #9aa5b1; stroke-dasharray: 5 4 }
.wire { fill: none; stroke: #52606d; stroke-width: 1.3 }
.head { fill: #52606d }
""" + "".join(f".{name} {{ font-size: {size:g}px }}\n" for name, size in SIZES.items())


def width_of(text: str, style: str) -> float:
    """Return the width of a text in pixels, which is estimated rather too large than too small."""
    return len(text) * SIZES[style] * CHARACTER


class Drawing:
    """A picture: its elements in the order in which they are painted."""

    def __init__(self) -> None:
        self.elements: list[ElementTree.Element] = []

    def box(self, x: float, y: float, width: float, height: float, style: str) -> None:
        self._add("rect", x=x, y=y, width=width, height=height, rx=7, **{"class": style})

    def text(self, x: float, y: float, text: str, style: str, anchor: str = "middle") -> None:
        """Add a text. ``y`` is its base line, and ``anchor`` is start, middle or end."""
        element = self._add("text", x=x, y=y, **{"class": style, "text-anchor": anchor})
        element.text = text

    def wire(self, *points: tuple[float, float], arrow: bool = True) -> None:
        """Add a line through points, by default with an arrowhead at the last."""
        head = {"marker-end": "url(#head)"} if arrow else {}
        self._add("polyline", points=" ".join(f"{x:g},{y:g}" for x, y in points), **{"class": "wire", **head})

    def to_svg(self, width: float, height: float, title: str) -> str:
        """Return the document, of this size in pixels. Screen readers say its ``title``."""
        size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
        root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, "role": "img"})
        ElementTree.SubElement(root, "title").text = title
        ElementTree.SubElement(root, "style").text = STYLE
        marker = {"id": "head", "viewBox": "0 0 8 8", "refX": "7", "refY": "4", "markerWidth": "7"}
        marker |= {"markerHeight": "7", "orient": "auto", "markerUnits": "userSpaceOnUse"}
        head = ElementTree.SubElement(ElementTree.SubElement(root, "defs"), "marker", marker)
        ElementTree.SubElement(head, "path", {"d": "M0,0.5 L8,4 L0,7.5 z", "class": "head"})
        root.extend(self.elements)
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode") + "\n"

    def _add(self, tag: str, **attributes: float | str) -> ElementTree.Element:
        written = {name: value if isinstance(value, str) else f"{value:g}" for name, value in attributes.items()}
        self.elements.append(ElementTree.Element(tag, written))
        return self.elements[-1]
