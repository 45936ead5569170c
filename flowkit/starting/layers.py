"""Chooses the flow of a starting spec: which layers, how many, and how wide."""

from __future__ import annotations

import math
from bisect import bisect
from dataclasses import dataclass, replace

from flowkit.errors import DataError
from flowkit.plugin import Shape
from flowkit.plugin.spelling import line
from flowkit.presets.images import scales

ROWS = (1_000, 10_000, 100_000)
"""The numbers of events from which networks are wider. A wide network memorizes few events."""
HIDDEN = {1: (32, 64, 128, 256), 3: (32, 48, 64, 128)}
"""The width of the networks' hidden layers for each range of ROWS, for vectors (1) and for images (3)."""
DROPOUT = (0.2, 0.1, 0.0, 0.0)
"""The dropout of the networks for each range of ROWS."""
MAX_SPLINE = 256
"""The most values of an event for splines, which bend more than affine maps, and cost twelve times the parameters."""
MAX_MIXED = 128
"""The most channels that a matrix mixes."""


@dataclass(frozen=True)
class Line:
    """A line of a spec, and its comment."""

    text: str
    comment: str = ""

    def indented(self, levels: int) -> Line:
        return replace(self, text="  " * levels + self.text)


SPLINE_TEXT = "{use: spline/rational_quadratic, bound: 4}"
AFFINE_TEXT = "{use: glow/affine}"
"""The transformer for few events. Splines overfit: with 100 to 600 rows their test score was 0.1 to 1.2 nats worse."""
ACTNORM_LINE = Line("- use: glow/actnorm", "mean 0 and variance 1 of the first batch, then learned")


def layers(event: Shape, levels: int | None, rows: int, conditional: bool) -> list[Line]:
    """Return the steps of a flow for such events. Raises DataError if no coupling could divide them."""
    coupling = _coupling(event, rows)
    lines = [] if levels is None else [Line("- use: glow/rescale", f"[0, {levels}) -> [-1/2, 1/2)")]
    if len(event) == 3:
        return lines + _image(event, coupling)
    if event[0] == 1:
        return lines + _one_value(rows, conditional)
    return lines + _repeated(6, _step(event[0], coupling))


def _one_value(rows: int, conditional: bool) -> list[Line]:
    """Return the steps for events of one value, which no coupling could divide. They read the context, or nothing."""
    if not conditional:
        return [ACTNORM_LINE, Line(f"- elementwise: {SPLINE_TEXT}", "learned")]
    network = _conditioner((1,), rows)
    affine = [Line("- elementwise: {use: glow/affine}", "mean and scale, from the context"), network]
    return [ACTNORM_LINE, *affine, Line(f"- elementwise: {SPLINE_TEXT}", "the shape, from the context"), network]


def _coupling(event: Shape, rows: int) -> list[Line]:
    small = AFFINE_TEXT if rows <= ROWS[0] else SPLINE_TEXT
    transformer = small if math.prod(event) <= MAX_SPLINE else "{use: glow/affine, scale: [0.5, 2]}"
    return [Line(f"- coupling: {transformer}"), _conditioner(event, rows)]


def _conditioner(event: Shape, rows: int) -> Line:
    network: dict[str, str | float] = {
        "use": "glow/convnet" if len(event) == 3 else "glow/mlp",
        "hidden": hidden_width(event, rows),
    }
    if dropout := DROPOUT[bisect(ROWS, rows)]:
        network["dropout"] = dropout
    return Line(f"  conditioner: {line(network)}")


def hidden_width(event: Shape, rows: int) -> int:
    """Return how wide networks are for this many events."""
    return HIDDEN[len(event)][bisect(ROWS, rows)]


def _step(channels: int, coupling: list[Line]) -> list[Line]:
    """Return a step that mixes the channels, and then transforms half of them."""
    mixing = "- use: glow/conv1x1" if channels <= MAX_MIXED else "- {use: glow/permute, order: random}"
    return [ACTNORM_LINE, Line(mixing, "so that each coupling transforms other values"), *coupling]


def _image(event: Shape, coupling: list[Line]) -> list[Line]:
    """Return levels of a squeeze and steps. Between two levels half of the channels leave."""
    size = math.prod(event)
    repeats = 4 if size <= MAX_SPLINE else 6 if size <= 4096 else 8
    planned = scales(event)
    lines = [] if planned else _repeated(repeats, _unsqueezed(event, coupling))
    for scale in planned:
        squeeze = "use: glow/squeeze" if scale.factor == 2 else f"{{use: glow/squeeze, factor: {scale.factor}}}"
        lines.append(Line(f"- {squeeze}", str(list(scale.event))))
        lines += _repeated(repeats, _step(scale.event[0], coupling))
        lines += _leaving(scale.leaves) if scale.leaves else []
    return lines


def _leaving(latent: Shape) -> list[Line]:
    return [
        Line("- coupling: {use: glow/affine, scale: [0.5, 2]}", "the learned prior of the half that leaves"),
        Line("  conditioner: {use: glow/convnet, hidden: 0}"),
        Line("- factor_out: channels", f"{list(latent)} leaves"),
    ]


def _unsqueezed(event: Shape, coupling: list[Line]) -> list[Line]:
    """Return the steps for an image whose sides have no divisor in common."""
    c, h, w = event
    if c > 1:
        return _step(c, coupling)
    if w % 2:
        raise DataError(
            f"images of one channel, {h} × {w}: no squeeze and no checkerboard divides them: pad them to even sides"
        )
    even, odd = "  split: {use: glow/checkerboard}", "  split: {use: glow/checkerboard, swap: true}"
    return [ACTNORM_LINE, *coupling, Line(even), *coupling, Line(odd)]


def _repeated(times: int, lines: list[Line]) -> list[Line]:
    return [Line(f"- repeat: {times}"), Line("  flow:"), *(each.indented(2) for each in lines)]
