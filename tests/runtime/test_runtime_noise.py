import json
from pathlib import Path

import numpy as np
import pytest

from flowkit_runtime.errors import InputError
from flowkit_runtime.noise import normal, philox4x32, uniform

VECTORS = json.loads((Path(__file__).parents[2] / "runtime" / "test_vectors.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["philox4x32-10"])
def test_philox_gives_the_known_answers_of_random123(vector):
    counter = [np.array([int(word, 16)], np.uint64) for word in vector["counter"]]
    words = philox4x32(counter, tuple(int(word, 16) for word in vector["key"]))
    assert [f"{int(word[0]):08x}" for word in words] == vector["words"]


@pytest.mark.parametrize("vector", VECTORS["uniform"])
def test_uniforms_equal_the_test_vectors(vector):
    found = uniform(int(vector["seed"]), vector["stream"], (7,), start=vector["first"])
    assert found.tolist() == vector["values"]


@pytest.mark.parametrize("vector", VECTORS["normal"])
def test_normals_equal_the_test_vectors(vector):
    found = normal(int(vector["seed"]), vector["stream"], (7,), start=vector["first"])
    np.testing.assert_allclose(found, vector["values"], rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("draw", [uniform, normal])
@pytest.mark.parametrize("row", [(), (3,), (2, 5)])
def test_chunks_agree_with_the_whole(draw, row):
    whole = draw(9, 4, (11, *row))
    parts = [draw(9, 4, (stop - start, *row), start) for start, stop in [(0, 1), (1, 4), (4, 4), (4, 11)]]
    assert np.array_equal(np.concatenate(parts), whole)


def test_the_last_numbers_of_a_stream():
    assert np.array_equal(uniform(0, 0, (3,), 2**65 - 3)[1:], uniform(0, 0, (2,), 2**65 - 2))


def test_shapes():
    assert uniform(0, 0, ()) == uniform(0, 0, (1,))[0]
    assert normal(0, 0, (0, 3)).shape == (0, 3)
    assert normal(0, 0, (2, 3)).dtype == np.float64


def test_moments_match_the_distributions():
    u, z = uniform(1, 2, (100_000,)), normal(1, 2, (100_000,))
    assert u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 1 / 2) < 0.004 and abs(u.var() - 1 / 12) < 0.002
    assert abs(z.mean()) < 0.015 and abs(z.var() - 1) < 0.02 and abs((z**4).mean() - 3) < 0.15
    assert abs(np.corrcoef(z[::2], z[1::2])[0, 1]) < 0.02
    assert abs(np.corrcoef(z, normal(1, 3, (100_000,)))[0, 1]) < 0.015


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((-1, 0, (1,)), r"seed must be from 0 to 18446744073709551615, got -1"),
        ((2**64, 0, (1,)), "seed must be from 0 to"),
        ((0.5, 0, (1,)), "seed must be an integer, got 0.5"),
        ((0, 2**32, (1,)), "stream must be from 0 to"),
        ((0, 0, (-1,)), "shape must be at least 0"),
        ((0, 0, (1,), -1), "start must be at least 0"),
        ((0, 0, (2,), 2**65 - 1), "start is 36893488147419103231, and a stream ends before that: it has 2\\^64 blocks"),
        ((0, 0, (1, 2**24), 2**60), "a stream ends before that"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        uniform(*arguments)
