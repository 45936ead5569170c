"""Presets: the flows that they name, for every kind of event."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from flowkit import presets
from flowkit.errors import FlowkitError, InputError, SpecError
from flowkit.flow import Flow
from flowkit.spec import Spec, read_spec, to_yaml, walk

NAMES = pytest.mark.parametrize("name", presets.__all__)
FIELDS: list[dict[str, Any]] = [
    {"layers": 3},
    {"context": 4, "levels": 16},
    {"classes": 3, "domain": "positive", "layers": 1},
    {"context": [9, 2], "encoder": {"use": "encoder/gru"}, "layers": 1},
]
SHAPES = [1, 2, 5, [1, 8, 8], [3, 8, 8], [3, 5, 5], [3, 11, 11], [1, 13, 12]]


def names(spec: Spec) -> list[str]:
    return [step.item.name for step in walk(spec)]


@NAMES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_event_and_context_has_a_flow(name: str, shape: Any) -> None:
    for fields in FIELDS:
        spec = getattr(presets, name)(shape, **fields)
        assert list(spec.event.shape) == (shape if isinstance(shape, list) else [shape])
        assert read_spec(to_yaml(spec)) == spec


@NAMES
@pytest.mark.parametrize(("shape", "fields"), [(1, {"context": 2}), (3, {"classes": 2}), ([1, 4, 4], {"levels": 8})])
def test_flows_are_invertible_and_normalize_the_first_batch(name: str, shape: Any, fields: dict[str, Any]) -> None:
    torch.manual_seed(0)
    spec = getattr(presets, name)(shape, layers=2, hidden=8, **fields)
    flow = Flow.from_spec(spec).double()
    x = torch.rand(64, *flow.event_shape, dtype=torch.float64) * (8 if "levels" in fields else 1)
    context = {"context": torch.randn(64, 2), "classes": torch.arange(64) % 2}.get(next(iter(fields)))
    flow.initialize(x, context)
    latents = flow.encode(x, context)
    values = torch.cat([z.flatten() for z in latents])
    assert abs(values.mean()) < 0.1 and abs(values.std() - 1) < 0.1
    points, _ = flow.inverse_and_log_det(latents, context)
    torch.testing.assert_close(points, x, atol=1e-8, rtol=0)


def test_layers_are_those_of_the_papers() -> None:
    assert names(presets.maf(3, layers=3)) == ["glow/actnorm", "autoregressive glow/affine"] * 3
    spec = presets.maf(3, layers=3)
    assert [step.item.order.name for step in walk(spec)[1::2]] == [
        "autoregressive/natural",
        "autoregressive/reversed",
        "autoregressive/natural",
    ]
    swaps = [step.item.split.config.swap for step in walk(presets.realnvp(4, layers=3))[1::2]]
    assert swaps == [False, True, False]
    assert names(presets.glow(3, layers=1)) == ["glow/actnorm", "glow/conv1x1", "coupling glow/affine"]
    assert names(presets.nsf(3, layers=np.int64(1)))[-1] == "coupling spline/rational_quadratic"
    assert (
        Counter(names(presets.nsf(3, layers=4, autoregressive=True)))["autoregressive spline/rational_quadratic"] == 4
    )


def test_images_have_scales() -> None:
    steps = walk(presets.glow([3, 32, 32], layers=2))
    assert [step.latent_shape for step in steps if step.latent_shape] == [(6, 16, 16), (12, 8, 8)]
    assert steps[-1].output_shape == (48, 4, 4)
    assert names(presets.glow([3, 32, 32], layers=2)).count("glow/conv1x1") == 6
    assert names(presets.realnvp([1, 28, 28], levels=256, layers=3)).count("coupling glow/affine") == 12


@NAMES
def test_domain_and_levels_come_first(name: str) -> None:
    preset = getattr(presets, name)
    assert names(preset(2, domain=[[0, 1], "real"]))[0] == "map/to_reals"
    assert names(preset([1, 4, 4], levels=4))[0] == "glow/rescale"
    assert names(preset(2, levels=4, domain=[0, 4]))[:2] != ["map/to_reals", "glow/rescale"]


@NAMES
@pytest.mark.parametrize(
    ("shape", "fields", "says"),
    [
        ([2, 3], {}, r"event.shape: must be \[d\]"),
        ("ab", {}, r"event.shape\[0\]: must be a whole number, not 'a'"),
        (None, {}, "event.shape"),
        (True, {}, "event.shape"),
        (0, {}, "must be greater than 0"),
        (2, {"classes": 2, "context": 3}, "takes exactly one of classes and shape"),
        (2, {"levels": 1}, "event.levels"),
        (2, {"domain": {"circle": [0, 1]}}, "can't be a circle"),
        (2, {"hidden": 0}, "hidden: must be"),
        (2, {"layers": 0}, "layers must be a whole number of at least 1, not 0"),
        (2, {"layers": 1.5}, "layers must be"),
        ([1, 13, 13], {"hidden": -1}, "hidden"),
    ],
)
def test_arguments_that_no_spec_can_hold(name: str, shape: Any, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(FlowkitError, match=says) as caught:
        getattr(presets, name)(shape, **fields)
    assert isinstance(caught.value, SpecError | InputError)


def test_presets_do_not_import_torch() -> None:
    code = "import sys, flowkit; flowkit.presets.nsf([3, 8, 8]); assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("size", [1, 2])
def test_a_spline_flow_has_a_location_from_the_context_for_one_value(size: int) -> None:
    elementwise = [name for name in names(presets.nsf(size, classes=2, layers=2)) if name.startswith("elementwise")]
    assert len(elementwise) == (3 if size == 1 else 0)
    assert math.isfinite(
        Flow.from_spec(presets.nsf(size, classes=2)).log_prob(torch.zeros(1, size), torch.tensor(0)).item()
    )
