"""The strategies draw what they say; and with them the layers hold on any event."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowkit.testing import CHECKS, BijectorSubject
from flowkit.testing.strategies import SEEDS, batches, contexts, events, images, perturbed
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.squeeze import Squeeze
from tests.extent import extent
from tests.plugins.cases import CHANNEL_LINEAR

some = settings(
    max_examples=extent(5, 100), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@some
@given(events(12), images(16, multiple_of=2), contexts())
def test_shapes(event, image, context):
    assert len(event) in (1, 3) and 1 <= math.prod(event) <= 12
    assert len(image) == 3 and image[1] % 2 == image[2] % 2 == 0 and math.prod(image) <= 16
    assert context is None or math.prod(context) <= 8


@some
@given(st.data())
def test_batches_and_moved_parameters(data):
    event = data.draw(events())
    x, layer = data.draw(batches(event)), data.draw(perturbed(lambda: ActNorm(event)))
    assert x.shape[1:] == event and x.dtype == layer.bias.dtype == torch.float64 and not layer.training
    assert layer.bias.any() and layer.log_scale.any()
    y, _ = layer.forward_and_log_det(x)
    torch.testing.assert_close(layer.inverse_and_log_det(y)[0], x)


@pytest.mark.parametrize("name", CHANNEL_LINEAR)
@settings(some, max_examples=extent(3, 30))
@given(event=events(), seed=SEEDS)
def test_channel_linear_layers_on_any_event(name, event, seed):
    subject = BijectorSubject(lambda: CHANNEL_LINEAR[name](event), seed=seed)
    for check in ("log_det", "inverse_log_det", "round_trip", "shapes"):
        CHECKS["bijector"][check](subject)


@some
@given(images(multiple_of=3), SEEDS)
def test_squeeze_on_any_image(event, seed):
    subject = BijectorSubject(lambda: Squeeze(event, factor=3), seed=seed)
    for check in ("log_det", "inverse_log_det", "round_trip", "shapes"):
        CHECKS["bijector"][check](subject)
