"""Values at the ends of intervals and circles, in fp32, where rounding may take them outside."""

import math

import pytest
import torch

from flowkit.plugin import Circle, Interval
from flowkit_base.uniform import Uniform
from flowkit_map.interval import Logit
from flowkit_map.moebius import Moebius
from flowkit_map.phase import Phase
from flowkit_map.to_reals import ToReals
from flowkit_spline.rational_quadratic import CircularRationalQuadratic, spline
from tests.plugins.test_spline_gradients import gradients

CIRCLES = [
    *(Circle(0, 24), Circle(100, 124), Circle(-math.pi, math.pi), Circle(0, 2 * math.pi)),
    *(Circle(-1.2, -0.5), Circle(0.1, 0.7), Circle(-180, 180)),
]
INTERVALS = [Interval(low / 10, high / 10) for low in range(-30, 30, 3) for high in range(low + 1, 31, 4)]
BOTH_WAYS = pytest.mark.parametrize("direction", ["forward", "inverse"])
TRANSFORMERS = pytest.mark.parametrize("make", [CircularRationalQuadratic, Moebius])


def near_the_ends(domain, n):
    """Both ends, the numbers one rounding beside them, and some near them, [n, 8]."""
    low, high = (torch.tensor(end, dtype=torch.float32) for end in (domain.low, domain.high))
    beside = torch.nextafter(low, high), torch.nextafter(high, low)
    near = [low + share * (high - low) for share in (1e-7, 1e-6, 1 - 1e-6, 1 - 1e-7)]
    return torch.stack([low, high, *beside, *near]).clamp(low, high).expand(n, -1)


@BOTH_WAYS
@TRANSFORMERS
@pytest.mark.parametrize("circle", CIRCLES, ids=str)
def test_no_point_leaves_its_circle(circle, make, direction):
    torch.manual_seed(0)
    transformer, x = make(circle), near_the_ends(circle, 2000)
    theta = torch.randn(len(x), transformer.n_params, 1).expand(-1, -1, x.shape[1])
    y, log_derivative = getattr(transformer, direction)(x, theta)
    assert Uniform((x.shape[1],), circle).log_prob(y).isfinite().all()
    ends, beside = log_derivative[:, :2], log_derivative[:, 2:4]
    assert (ends - beside).abs().mean() < 1e-3  # a few are larger, where the map is steep


@BOTH_WAYS
@TRANSFORMERS
def test_what_lies_outside_of_a_circle_stays_outside(make, direction):
    circle, x = Circle(0, 24), torch.tensor([[-1.0, -1e-5, 24.1, 30.0]])
    transformer = make(circle)
    y, _ = getattr(transformer, direction)(x, torch.randn(1, transformer.n_params, x.shape[1]))
    assert not ((y >= 0) & (y <= 24)).any()


@BOTH_WAYS
def test_gradients_at_the_ends_of_a_circle_are_those_of_the_formula(direction):
    torch.manual_seed(0)
    value = torch.tensor([-1.0, 1.0, -0.999, 0.3], dtype=torch.float64).expand(16, -1)
    theta = torch.randn(16, 3 * 4, 4, dtype=torch.float64)
    weights = value.cos(), value.sin()
    by_hand = gradients(getattr(CircularRationalQuadratic(Circle(-1, 1), 4), direction), value, theta, weights)
    by_autodiff = gradients(lambda v, t: spline(v, t, 1.0, direction == "inverse"), value, theta, weights)
    for given, expected in zip(by_hand, by_autodiff, strict=True):
        torch.testing.assert_close(given, expected, rtol=1e-12, atol=1e-12)
    assert by_hand[3][:, :, :2].any(1).all()  # at the ends, too, there is something to learn


def test_a_turned_circle_has_gradients_everywhere():
    torch.manual_seed(0)
    for circle in CIRCLES:
        x = near_the_ends(circle, 1000).reshape(1, -1).requires_grad_()
        layer = Phase((x.shape[1],), circle)
        layer.phase.data.uniform_(-1e-5, 1e-5)
        for value in (layer.forward_and_log_det(x)[0], layer.inverse_and_log_det(x)[0]):
            assert (torch.autograd.grad(value.sum(), x)[0] == 1).all()
            assert Uniform((x.shape[1],), circle).log_prob(value).isfinite()


def test_the_ends_of_intervals_have_a_density():
    for interval in INTERVALS:
        layer = ToReals((8,), interval)
        y, log_det = layer.forward_and_log_det(near_the_ends(interval, 1))
        assert y.isfinite().all() and log_det.isfinite(), interval


def test_what_is_decoded_has_a_density():
    y = torch.cat([torch.linspace(16, 30, 9), -torch.linspace(16, 30, 9)])[None]
    for interval in INTERVALS:
        layer = ToReals((18,), interval)
        x, _ = layer.inverse_and_log_det(y)
        assert layer.forward_and_log_det(x)[1].isfinite(), interval
        assert Uniform((18,), interval).log_prob(x).isfinite(), interval


def test_outside_of_an_interval_there_is_none():
    for x in (-0.1, 1.1):
        assert Logit((1,)).forward_and_log_det(torch.tensor([[x]]))[1] == -math.inf


def test_small_numbers_keep_their_digits():
    x = torch.tensor([[1e-8], [1e-20], [1e-37]])
    y, log_det = Logit((1,)).forward_and_log_det(x)
    expected_y, expected_log_det = Logit((1,)).forward_and_log_det(x.double())
    torch.testing.assert_close(y.double(), expected_y)
    torch.testing.assert_close(log_det.double(), expected_log_det)
    torch.testing.assert_close(Logit((1,)).inverse_and_log_det(y)[0], x, rtol=1e-5, atol=0)
