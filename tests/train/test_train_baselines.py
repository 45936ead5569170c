"""The baselines against the same figures worked out another way."""

import numpy as np
import pytest
import torch

from flowkit.plugin import Arrays
from flowkit.train.baselines import baselines

RNG = np.random.default_rng(0)
FIT = Arrays(RNG.integers(0, 5, (400, 1, 2, 2)).astype(np.uint8))
HELD_OUT = Arrays(RNG.integers(0, 5, (50, 1, 2, 2)).astype(np.uint8))


def test_histogram_is_the_entropy_of_uniform_data_about():
    many = Arrays(np.random.default_rng(1).integers(0, 8, (20000, 1, 2, 2)).astype(np.uint8))
    assert baselines(many, many, levels=8)["histogram"] == pytest.approx(3, abs=1e-3)


def test_histogram_counts_each_pixel_on_its_own():
    x = np.zeros((98, 1, 1, 2), np.uint8)
    x[:, 0, 0, 1] = 1
    figure = baselines(Arrays(x), Arrays(x), levels=2)["histogram"]
    assert figure == pytest.approx(-np.log2(99 / 100))


def test_gaussian_is_that_of_dequantized_data():
    x, held_out = FIT.x.reshape(400, 4).astype(float), HELD_OUT.x.reshape(50, 4).astype(float)
    normal = torch.distributions.MultivariateNormal(
        torch.from_numpy(x.mean(0) + 0.5), torch.from_numpy(np.cov(x, rowvar=False) + np.eye(4) / 12)
    )
    u = np.random.default_rng(2).random((4000, *held_out.shape))
    expected = -normal.log_prob(torch.from_numpy(held_out + u)).mean().item() / (4 * np.log(2))
    assert baselines(FIT, HELD_OUT, levels=5)["gaussian"] == pytest.approx(expected, abs=2e-3)


def test_continuous_data_has_no_histogram():
    x = RNG.normal(size=(5000, 1)).astype(np.float32)
    figures = baselines(Arrays(x), Arrays(x), None)
    assert list(figures) == ["gaussian"]
    assert figures["gaussian"] == pytest.approx(0.5 * np.log(2 * np.pi * np.e * x.var()), abs=1e-3)


def test_the_largest_float32_has_a_figure():
    x = RNG.normal(size=(50, 2)).astype(np.float32)
    far = np.vstack([x, np.array([[3e38, 3e38], [3e38, -3e38]], np.float32)])
    assert all(np.isfinite(baselines(Arrays(a), Arrays(b), None)["gaussian"]) for a, b in ((x, far), (far, x)))


def test_features_that_depend_on_each_other_have_no_gaussian_and_those_in_other_units_have():
    x = RNG.normal(size=(50, 2)).astype(np.float32)
    for column, has in ((np.ones(50), False), (2 * x[:, 0], False), (1e-10 * x[:, 1], True)):
        x[:, 1] = column
        assert ("gaussian" in baselines(Arrays(x), Arrays(x), None)) == has


def test_one_row_or_values_beyond_float64_have_no_gaussian():
    one, three = Arrays(np.ones((1, 3), np.float32)), Arrays(RNG.normal(size=(3, 3)).astype(np.float32))
    assert baselines(one, three, None) == {}
    assert list(baselines(Arrays(FIT.x[:1]), HELD_OUT, levels=5)) == ["histogram"]
    far = Arrays(np.array([[1e200, 0], [-1e200, 1], [0, 2]]))
    with np.errstate(all="ignore"):
        assert baselines(far, far, None) == {}
