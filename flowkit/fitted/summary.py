"""Summarizes a fitted flow as text and for notebooks."""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Sequence

from flowkit.flow import Flow
from flowkit.plugin.spelling import line
from flowkit.spec import walk
from flowkit.train.checkpoint import Row, standing
from flowkit.train.pictures import loss_figure
from flowkit_runtime.errors import few

MOST_KINDS = 8
"""The most kinds of layers that are listed."""


def summary(flow: Flow, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return names and texts: the event, the context, the layers, the parameters and the training."""
    spec = flow.to_spec()
    kinds = Counter(step.item.name for step in walk(spec))
    listed = [f"{count} × {name}" for name, count in kinds.items()]
    best, epoch, _ = standing(rows)
    sections = {"event": spec.event, "context": spec.context}
    return [
        *((name, line(section.model_dump(mode="json"))) for name, section in sections.items() if section),
        ("layers", few(listed, MOST_KINDS)),
        ("base", spec.base.name),
        ("parameters", f"{sum(parameter.numel() for parameter in flow.parameters()):,}"),
        ("train", line(spec.train.model_dump(mode="json", exclude_unset=True))),
        ("validation", f"{best:.4f} {flow.printed_unit} after epoch {epoch} of {len(rows)}"),
    ]


def as_html(texts: Sequence[tuple[str, str]], rows: Sequence[Row], unit: str) -> str:
    """Return a table of names and texts, and beside it the losses over the epochs as a picture."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{html.escape(text)}</td></tr>"
        for name, text in texts
    )
    picture = io.BytesIO()
    loss_figure(rows, unit).savefig(picture, format="png", dpi=72)
    source = base64.b64encode(picture.getvalue()).decode()
    return (
        "<div style='display:flex; flex-wrap:wrap; align-items:center; gap:1em'>"
        f"<table>{cells}</table><img alt='losses over the epochs' src='data:image/png;base64,{source}'></div>"
    )
