"""Graphs do at the ends of circles and intervals what torch does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import flowkit_runtime
from flowkit.export import export
from flowkit.flow import Flow
from flowkit.testing import perturb

CIRCLE, INTERVAL = [-1.2, -0.5], [36.6, 41.2]
ON_A_CIRCLE = {
    "event": {"shape": [4], "domain": {"circle": CIRCLE}},
    "flow": [
        {"elementwise": {"use": "spline/circular"}},
        {"elementwise": {"use": "map/moebius"}},
        {"use": "map/phase"},
    ],
    "base": {"use": "base/uniform"},
}
ON_AN_INTERVAL = {"event": {"shape": [4], "domain": INTERVAL}, "flow": [{"use": "map/to_reals"}]}


def log_probs(spec: dict[str, Any], ends: list[float], path: Path) -> np.ndarray:
    """log p of the graphs at both ends, and one rounding beside them; it is torch's, and what is decoded has one."""
    torch.manual_seed(0)
    flow = Flow.from_spec({"flowkit": 1, **spec}).eval()
    perturb(flow, 0.5)
    export(flow, path, torch.linspace(ends[0] + 0.01, ends[1] - 0.01, 400).reshape(100, 4))
    model, (low, high) = flowkit_runtime.load(path), np.float32(ends)
    x = np.array([low, high, np.nextafter(low, high), np.nextafter(high, low)])[:, None].repeat(4, 1)
    given = model.log_prob(x)
    with torch.no_grad():
        np.testing.assert_allclose(given, flow.log_prob(torch.from_numpy(x)), rtol=1e-4)
    decoded = model.decode(model.encode(x))
    assert decoded.min() >= low and decoded.max() <= high and np.isfinite(model.log_prob(decoded)).all()
    return given


@pytest.mark.slow
def test_a_circle_has_the_same_density_at_its_ends_as_beside_them(tmp_path: Path) -> None:
    given = log_probs(ON_A_CIRCLE, CIRCLE, tmp_path / "bundle")
    np.testing.assert_allclose(given[:2], given[2:], atol=1e-2)


@pytest.mark.slow
def test_an_interval_has_a_density_at_its_ends(tmp_path: Path) -> None:
    assert np.isfinite(log_probs(ON_AN_INTERVAL, INTERVAL, tmp_path / "bundle")).all()
