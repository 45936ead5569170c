"""The views of a spec: what they say, and that any text survives in them."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from flowkit.plugin import Registry
from flowkit.spec import Spec, latent_shapes, model_hash, read_spec, walk
from flowkit.spec.views import as_dict, dot, svg

ROOT = Path(__file__).parents[2]
SPECS = sorted(ROOT.glob("specs/*.yaml"))

MULTISCALE = """\
flowkit: 1
event: {shape: [3, 32, 32], levels: 256}
context: {classes: 10}
flow:
  - repeat: 5
    flow:
      - use: glow/squeeze
      - repeat: 16
        flow:
          - {use: glow/conv1x1, parametrization: plain}
          - coupling: {use: glow/affine, scale: [0.5, 2]}
            conditioner: {use: glow/convnet, hidden: 64, dropout: 0}
            split: {use: glow/channels, swap: true}
      - factor_out: channels
  - use: glow/permute
"""
HOSTILE = """<b>&"'\\N]]> \x1b\x00\uffff"""


@pytest.fixture
def multiscale() -> Spec:
    return read_spec(MULTISCALE)


@pytest.fixture
def hostile(registry: Registry) -> Spec:
    """A spec with a text that no format takes as it is."""
    step = {"use": "toy/scale", "note": HOSTILE}
    return read_spec({"flowkit": 1, "event": {"shape": [2]}, "flow": [step]}, registry=registry)


def texts(document: str) -> list[str]:
    """What a picture says, from top to bottom."""
    root = ElementTree.fromstring(document)
    found = root.iterfind(".//{http://www.w3.org/2000/svg}text")
    return [element.text or "" for element in sorted(found, key=lambda element: float(element.get("y", 0)))]


def test_a_picture_says_what_the_flow_does(multiscale: Spec) -> None:
    said = texts(svg(multiscale))
    assert [text for text in said if "/" in text or text.startswith(("×", "factor", "z", "context"))] == [
        "× 5",
        "glow/squeeze",
        "× 16",
        "glow/conv1x1",
        "split glow/channels, swap",
        "context",
        "glow/convnet",
        "glow/affine",
        "factor_out",
        "z₁ [6, 16, 16]",
        "z₂ [12, 8, 8]",
        "z₅ [96, 1, 1]",
        "glow/permute",
        "z₆ [96, 1, 1]",
        "base/standard_normal",
    ]
    assert {"integers 0 … 255, given a label 0 … 9", "hidden 64", "scale [0.5, 2]", "parametrization plain"} <= {*said}
    assert {"[3, 32, 32]", "[12, 16, 16] … [192, 1, 1]", "kept [6, 16, 16] … [96, 1, 1]"} <= {*said}
    assert said.count("[96, 1, 1]") == 2


ELEMENTWISE = """\
flowkit: 1
event: {shape: [1]}
context: {shape: [10]}
flow:
  - elementwise: {use: glow/affine, scale: [0.5, 2]}
    conditioner: {use: glow/mlp, hidden: 64}
  - elementwise: {use: spline/rational_quadratic, bins: 6}
"""


def test_the_views_of_elementwise_steps() -> None:
    spec = read_spec(ELEMENTWISE)
    said = texts(svg(spec))
    assert said.count("context") == 1 and {"elementwise", "glow/affine", "scale [0.5, 2]", "hidden 64"} <= {*said}
    assert said[-5:-2] == ["elementwise spline/rational_quadratic", "bins 6", "[1]"]
    assert "elementwise glow/affine: scale [0.5, 2]\\nconditioner glow/mlp: hidden 64" in dot(spec)
    assert 'label="elementwise spline/rational_quadratic: bins 6"' in dot(spec)
    steps = as_dict(spec, [1, 2], [0], 0)["steps"]
    assert [step["name"] for step in steps] == ["elementwise glow/affine", "elementwise spline/rational_quadratic"]


AUTOREGRESSIVE = """\
flowkit: 1
event: {shape: [4]}
context: {shape: [10]}
flow:
  - autoregressive: {use: glow/affine, scale: [0.5, 2]}
    conditioner: {use: autoregressive/made, hidden: 64}
    order: {use: autoregressive/random, seed: 3}
  - autoregressive: {use: spline/rational_quadratic}
    inverse: true
"""


def test_the_views_of_autoregressive_steps() -> None:
    spec = read_spec(AUTOREGRESSIVE)
    said = texts(svg(spec))
    assert said.count("context") == 2
    assert {"autoregressive", "order autoregressive/random, seed 3", "glow/affine", "hidden 64"} <= {*said}
    assert {"inverse of autoregressive", "order autoregressive/natural"} <= {*said}
    parts = "conditioner autoregressive/made: hidden 64\\norder autoregressive/random: seed 3"
    assert f'label="autoregressive glow/affine: scale [0.5, 2]\\n{parts}"' in dot(spec)
    steps = as_dict(spec, [1, 2], [0], 0)["steps"]
    inverse = "inverse of autoregressive spline/rational_quadratic"
    assert [step["name"] for step in steps] == ["autoregressive glow/affine", inverse]


