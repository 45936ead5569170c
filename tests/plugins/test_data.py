"""The datasets of flowkit_data: what they give, that their parts are disjoint and fixed, what they refuse."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import ValidationError

from flowkit.errors import DataError
from flowkit.plugin import Arrays, Dataset
from flowkit.plugin.dataset import PARTS
from flowkit_data.parts import rows_of_parts
from flowkit_data.plugin import Toy, flowkit_register_datasets
from tests.security.files import Evil

DESCRIPTORS = {descriptor.name: descriptor for descriptor in flowkit_register_datasets()}


def make(name: str, /, **fields: Any) -> Dataset:
    config = DESCRIPTORS[name].config(**fields)
    return DESCRIPTORS[name].load()(**dict(config))


def load_all(dataset: Dataset) -> list[Arrays]:
    return [dataset.load(split) for split in PARTS]


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_descriptors_are_valid(name: str) -> None:
    DESCRIPTORS[name].check("dataset")
    assert issubclass(DESCRIPTORS[name].load(), Dataset)


# digits


def test_digits() -> None:
    train, val, test = parts = load_all(make("digits"))
    assert [len(part.x) for part in parts] == [1437, 180, 180]
    assert train.x.shape[1:] == (1, 8, 8) and train.x.dtype == np.uint8
    assert (train.x.min(), train.x.max()) == (0, 16)
    assert all(set(part.context) == set(range(10)) for part in (train, val, test))


def test_the_parts_of_digits_are_the_whole_and_the_labels_belong_to_the_images() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    whole = sorted(zip(images.astype(int).tolist(), labels.tolist(), strict=True))
    parts = load_all(make("digits"))
    rows = [row for part in parts for row in zip(part.x.reshape(-1, 64).tolist(), part.context, strict=True)]
    assert sorted(rows) == whole


# diabetes


def test_diabetes() -> None:
    from sklearn.datasets import load_diabetes

    parts = load_all(make("diabetes"))
    assert [len(part.x) for part in parts] == [353, 44, 45]
    assert all(part.x.shape[1:] == (1,) and part.context.shape[1:] == (10,) for part in parts)
    assert all(part.x.dtype == part.context.dtype == np.float32 for part in parts)
    features, progression = load_diabetes(return_X_y=True)
    whole = np.concatenate([progression[:, None], features], axis=1).astype(np.float32)
    rows = np.concatenate([np.concatenate([part.x, part.context], axis=1) for part in parts])
    assert sorted(rows.tolist()) == sorted(whole.tolist())


# draws


def test_the_draws_are_those_of_their_parameters() -> None:
    """Standardized by their own parameters, draws and means are standard normal; 1/σ² is gamma with mean 1."""
    train, val, test = load_all(make("draws", n=20_000, size=5))
    assert [len(part.x) for part in (train, val, test)] == [20_000, 2000, 2000]
    assert train.x.dtype == train.context.dtype == np.float32 and train.context.shape == (20_000, 5, 1)
    mu, sigma = train.x.T.astype(float)
    for standard in (mu / sigma, (train.context[..., 0] - mu[:, None]) / sigma[:, None]):
        assert abs(standard.mean()) < 0.03 and abs(standard.std() - 1) < 0.03
    precision = sigma**-2
    assert abs(precision.mean() - 1) < 0.01 and abs(precision.var() - 0.1) < 0.01
    assert not {*map(tuple, train.x)} & {*map(tuple, val.x), *map(tuple, test.x)}


def test_breast_cancer() -> None:
    from sklearn.datasets import load_breast_cancer

    parts = load_all(make("breast_cancer"))
    assert [len(part.x) for part in parts] == [455, 57, 57]
    assert all(part.x.shape[1:] == (5,) and part.x.dtype == np.float32 for part in parts)
    x, labels = (np.concatenate(each) for each in zip(*((part.x, part.context) for part in parts), strict=True))
    assert x.min() > 0 and x[:, 4].max() < 1  # inside the domains of specs/nsf-breast-cancer.yaml
    data = load_breast_cancer()
    assert sorted(labels.tolist()) == sorted(data.target.tolist())
    assert sorted(x[:, 0].tolist()) == sorted(data.data[:, 0].astype(np.float32).tolist())


def test_the_parts_never_change() -> None:
    assert rows_of_parts(1797, (0.8, 0.1, 0.1))["val"][:8].tolist() == [24, 25, 33, 36, 41, 43, 67, 69]
    assert rows_of_parts(1797, (0.8, 0.1, 0.1))["test"][:8].tolist() == [11, 23, 28, 32, 57, 72, 84, 86]


# mnist


def write_idx(path: Path, values: np.ndarray) -> None:
    content = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def mnist_directory(path: Path, suffix: str = "") -> Path:
    for prefix, n in (("train", 50), ("t10k", 20)):
        write_idx(path / f"{prefix}-images-idx3-ubyte{suffix}", np.arange(n * 12, dtype=np.uint8).reshape(n, 3, 4))
        write_idx(path / f"{prefix}-labels-idx1-ubyte{suffix}", np.arange(n, dtype=np.uint8) % 10)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist(tmp_path: Path, suffix: str) -> None:
    train, val, test = parts = load_all(make("mnist", path=mnist_directory(tmp_path, suffix)))
    assert [len(part.x) for part in parts] == [45, 5, 20]
    assert train.x.shape[1:] == (1, 3, 4) and train.x.dtype == np.uint8
    assert train.x[1].ravel().tolist() == list(range(12, 24))
    assert val.x[0].ravel().tolist() == [value % 256 for value in range(45 * 12, 46 * 12)]
    assert test.context.tolist() == [*range(10), *range(10)]


def test_a_missing_mnist_file_is_named_with_the_place_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}/train-images-idx3-ubyte or .*\.gz: put .* into {tmp_path}"):
        make("mnist", path=tmp_path).load("val")


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("train-images-idx3-ubyte", lambda content: b"\0\0\x0d\3" + content[4:], "begin with 00 00 08 03"),
        (
            "train-images-idx3-ubyte",
            lambda content: content[:-1],
            r"\[50, 3, 4\], 600 values, and 599 follow",
        ),
        ("train-images-idx3-ubyte", lambda content: content + b"\0", "and more follow"),
        ("train-images-idx3-ubyte", lambda content: content[:7], "not an idx file"),
        ("train-labels-idx1-ubyte", lambda content: b"", "not an idx file"),
        ("train-images-idx3-ubyte.gz", lambda content: content[:-9], "truncated"),
        ("train-images-idx3-ubyte.gz", lambda content: b"no gzip", "can't be read"),
    ],
)
def test_damaged_mnist_files_are_named(tmp_path: Path, name: str, damage: Any, message: str) -> None:
    file = mnist_directory(tmp_path, ".gz" if name.endswith(".gz") else "") / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        make("mnist", path=tmp_path).load("train")
    assert str(file) in str(caught.value)


def test_mnist_images_without_their_labels(tmp_path: Path) -> None:
    write_idx(mnist_directory(tmp_path) / "t10k-labels-idx1-ubyte", np.zeros(19, np.uint8))
    with pytest.raises(DataError, match="20 t10k images, but 19 labels"):
        make("mnist", path=tmp_path).load("test")


# npy


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def test_npy_parts_are_the_whole_and_keep_their_contexts(tmp_path: Path) -> None:
    events = np.arange(200.0).reshape(100, 2)
    path, context = save(tmp_path / "x.npy", events), save(tmp_path / "c.npy", np.arange(100))
    parts = load_all(make("npy", path=path, context=context, fractions=(0.5, 0.3, 0.2)))
    assert [len(part.x) for part in parts] == [50, 30, 20]
    rows = np.concatenate([part.context for part in parts])
    assert sorted(rows) == list(range(100)) and rows.tolist() != sorted(rows)
    assert (np.concatenate([part.x for part in parts]) == events[rows]).all()


def test_npy_without_context(tmp_path: Path) -> None:
    assert make("npy", path=save(tmp_path / "x.npy", np.zeros((10, 3)))).load("val").context is None


def test_npy_fractions_must_sum_to_one() -> None:
    with pytest.raises(ValidationError, match="must sum to 1"):
        make("npy", path="x.npy", fractions=(0.5, 0.3, 0.1))


@pytest.mark.parametrize("n", range(1, 6))
def test_rows_that_are_too_few_for_three_parts(n: int, tmp_path: Path) -> None:
    message = rf"x\.npy has {n} rows?, and 6 rows are needed for three parts of the fractions \[0\.8, 0\.1, 0\.1\]"
    with pytest.raises(DataError, match=message):
        make("npy", path=save(tmp_path / "x.npy", np.zeros((n, 3)))).load("train")


def test_the_fewest_rows_for_three_parts(tmp_path: Path) -> None:
    parts = load_all(make("npy", path=save(tmp_path / "x.npy", np.zeros((6, 3)))))
    assert all(len(part.x) for part in parts)
    with pytest.raises(DataError, match="more than 10,000 rows are needed"):
        make("npy", path=tmp_path / "x.npy", fractions=(1 - 2e-6, 1e-6, 1e-6)).load("train")


def test_npy_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("flowkit_data.npy.map_npy", refused)
    with pytest.raises(DataError, match=r"x\.npy can't be read: Permission denied$"):
        make("npy", path=tmp_path / "x.npy").load("train")


@pytest.mark.parametrize(("name", "fields"), [("npy", {}), ("mnist", {}), ("table", {"event": [{"column": "x"}]})])
def test_an_empty_path(name: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="the path is empty: name a file or a folder"):
        make(name, path="", **fields)


def test_npy_refuses_pickles_without_running_them(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.array([Evil(tmp_path / "owned")]), allow_pickle=True)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Evil(tmp_path / "owned")))
    for name in ("array.npy", "plain.npy"):
        with pytest.raises(DataError, match=r"not a \.npy file of numbers"):
            make("npy", path=tmp_path / name).load("train")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"1,2\n3,4\n"])
def test_npy_refuses_other_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npy is not a \.npy file"):
        make("npy", path=tmp_path / "x.npy").load("train")


@pytest.mark.parametrize("array", [np.array(1.0), np.array(["a", "b"]), np.zeros(3, complex)])
def test_npy_refuses_what_is_not_rows_of_numbers(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(DataError, match="must hold one array of numbers"):
        make("npy", path=save(tmp_path / "x.npy", array)).load("train")


def test_npy_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*nowhere\.npy"):
        make("npy", path=tmp_path / "nowhere.npy").load("train")


def test_npy_contexts_must_be_as_many_as_events(tmp_path: Path) -> None:
    path, context = save(tmp_path / "x.npy", np.zeros((10, 2))), save(tmp_path / "c.npy", np.zeros(9))
    with pytest.raises(DataError, match=r"x\.npy has 10 rows, and .*c\.npy has 9"):
        make("npy", path=path, context=context).load("train")


# toy


@pytest.mark.parametrize("name", get_args(Toy))
def test_toys(name: str) -> None:
    train, val, test = load_all(make("toy", name=name, n=1000))
    assert train.x.shape == (1000, 2) and val.x.shape == test.x.shape == (100, 2)
    assert train.x.dtype == np.float32 and np.abs(train.x).max() < 3
    assert len(np.unique(np.concatenate([train.x, val.x, test.x]), axis=0)) == 1200  # no point twice
    assert (make("toy", name=name, n=1000).load("val").x == val.x).all()


@pytest.mark.parametrize(("name", "classes"), [("moons", 2), ("circles", 2), ("rings", 4), ("gaussians", 8)])
def test_the_labels_of_toys(name: str, classes: int) -> None:
    assert set(make("toy", name=name, n=500).load("train").context) == set(range(classes))


@pytest.mark.parametrize(
    ("name", "radii"), [("circles", [1, 0.5]), ("rings", [0.5, 1, 1.5, 2]), ("gaussians", [2] * 8)]
)
def test_labelled_points_lie_on_the_circle_of_their_label(name: str, radii: list[float]) -> None:
    points = make("toy", name=name, n=200, noise=0.0).load("train")
    assert np.linalg.norm(points.x, axis=1) == pytest.approx(np.array(radii)[points.context], abs=1e-6)


def test_checkerboard_covers_every_second_square() -> None:
    x = make("toy", name="checkerboard", noise=0.0).load("train").x
    squares = {tuple(square) for square in np.floor(x).astype(int).tolist()}
    assert len(squares) == 8 and len({(column + row) % 2 for column, row in squares}) == 1


def test_noise_is_the_standard_deviation_about_the_clean_points() -> None:
    clean, noisy = (make("toy", name="moons", noise=noise).load("train").x for noise in (0.0, 0.2))
    assert (noisy - clean).std() == pytest.approx(0.2, rel=0.02)
