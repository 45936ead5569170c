"""The bundle's flow is z = (x - 8) / 4 - shift(context); see conftest.py."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest

from flowkit_runtime import BundleError, InputError, load
from flowkit_runtime.bundle import DECODER, sealed
from flowkit_runtime.graphs import add_noise
from flowkit_runtime.noise import normal, uniform
from tests.security.bundles import alter_decoded

D = 4
NOISE = [{"kind": "uniform", "shape": [1, 1, 2]}, {"kind": "normal", "shape": [1, 1, 2]}]  # what conftest's graph takes
EVENT = (1, 2, 2)


@pytest.fixture
def discrete(make_bundle):
    return load(make_bundle())


@pytest.fixture
def continuous(make_bundle):
    return load(make_bundle(levels=None))


@pytest.fixture
def classes(make_bundle):
    return load(make_bundle(levels=None, context={"classes": 3}))


@pytest.fixture
def vectors(make_bundle):
    return load(make_bundle(levels=None, context={"shape": [2]}))


def points(n, seed=0):
    return (8 + 4 * normal(seed, 0, (n, *EVENT))).astype(np.float32)


def integers(n, seed=0):
    return np.random.default_rng(seed).integers(0, 17, (n, *EVENT))


def log_density(x, shift=0.0):
    z = ((np.asarray(x, np.float64) - 8) / 4 - np.reshape(shift, (-1, 1, 1, 1))).reshape(len(x), -1)
    return -0.5 * (z**2).sum(1) - D / 2 * math.log(2 * math.pi) - D * math.log(4)


def test_log_prob_is_the_density_in_nats(continuous):
    found = continuous.log_prob(points(5), batch_size=2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, log_density(points(5)), rtol=1e-5)


def test_log_prob_takes_continuous_points_of_a_discrete_flow(discrete):
    np.testing.assert_allclose(discrete.log_prob(points(3)), log_density(points(3)), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_integers_have_no_density_at_a_point(discrete, dtype):
    with pytest.raises(InputError, match=r"no density at a point: use \.score\(x\)"):
        discrete.log_prob(np.ones((1, *EVENT), dtype))


def test_integers_are_points_of_a_continuous_flow(continuous):
    np.testing.assert_allclose(continuous.log_prob(integers(3)), log_density(integers(3)), rtol=1e-5)


def test_score_of_a_continuous_flow_is_the_negative_log_likelihood(continuous):
    assert np.array_equal(continuous.score(points(3)), -continuous.log_prob(points(3)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("batch_size", [2, 100])
def test_score_averages_bits_per_dimension_over_draws(discrete, dtype, batch_size):
    x = integers(5)
    draws = [log_density(x + uniform(7, 2**31 + d, x.shape)) for d in range(3)]
    found = discrete.score(x.astype(dtype), draws=3, seed=7, batch_size=batch_size)
    np.testing.assert_allclose(found, -np.mean(draws, axis=0) / (D * math.log(2)), rtol=1e-5)


def test_dequantized_values_stay_inside_their_cell():
    values = np.array([0.0, 3.0, 255.0, 65535.0])
    found = add_noise(values, np.full(4, 1 - 2.0**-53))
    assert found.dtype == np.float32
    assert np.array_equal(np.floor(found), values)


@pytest.mark.parametrize("value", [17, -1, 2.5, math.nan, math.inf])
@pytest.mark.parametrize("batch_size", [2, 100])
def test_score_names_the_first_value_off_the_grid(discrete, value, batch_size):
    x = integers(6).astype(np.float64)
    x[3, 0, 1, 0] = x[4, 0, 0, 0] = value
    message = rf"x must hold whole numbers from 0 to 16; in row 3, x\[3, 0, 1, 0\] is {float(value)}"
    with pytest.raises(InputError, match=message):
        discrete.score(x, batch_size=batch_size)


def test_encode_takes_the_middle_of_an_integer_cell(discrete):
    z_1, z_2 = discrete.encode(integers(5), batch_size=2)
    expected = (integers(5) + 0.5 - 8) / 4
    np.testing.assert_allclose(z_1, expected[:, :, :1], rtol=1e-6)
    np.testing.assert_allclose(z_2, expected[:, :, 1:], rtol=1e-6)
    assert z_1.dtype == np.float32


def test_encode_takes_floats_as_they_are(discrete):
    z_1, _ = discrete.encode(integers(5).astype(np.float32))
    np.testing.assert_allclose(z_1, (integers(5)[:, :, :1] - 8) / 4, rtol=1e-6)


def test_encode_refuses_an_integer_off_the_grid(discrete):
    with pytest.raises(InputError, match=r"x\[0, 0, 0, 0\] is 17"):
        discrete.encode(np.full((1, *EVENT), 17))


def test_decode_inverts_encode(discrete):
    x = integers(5)
    assert np.array_equal(discrete.decode(discrete.encode(x), batch_size=2), x)


def test_decode_of_a_continuous_flow_is_float32(continuous):
    found = continuous.decode(continuous.encode(points(5)), batch_size=2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, points(5), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("levels, dtype", [(2, np.uint8), (256, np.uint8), (257, np.uint16)])
def test_decode_clips_to_the_levels_in_the_smallest_dtype(make_bundle, levels, dtype):
    model = load(make_bundle(levels=levels))
    z = np.zeros((2, 1, 1, 2))
    z[0], z[1] = -1e6, 1e6
    found = model.decode((z, z))
    assert found.dtype == dtype
    assert (found[0] == 0).all() and (found[1] == levels - 1).all()


def test_a_row_that_decodes_to_nan_is_named(discrete, monkeypatch):
    x = np.full((2, *EVENT), 3, np.float32)
    x[1, 0, 1, 1] = np.nan
    monkeypatch.setattr(discrete._graphs[DECODER], "run", lambda names, feed: [x])
    with pytest.raises(InputError, match="row 3 decodes to nan: its latents are too large"):
        discrete._events(list(discrete.encode(x[:1])), None, 2)


@pytest.mark.parametrize("z", [3e38, -3e38])
def test_a_row_that_decodes_beyond_float32_is_named(continuous, z):
    latents = [np.zeros((3, 1, 1, 2)), np.zeros((3, 1, 1, 2))]
    latents[1][2, 0, 0, 1] = z
    with pytest.raises(InputError, match=f"row 2 decodes to {z * math.inf}: its latents are too large"):
        continuous.decode(latents)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("temperature", "message"),
    [
        (5e37, r"decodes to -inf: its latents are too large; take a temperature below 5e\+37"),
        (1e300, r"z_1 must be finite.*; take a temperature below 1e\+300"),
    ],
)
def test_samples_at_absurd_temperatures_are_refused(continuous, temperature, message):
    with pytest.raises(InputError, match=message):
        continuous.sample(8, seed=0, temperature=temperature)


@pytest.mark.parametrize("latents", [0, np.zeros((2, 1, 1, 2)), (np.zeros((2, 1, 1, 2)),)])
def test_decode_wants_one_array_per_latent(discrete, latents):
    with pytest.raises(InputError, match="latents must be a list of the arrays z_1, z_2"):
        discrete.decode(latents)


def test_decode_wants_latents_of_one_length_and_finite(discrete):
    one, two = np.zeros((1, 1, 1, 2)), np.zeros((2, 1, 1, 2))
    with pytest.raises(InputError, match=r"differ in their number of rows: \[1, 2\]"):
        discrete.decode((one, two))
    with pytest.raises(InputError, match=r"z_2 must be finite in float32; in row 1, z_2\[1, 0, 0, 0\]"):
        discrete.decode((two, two + np.array([0, np.nan]).reshape(2, 1, 1, 1)), batch_size=1)


def test_sample_decodes_tempered_counter_noise(continuous):
    eps = np.concatenate([normal(5, latent, (4, 1, 1, 2)) for latent in range(2)], axis=2)
    found = continuous.sample(4, seed=5, temperature=0.5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 8 + 4 * 0.5 * eps, rtol=1e-6)


def test_a_sampled_row_depends_on_the_seed_and_its_number_alone(discrete):
    whole = discrete.sample(7, seed=3)
    assert whole.dtype == np.uint8
    assert np.array_equal(discrete.sample(4, seed=3), whole[:4])
    assert np.array_equal(discrete.sample(7, seed=3, batch_size=2), whole)
    assert not np.array_equal(discrete.sample(7, seed=4), whole)


def test_sampling_without_a_seed_differs_each_time(continuous):
    assert not np.array_equal(continuous.sample(2), continuous.sample(2))


def test_zero_temperature_gives_the_mode(discrete):
    assert (discrete.sample(2, temperature=0) == 8).all()


@pytest.mark.parametrize("context", [None, {"classes": 3}])
def test_the_graph_of_the_bases_makes_latents_of_noise(make_bundle, context):
    model = load(make_bundle(levels=None, noise=NOISE, context=context))
    rows = None if context is None else np.arange(5) % 3
    found = model.sample(5, seed=7, temperature=0.5, context=rows)
    u = uniform(7, 0, (5, 1, 1, 2))
    z_2 = 0.5 * normal(7, 1, (5, 1, 1, 2)) + u + (0 if rows is None else rows.reshape(5, 1, 1, 1))
    expected = model.decode([u, z_2], rows)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.array_equal(model.sample(5, seed=7, temperature=0.5, context=rows, batch_size=2), found)


def test_uniform_noise_has_no_temperature(make_bundle):
    model = load(make_bundle(levels=None, noise=NOISE))
    first, second = (model.encode(model.sample(5, seed=7, temperature=t))[0] for t in (0.0, 1.0))
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-6)


def test_the_way_between_latents_that_are_not_normal_is_straight(make_bundle):
    a, b = np.random.default_rng(0).normal(size=(2, 1, 2, 2))
    model = load(make_bundle(levels=None, noise=NOISE))
    for ends, path in zip(model.encode(np.stack([a, b])), model.encode(model.interpolate(a, b, 3)), strict=True):
        np.testing.assert_allclose(path[1], (ends[0] + ends[1]) / 2, atol=1e-5)


@pytest.mark.parametrize("wrong", [NOISE[:1], [*NOISE, NOISE[0]], [NOISE[0], {"kind": "normal", "shape": [2]}]])
def test_noise_that_the_graph_does_not_take(make_bundle, wrong):
    with pytest.raises(BundleError, match=r"base\.onnx"):
        load(make_bundle(noise=wrong))


def test_a_bundle_without_the_graph_that_its_noise_needs(make_bundle):
    directory = make_bundle(noise=NOISE)
    manifest = json.loads((directory / "manifest.json").read_text())
    del manifest["files"]["base.onnx"]
    (directory / "manifest.json").write_bytes(sealed(manifest))
    with pytest.raises(BundleError, match=r"files lists no base\.onnx"):
        load(directory)


@pytest.mark.parametrize("temperature", [-1, math.nan, math.inf, "1", None, 10**400, Fraction(10**5000)])
def test_a_bad_temperature_is_refused(discrete, temperature):
    with pytest.raises(InputError, match="temperature must be a finite number of at least 0"):
        discrete.sample(1, temperature=temperature)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda model: model.sample(-1), "n must be at least 0, got -1"),
        (lambda model: model.sample(1.5), "n must be an integer, got 1.5"),
        (lambda model: model.sample(10**20), r"n is 10{20}, more events than one array"),
        (lambda model: model.sample(10**5000), "n is a number of more digits than Python writes, more"),
        (lambda model: model.interpolate(*integers(2), 10**20), "n is 10{20}, more events"),
        (lambda model: model.interpolate([[[1], [1, 2]]], *integers(1), 3), "a is not an array"),
        (lambda model: model.log_prob(points(1), start=-1), "start must be at least 0, got -1"),
        (lambda model: model.log_prob(points(1), start="a"), "start must be an integer, got 'a'"),
        (lambda model: model.encode(points(1), start="a"), "start must be an integer, got 'a'"),
        (lambda model: model.score(integers(1), start=2**64), "start is 18446744073709551616, and a stream ends"),
        (lambda model: model.sample(1, context=10**23), "takes no context"),
        (lambda model: model.sample(0, seed=2**64), "seed must be from 0 to"),
        (lambda model: model.sample(1, batch_size=0), "batch_size must be at least 1"),
        (lambda model: model.score(integers(1), draws=0), "draws must be from 1 to"),
        (lambda model: model.score(integers(0), seed=-1), "seed must be from 0 to"),
    ],
)
def test_bad_numbers_are_refused(discrete, call, message):
    with pytest.raises(InputError, match=message):
        call(discrete)


@pytest.mark.parametrize("method", ["log_prob", "score", "encode"])
@pytest.mark.parametrize(
    "x, message",
    [
        (np.zeros((2, 4)), r"x must have shape \[n, 1, 2, 2\], got \[2, 4\]$"),
        (np.zeros(EVENT), r"got \[1, 2, 2\]; one row has the shape \[1, 1, 2, 2\]"),
        (np.full((1, *EVENT), None), "must hold real numbers, got dtype object"),
        (np.full((1, *EVENT), "a"), "must hold real numbers, got dtype <U1"),
        (np.zeros((1, *EVENT), complex), "must hold real numbers, got dtype complex128"),
        ([[1.0], [1.0, 2.0]], "x is not an array"),
    ],
)
def test_events_of_a_wrong_kind_are_refused(discrete, method, x, message):
    with pytest.raises(InputError, match=message):
        getattr(discrete, method)(x)


@pytest.mark.parametrize("method", ["log_prob", "score", "encode"])
@pytest.mark.parametrize("value", [math.nan, -math.inf, 1e300])
def test_values_that_are_not_finite_are_named(continuous, method, value):
    x = points(5).astype(np.float64)
    x[4, 0, 1, 1] = value
    with pytest.raises(InputError, match=r"finite in float32; in row 4, x\[4, 0, 1, 1\] is"):
        getattr(continuous, method)(x, batch_size=2)


def test_class_contexts_shift_each_row(classes):
    x, labels = points(3), np.array([2, 0, 1], np.int32)
    expected = log_density(x, labels)
    np.testing.assert_allclose(classes.log_prob(x, labels, batch_size=2), expected, rtol=1e-5)
    np.testing.assert_allclose(classes.score(x, labels), -expected, rtol=1e-5)
    np.testing.assert_allclose(classes.decode(classes.encode(x, labels), labels), x, rtol=1e-5)


def test_array_contexts_shift_each_row(vectors):
    x, context = points(3), np.array([[1, 0], [0.5, 0], [1, 1]])
    np.testing.assert_allclose(vectors.log_prob(x, context), log_density(x, context.sum(1)), rtol=1e-5)


@pytest.mark.parametrize("context", [2, [2], np.array([2, 2, 2])])
def test_one_class_serves_all_rows(classes, context):
    expected = 8 + 4 * (np.concatenate([normal(0, i, (3, 1, 1, 2)) for i in range(2)], axis=2) + 2)
    np.testing.assert_allclose(classes.sample(3, seed=0, context=context), expected, rtol=1e-5)


@pytest.mark.parametrize("context", [[0.5, 1.5], [[0.5, 1.5]]])
def test_one_array_serves_all_rows(vectors, context):
    found = vectors.sample(3, temperature=0, context=context)
    np.testing.assert_allclose(found, np.full((3, *EVENT), 16.0), rtol=1e-6)


def test_contexts_are_broadcast_to_the_shape_of_samples(classes, vectors):
    for model, contexts in ((classes, np.arange(3)), (vectors, np.array([[0.5, 1], [0, 0], [1, 1]]))):
        rows = model.sample(12, seed=0, context=np.concatenate([contexts] * 4))
        assert np.array_equal(model.sample((4, 3), seed=0, context=contexts), rows.reshape(4, 3, *model.event_shape))
        rows = model.sample(12, seed=0, context=np.repeat(contexts, 4, axis=0))
        assert np.array_equal(model.sample((3, 4), seed=0, context=contexts[:, None]), rows.reshape(3, 4, 1, 2, 2))
        assert model.sample((), context=contexts[0]).shape == model.event_shape
        with pytest.raises(InputError, match=r"got \[3.*\]; n = \(5, 3\) draws 5 for each$"):
            model.sample(5, context=contexts)
        with pytest.raises(InputError, match=r"context must have shape \[3, 4.*\] \(one per row\)"):
            model.sample((3, 4), context=contexts)


@pytest.mark.parametrize(
    "context, message",
    [
        (None, "this model needs a context: a class from 0 to 2 for each row"),
        (3, r"classes from 0 to 2; in row 0, context\[0\] is 3"),
        ([0, -1], r"context\[1\] is -1"),
        ([0, 1, 2], r"context must have shape \[2\] \(one per row\) or \[\] \(one for all\), got \[3\]"),
        ([0.0, 1.0], "integer class indices, got dtype float64"),
        ([True, False], "integer class indices, got dtype bool"),
        (["a", "b"], "the context 'a' is no class of this flow: its classes have no names, only numbers"),
    ],
)
def test_bad_classes_are_refused(classes, context, message):
    with pytest.raises(InputError, match=message):
        classes.sample(2, context=context)


@pytest.mark.parametrize(
    "context, message",
    [
        (None, r"this model needs a context: floats \[2\] for each row"),
        (np.zeros((3, 2)), r"shape \[2, 2\] \(one per row\) or \[2\] \(one for all\), got \[3, 2\]"),
        ([[0, 0], [0, math.nan]], r"in row 1, context\[1, 1\] is nan"),
        (5, r"shape \[2, 2\] \(one per row\) or \[2\] \(one for all\), got \[\]"),
        ("a", "context must hold real numbers, got dtype <U1"),
    ],
)
def test_bad_array_contexts_are_refused(vectors, context, message):
    with pytest.raises(InputError, match=message):
        vectors.log_prob(points(2), context)


def test_a_context_for_an_unconditional_model_is_refused(discrete):
    with pytest.raises(InputError, match="takes no context"):
        discrete.sample(2, context=[0, 0])


@pytest.mark.parametrize("scores", ["abc", None, [[1.0], [1.0, 2.0]], 1j])
def test_scores_that_are_no_numbers_are_refused(make_bundle, scores):
    model = load(make_bundle(threshold={"quantile": 0.99, "score": 2.5, "events": 360}))
    with pytest.raises(InputError, match="scores "):
        model.anomalous(scores)


def test_an_empty_batch_runs_no_network(discrete, monkeypatch):
    monkeypatch.setattr(discrete, "_flow", None)
    empty, z = np.zeros((0, *EVENT)), np.zeros((0, 1, 1, 2))
    assert discrete.log_prob(empty).shape == discrete.score(empty).shape == (0,)
    assert [latent.shape for latent in discrete.encode(empty)] == [z.shape] * 2
    assert discrete.decode((z, z)).shape == discrete.sample(0).shape == (0, *EVENT)
    assert discrete.sample(0).dtype == np.uint8


def test_an_empty_batch_of_a_conditional_model_takes_any_context(classes):
    assert classes.sample(0, context=1).shape == (0, *EVENT)


def test_masked_values_are_missing_values(continuous):
    x = np.ma.masked_array(np.zeros((2, *EVENT)), np.zeros((2, *EVENT), bool))
    assert np.array_equal(continuous.score(x), continuous.score(x.data))
    x[1] = np.ma.masked
    for method in (continuous.score, continuous.log_prob, continuous.encode):
        with pytest.raises(InputError, match="x is masked in places"):
            method(x)


def test_the_reconstruction_error_of_integers_is_in_levels(make_bundle):
    bundle = make_bundle(levels=17)
    alter_decoded(bundle, "Min", 10.5)
    model = load(bundle)
    x = np.array([3, 10, 11, 16], np.uint8).reshape(4, 1, 1, 1) * np.ones(EVENT, np.uint8)
    assert model.reconstruction_error(x, batch_size=3).tolist() == [0, 0, 1, 6]
    assert model.reconstruction_error(x + 0.7).tolist() == [0, 0, 1, 6]


def test_the_reconstruction_error_of_real_numbers_is_in_their_units(make_bundle):
    bundle = make_bundle(levels=None)
    alter_decoded(bundle, "Min", 10.5)
    x = np.zeros((3, *EVENT), np.float32)
    x[1, 0, 0, 0] = 11.25
    x[2] = 3e38
    found = load(bundle).reconstruction_error(x)
    assert found[:2] == pytest.approx([0, 0.75], abs=1e-6) and found[2] == pytest.approx(3e38)


@pytest.mark.parametrize("levels", [None, 17])
def test_what_decodes_to_no_number_is_infinitely_far_off(make_bundle, levels):
    bundle = make_bundle(levels=levels)
    alter_decoded(bundle, "Mul", np.nan)
    assert load(bundle).reconstruction_error(np.ones((2, *EVENT))).tolist() == [np.inf, np.inf]


def test_the_reconstruction_error_takes_a_context_and_names_rows(make_bundle):
    model = load(make_bundle(context={"classes": 3}))
    assert model.reconstruction_error(integers(5), np.arange(5) % 3).tolist() == [0] * 5
    with pytest.raises(InputError, match="in row 12, x"):
        model.reconstruction_error(integers(5) + 17, 0, start=12)