def test_a_picture_of_a_flow_without_context_draws_none(multiscale: Spec) -> None:
    said = texts(svg(multiscale.model_copy(update={"context": None})))
    assert "context" not in said and "integers 0 … 255" in said


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_nothing_in_a_picture_overlaps_or_leaves_the_page(path: Path) -> None:
    root = ElementTree.fromstring(svg(read_spec(path)))
    page, *boxes = [
        [float(rect.get(name, 0)) for name in ("x", "y", "width", "height")]
        for rect in root.iter("{http://www.w3.org/2000/svg}rect")
    ]
    for index, (x, y, width, height) in enumerate(boxes):
        assert x > 0 and y > 0 and x + width < page[2] and y + height < page[3]
        for x2, y2, width2, height2 in boxes[:index]:
            apart = x >= x2 + width2 or x2 >= x + width or y >= y2 + height2 or y2 >= y + height
            inside = x2 < x and y2 < y and x + width < x2 + width2 and y + height < y2 + height2
            assert apart or inside


@pytest.mark.parametrize("view", [svg, dot])
def test_the_same_spec_gives_the_same_text(view, multiscale: Spec) -> None:
    assert view(multiscale) == view(read_spec(MULTISCALE))


def test_any_text_survives_in_a_picture(hostile: Spec) -> None:
    assert r"""note "<b>&\"'\\N]]> \u001b\u0000\uffff""" + '"' in texts(svg(hostile))


QUOTED = r'"(?:[^"\\]|\\.)*"'
STATEMENT = re.compile(
    rf"digraph flow {{|}}|  node \[.*\];|  edge \[.*\];|subgraph cluster_\d+ {{"
    rf"|label={QUOTED}(; \w+=\w+)+;|\w+ \[label={QUOTED}(, shape=ellipse)?\];|\w+ -> \w+( \[label={QUOTED}\])?;"
)


def test_every_line_of_a_graph_is_a_statement(hostile: Spec, multiscale: Spec) -> None:
    for spec in (hostile, multiscale):
        text = dot(spec)
        assert all(STATEMENT.fullmatch(line) or STATEMENT.fullmatch(line.strip()) for line in text.splitlines())
        assert text.count("{") == text.count("}")
    assert r"""note \"<b>&\\\"'\\\\N]]> \\u001b\\u0000\\uffff\"""" + '"' in dot(hostile)


def test_a_graph_has_its_edges_outside_the_clusters(multiscale: Spec) -> None:
    """A cluster would take in the nodes that an edge names."""
    lines = dot(multiscale).splitlines()
    assert [line.strip() for line in lines if "->" in line] == [
        'x -> layer_1 [label="[3, 32, 32] … [48, 2, 2]"];',
        'layer_1 -> layer_2 [label="[12, 16, 16] … [192, 1, 1]"];',
        'layer_2 -> layer_3 [label="[12, 16, 16] … [192, 1, 1]"];',
        'layer_3 -> layer_4 [label="[12, 16, 16] … [192, 1, 1]"];',
        "layer_4 -> layer_4_z;",
        'layer_4 -> layer_5 [label="[96, 1, 1]"];',
        'layer_5 -> z [label="[96, 1, 1]"];',
    ]
    assert max(index for index, line in enumerate(lines) if line.strip() == "}" and index + 1 < len(lines)) < min(
        index for index, line in enumerate(lines) if "->" in line
    )


def test_a_description_has_every_layer(multiscale: Spec) -> None:
    steps = walk(multiscale)
    described = as_dict(multiscale, range(len(steps)), range(6), 0)
    assert described["event"] == {"shape": [3, 32, 32], "levels": 256}
    assert described["context"] == {"classes": 10}
    assert [step["parameters"] for step in described["steps"]] == list(range(len(steps)))
    assert described["steps"][33] == {
        "name": "factor_out",
        "path": "flow[0].flow[2]",
        "input_shape": [12, 16, 16],
        "output_shape": [6, 16, 16],
        "latent_shape": [6, 16, 16],
        "domain": "real",
        "directions": "both",
        "parameters": 33,
    }
    assert described["latents"] == [list(shape) for shape in latent_shapes(multiscale)]
    assert described["parameters"] == sum(range(len(steps))) + sum(range(6))
    assert [base["name"] for base in described["bases"]] == 6 * ["base/standard_normal"]
    assert described["bases"][-1] == {"name": "base/standard_normal", "path": "base", "parameters": 5}
    assert described["likelihood"] == "exact"
    assert described["model"] == model_hash(multiscale)
