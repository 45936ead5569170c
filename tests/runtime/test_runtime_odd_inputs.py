"""What a caller passes in may raise anything while it is converted, or ask for more than there is: an InputError."""

from __future__ import annotations

import functools
import operator
import os
from decimal import Decimal

import numpy as np
import pytest
import torch

from flowkit_runtime import BundleError, InputError, load, noise, verification
from flowkit_runtime.batch import Scorer
from tests.runtime.conftest import write_bundle

EVENTS = np.zeros((2, 1, 2, 2))


class Array:
    """An array-like whose conversion raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __array__(self, *arguments: object, **options: object) -> np.ndarray:
        raise self.error


class Attributes:
    def __getattr__(self, name: str) -> object:
        raise OSError(f"no {name}")


class Index:
    def __index__(self) -> int:
        raise RuntimeError("not ready")

    __float__ = __fspath__ = __index__


class Nameless:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Inaccurate(float):
    def __float__(self) -> float:
        raise RuntimeError("not ready")


def nested(depth: int) -> list:
    return functools.reduce(lambda inner, _: [inner], range(depth), [])


endless: list = []
endless.append(endless)

NO_ARRAYS = {
    "a tensor that requires grad": torch.zeros(2, 1, 2, 2, requires_grad=True),
    "a tensor without data": torch.zeros(2, 1, 2, 2, device="meta"),
    "a sparse tensor": torch.zeros(2, 1, 2, 2).to_sparse(),
    "a type that numpy lacks": torch.zeros(2, 1, 2, 2, dtype=torch.bfloat16),
    "KeyError": Array(KeyError("column")),
    "MemoryError": Array(MemoryError()),
    "inside a list": [Array(OSError(5, "I/O error"))],
    "attributes that raise": Attributes(),
    "an object": Nameless(),
    "text": ["a", "b"],
    "a number beyond float64": [[[[10**400, 0], [0, 0]]]],
    "ragged": [[1.0], [1.0, 2.0]],
    "in itself": endless,
    "too deep": nested(3000),
    "objects": np.full((2, 1, 2, 2), None),
    "complex": EVENTS + 1j,
    "dates": EVENTS.astype("datetime64[s]"),
    "records": np.zeros(2, [("a", float), ("b" * 5000, float)]),
    "masked": np.ma.masked_array(EVENTS, EVENTS == 0),
    "masked in a list": [np.ma.masked_array(EVENTS[0], EVENTS[0] == 0)] * 2,
    "None": None,
    "a dict": {"x": EVENTS},
    "a module": torch.nn.Linear(1, 1),
    "more than there is memory for": np.broadcast_to(np.float32(0), (10**12, 1, 2, 2)),
}
NO_INTEGERS = [
    True,
    np.True_,
    1.0,
    "1",
    Index(),
    Nameless(),
    np.zeros(2),
    torch.zeros(2),
    float("nan"),
    Decimal(1),
    [1],
]
NO_PATHS = [5, None, True, b"bytes", ["x"], "a" * 5000, "a/" * 5000, "a\0b", Index(), Nameless(), 3.5]


def named(value: object) -> str:
    return type(value).__name__


FIELDS = {
    "integers": {},
    "continuous": {"levels": None, "threshold": {"quantile": 0.99, "score": 1.0, "events": 9}},
    "classes": {"levels": None, "context": {"classes": 3}},
    "arrays": {"levels": None, "context": {"shape": [2]}},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """No call changes a model: one of each kind serves all tests."""
    return {name: load(write_bundle(tmp_path_factory.mktemp(name), **fields)) for name, fields in FIELDS.items()}


@pytest.fixture
def continuous(models):
    return models["continuous"]


def refused(call, words="."):
    with pytest.raises(InputError, match=words) as caught:
        call()
    assert 10 < len(str(caught.value)) < 1500


@pytest.mark.parametrize("value", NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_events_that_are_none(models, continuous, value):
    for model in (continuous, models["integers"]):
        for method in (model.log_prob, model.score, model.encode, model.reconstruction_error):
            refused(lambda method=method: method(value), "x|memory")
        refused(lambda model=model: model.decode((value, value)))
        refused(lambda model=model: model.interpolate(value, value, 3))
    refused(lambda: continuous.anomalous(value))


@pytest.mark.parametrize("value", NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_contexts_that_are_none(models, value):
    for model in (models["classes"], models["arrays"]):
        refused(lambda model=model: model.sample(2, context=value), "context|memory")
        refused(lambda model=model: model.log_prob(EVENTS, value), "context|memory")


@pytest.mark.parametrize("value", NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_columns_that_are_none(make_bundle, value):
    refused(lambda: Scorer(make_bundle(levels=None))({"x": value}))


def test_the_message_has_the_reason_and_the_way_out(continuous):
    refused(
        lambda: continuous.score(NO_ARRAYS["KeyError"]), "x is not an array, nor can it be made one: KeyError: 'colu"
    )
    refused(lambda: continuous.score(NO_ARRAYS["a tensor that requires grad"]), r"Use tensor\.detach\(\)\.numpy\(\)")
    refused(lambda: continuous.score(NO_ARRAYS["masked in a list"]), "masked in places: missing values are errors")


def test_what_ends_a_program_is_not_an_input(continuous):
    for error in (KeyboardInterrupt(), SystemExit(1)):
        with pytest.raises(type(error)):
            continuous.score(Array(error))


@pytest.mark.parametrize("value", NO_INTEGERS, ids=named)
def test_integers_that_are_none(models, make_bundle, value):
    bundle, model, x = make_bundle(), models["integers"], EVENTS.astype(int)
    for name, call in {
        "n": lambda: model.sample(value),
        "n ": lambda: model.interpolate(x[0], x[1], value),
        "seed": lambda: model.sample(1, seed=value),
        "batch_size": lambda: model.sample(1, batch_size=value),
        "draws": lambda: model.score(x, draws=value),
        "start": lambda: model.encode(x, start=value),
        "threads": lambda: load(bundle, threads=value),
        "stream": lambda: noise.normal(0, value, (1,)),
        "shape": lambda: noise.uniform(0, 0, (value,)),
    }.items():
        refused(call, f"{name.strip()} must be an integer, got ")


@pytest.mark.parametrize(
    "value", [True, "1", None, Index(), Nameless(), Inaccurate(1), 1j, torch.ones(1), Decimal(1)], ids=named
)
def test_temperatures_that_are_none(continuous, value):
    refused(lambda: continuous.sample(1, temperature=value), "temperature must be a finite number of at least 0, got ")


@pytest.mark.parametrize("n", [10**12, 10**15])
def test_more_samples_than_there_is_memory_for(models, n):
    words = "there isn't enough memory: Unable to allocate .*; work on fewer events at a time"
    for model in (models["continuous"], models["integers"]):
        refused(lambda model=model: model.sample(n, seed=0), words)
        refused(lambda model=model: model.sample(n, batch_size=n), words)
        refused(lambda model=model: model.interpolate(*EVENTS.astype(int), n), words)
    refused(lambda: noise.normal(0, 0, (n, 4)), words)


@pytest.mark.parametrize("shape", [(10**18,), (2**31, 2**31), (10**30,)])
def test_more_noise_than_an_array_can_hold(shape):
    refused(lambda: noise.uniform(0, 0, shape), "shape asks for .* numbers, more than one array can hold")


@pytest.mark.parametrize("value", NO_PATHS, ids=named)
@pytest.mark.parametrize("read", [load, Scorer, verification.verify])
def test_paths_that_are_none(read, value):
    refused(lambda: read(value), "the directory of a bundle (must be a path, got|is longer than a path can be)")


@pytest.mark.parametrize("value", ["bundle\udcff", "\ud800"], ids=ascii)
@pytest.mark.parametrize("read", [load, Scorer, verification.verify])
def test_names_that_onnxruntime_cannot_open(read, value):
    refused(lambda: read(value), r"the directory of a bundle is .*, which isn't valid UTF-8: give it another")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="who may read everything can't be kept out")
def test_a_bundle_that_may_not_be_read(make_bundle):
    bundle = make_bundle()
    for name in ("encode.onnx", "manifest.json"):
        (bundle / name).chmod(0)
        with pytest.raises(BundleError, match=rf"{name} can't be read: Permission denied"):
            load(bundle)


def test_a_file_that_cannot_be_read_is_of_the_bundle(make_bundle, monkeypatch):
    bundle = make_bundle()

    def fails(path):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr("flowkit_runtime.bundle.open_file", fails)
    with pytest.raises(BundleError, match=r"\.\w+ can't be read: Input/output error"):
        load(bundle)


@pytest.mark.parametrize("given", [5, None, [["x"]], Attributes(), "x", ["x", "x"], Nameless()], ids=named)
@pytest.mark.parametrize("name", ["columns", "context_columns"])
def test_names_of_columns_that_are_none(make_bundle, name, given):
    refused(lambda: Scorer(make_bundle(levels=None), **{name: given}), f"{name} must be a list of different names")


@pytest.mark.parametrize("batch", [[EVENTS], EVENTS, None, 5, "x", {"x"}, Attributes(), Nameless()], ids=named)
def test_batches_that_are_none(make_bundle, batch):
    refused(lambda: Scorer(make_bundle(levels=None))(batch), "a batch is a mapping, from names to columns; got ")


@pytest.mark.parametrize("size", [Attributes(), [Index(), 4], Nameless(), True], ids=named)
def test_sizes_that_are_none(make_bundle, size):
    bundle = make_bundle(sizes_are_multiples_of=[2, 2])
    refused(lambda: load(bundle, size=size), "size must be a height and a width")


@pytest.mark.parametrize(("kind", "value"), [("classes", 2), ("arrays", [0.5, -1.0])])
def test_one_context_serves_all_events(models, kind, value):
    model = models[kind]
    each = np.broadcast_to(value, (2, *np.shape(value)))
    for one in (value, [value]):
        for name in ("log_prob", "score", "encode", "reconstruction_error"):
            method = operator.attrgetter(name)(model)
            np.testing.assert_array_equal(method(EVENTS, one), method(EVENTS, each))
