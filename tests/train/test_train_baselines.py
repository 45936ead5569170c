"""The baselines against the same figures worked out another way."""

import numpy as np
import pytest
import torch

from flowkit.plugin import Arrays, Rows
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


def linear(rows, seed, noise=0.1):
    """x = c A + normal noise; its entropy is that of the noise."""
    random = np.random.default_rng(seed)
    context = random.normal(3, 2, (rows, 3))
    slopes = np.random.default_rng(9).normal(size=(3, 2))
    return Arrays((context @ slopes + noise * random.normal(size=(rows, 2)) + 100), context)


def test_with_a_context_the_mean_of_the_gaussian_is_linear_in_it():
    figures = baselines(linear(20_000, 0), linear(20_000, 1), None)
    assert figures == {"linear-gaussian": pytest.approx(np.log(2 * np.pi * np.e * 0.01), abs=0.02)}


def test_constant_and_dependent_contexts_do_no_harm():
    train, test = linear(5000, 0), linear(5000, 1)
    expected = baselines(train, test, None)["linear-gaussian"]

    def widened(arrays):
        return Arrays(arrays.x, np.hstack([arrays.context, np.ones((5000, 1)), 1e6 * arrays.context]))

    assert baselines(widened(train), widened(test), None)["linear-gaussian"] == pytest.approx(expected, abs=1e-3)


def test_with_labels_each_class_has_a_mean_and_all_have_one_covariance():
    labels = RNG.integers(0, 3, 6000)
    x = RNG.normal(size=(6000, 2)) + 10.0 * labels[:, None]
    residuals = x - np.stack([x[labels == k].mean(0) for k in range(3)])[labels]
    normal = torch.distributions.MultivariateNormal(
        torch.zeros(2, dtype=torch.float64), torch.from_numpy(residuals.T @ residuals / (6000 - 3))
    )
    expected = -normal.log_prob(torch.from_numpy(residuals)).mean().item()
    arrays = Arrays(x, labels)
    assert baselines(arrays, arrays, None)["linear-gaussian"] == pytest.approx(expected, rel=1e-6)


def test_a_context_with_as_many_numbers_as_there_are_rows_has_no_gaussian():
    assert baselines(Arrays(RNG.normal(size=(4, 1)), RNG.normal(size=(4, 9))), linear(3, 0), None) == {}


def test_integers_with_a_context():
    train, test = (Arrays(part.x.astype(np.uint8), part.context) for part in (linear(500, 0), linear(500, 1)))
    assert list(baselines(train, test, levels=256)) == ["histogram", "linear-gaussian"]


@pytest.mark.parametrize("levels", [None, 256])
def test_chunks_and_passes_make_no_difference(monkeypatch, levels):
    def rounded(arrays):
        return arrays if levels is None else Arrays(arrays.x.astype(np.int64) % 256, arrays.context)

    train, test = rounded(linear(300, 0)), rounded(linear(200, 1))
    whole = baselines(train, test, levels)
    monkeypatch.setattr("flowkit.plugin.rows.CHUNK", 7)
    monkeypatch.setattr("flowkit.train.baselines.CHUNK", 7)
    monkeypatch.setattr("flowkit.train.baselines.MAX_COUNTS", 1)
    lazy = [Arrays(Rows(part.x), Rows(part.context)) for part in (train, test)]
    assert baselines(*lazy, levels) == pytest.approx(whole, rel=1e-12)


def test_a_mean_far_from_zero_costs_no_digits():
    x = RNG.normal(size=(3000, 2))
    near, far = (baselines(Arrays(x + offset), Arrays(x + offset), None)["gaussian"] for offset in (0, 1e7))
    assert far == pytest.approx(near, rel=1e-7)
