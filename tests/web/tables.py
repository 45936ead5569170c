"""A bundle of a flow for a small table, with a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from flowkit.export import Options, export
from flowkit.flow import Flow
from flowkit.spec import read_spec
from flowkit.testing import perturb
from flowkit.train import load_data
from tests.tables.tables import small_spec, small_table, written


def exported(place: Path, **data: Any) -> Path:
    """Export a flow that was trained on the small table as ``data`` says, and return the bundle."""
    spec = read_spec(small_spec(written(small_table(), place / "x.csv"), **data))
    torch.manual_seed(0)
    flow = Flow.from_spec(spec)
    train = load_data(spec)["train"]
    x, context = torch.tensor(train.x[:]), torch.tensor(train.context[:])
    flow.initialize(x, context)
    perturb(flow, 0.1)
    export(flow.eval(), place / "bundle", x[:20], context[:20], options=Options(page="a <table>"))
    return place / "bundle"
