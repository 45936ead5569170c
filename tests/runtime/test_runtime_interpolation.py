"""Paths between latents, and thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flowkit_runtime import BundleError, InputError, load, session
from flowkit_runtime.bundle import DECODER, ENCODER
from flowkit_runtime.interpolation import path_between

ENDS = np.random.default_rng(0).normal(size=(2, 6))


def path(a, b, n=5):
    ends = np.stack([a, b]).astype(np.float32)
    first, second = path_between((ends[:, :2], ends[:, 2:].reshape(2, 2, 2)), n)
    assert first.shape == (n, 2) and second.shape == (n, 2, 2)
    return np.concatenate([first, second.reshape(n, 4)], axis=1)


def test_the_ends_are_exact():
    assert np.array_equal(path(*ENDS)[[0, -1]], ENDS.astype(np.float32))


def test_ends_of_one_length_keep_it_on_the_way_at_even_angles():
    a, b = (end / np.linalg.norm(end) for end in ENDS)
    steps = path(a, b).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 1, rtol=1e-6)
    angles = np.arccos((steps[1:] * steps[:-1]).sum(1))
    np.testing.assert_allclose(angles, math.acos(a @ b) / 4, rtol=1e-5)


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0, 0.0])
def test_ends_on_one_line_are_joined_by_it(factor):
    a = ENDS[0]
    t = np.linspace(0, 1, 5)[:, None]
    np.testing.assert_allclose(path(a, factor * a), (1 - t) * a + t * factor * a, atol=1e-6)


@pytest.mark.parametrize("context", [None, {"classes": 3}, {"shape": [2]}])
def test_a_model_decodes_the_path_between_events(make_bundle, context):
    model = load(make_bundle(levels=None, context=context))
    a, b = np.random.default_rng(1).normal(8, 4, (2, 1, 2, 2)).astype(np.float32)
    value = {None: None, "classes": 2, "shape": [0.5, 0.25]}[next(iter(context or {}), None)]
    found = model.interpolate(a, b, 7, value)
    latents = model.encode(np.stack([a, b]), value)
    np.testing.assert_allclose(found, model.decode(path_between(latents, 7), value), rtol=1e-6)
    np.testing.assert_allclose(found[[0, -1]], [a, b], rtol=1e-5)


def test_integer_ends_are_exact(make_bundle):
    a, b = np.random.default_rng(1).integers(0, 17, (2, 1, 2, 2))
    found = load(make_bundle()).interpolate(a, b, 4)
    assert found.dtype == np.uint8 and np.array_equal(found[[0, -1]], [a, b])


@pytest.mark.parametrize(
    ("a", "n", "message"),
    [
        (np.zeros((1, 2, 2)), 1, "n must be at least 2, got 1"),
        (np.zeros((2, 2)), 3, "a must have shape"),
        (np.full((1, 2, 2), np.nan), 3, "a must be finite"),
    ],
)
def test_ends_and_numbers_that_are_none(make_bundle, a, n, message):
    with pytest.raises(InputError, match=message):
        load(make_bundle(levels=None)).interpolate(a, np.zeros((1, 2, 2)), n)


def test_scores_above_the_threshold_are_anomalous(make_bundle):
    model = load(make_bundle(threshold={"quantile": 0.99, "score": 2.5, "events": 360}))
    assert (model.threshold.score, model.threshold.quantile, model.threshold.events) == (2.5, 0.99, 360)
    assert model.anomalous([2.0, 2.5, 2.6, math.inf, math.nan]).tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("fields", [{}, {"threshold": None}])
def test_without_a_threshold_nothing_is_called_anomalous(make_bundle, fields):
    model = load(make_bundle(**fields))
    assert model.threshold is None
    with pytest.raises(BundleError, match="has no anomaly threshold"):
        model.anomalous([1.0])


@pytest.mark.parametrize(
    "threshold",
    [
        3,
        [],
        {},
        {"score": "x", "quantile": 0.9, "events": 3},
        {"score": 10**400, "quantile": 0.9, "events": 3},
        {"score": 1.0, "quantile": 2.0, "events": 3},
        {"score": 1.0, "quantile": 0.9, "events": 0},
        {"score": True, "quantile": 0.9, "events": 3},
    ],
)
def test_a_threshold_that_is_none_is_refused(make_bundle, threshold):
    with pytest.raises(BundleError, match=r"manifest\.json is malformed: .*(threshold|field)"):
        load(make_bundle(threshold=threshold))


def test_rows_are_counted_from_the_start_that_is_given(make_bundle):
    model, x = load(make_bundle()), np.random.default_rng(0).integers(0, 17, (9, 1, 2, 2))
    whole = model.score(x, draws=2)
    np.testing.assert_allclose(model.score(x[4:], draws=2, start=4), whole[4:], rtol=1e-6)
    assert not np.allclose(model.score(x[4:], draws=2), whole[4:], rtol=1e-6)


@pytest.mark.parametrize("threads", [0, -1, 1.5, session.MAX_THREADS + 1, 10**6])
def test_threads_are_a_reasonable_number(make_bundle, threads):
    with pytest.raises(InputError, match="threads must be"):
        load(make_bundle(), threads=threads)


def test_as_many_threads_as_the_most(make_bundle):
    assert session._options(session.MAX_THREADS, spin=True).intra_op_num_threads == session.MAX_THREADS


def test_threads_are_given_to_onnxruntime(make_bundle):
    model = load(make_bundle(), threads=3)
    assert model._graphs[ENCODER].session.get_session_options().intra_op_num_threads == 3
    assert model._graphs[DECODER].session.get_session_options().intra_op_num_threads == 3
