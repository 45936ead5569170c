"""What `flowkit new` sees in data, what it doubts, and what it refuses."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flowkit.errors import DataError, PluginError, SpecError
from flowkit.plugin import rows
from flowkit.starting import Look, look, starting_spec
from tests.security.bounded import refused

RANDOM = np.random.default_rng(0)
FLOATS = RANDOM.normal(size=(20, 3))


def saved(tmp_path: Path, **arrays: Any) -> list[Path]:
    paths = [tmp_path / f"{name}.npy" for name in arrays]
    for path, array in zip(paths, arrays.values(), strict=True):
        np.save(path, array, allow_pickle=True)
    return paths


def look_at(tmp_path: Path, x: Any, c: Any = None) -> Any:
    events, *context = saved(tmp_path, x=x) if c is None else saved(tmp_path, x=x, c=c)
    return look(str(events), *context)


LEVELS = [
    (np.uint8, 1, 2),
    (np.uint8, 9, 10),
    (np.uint8, 11, 12),  # 12 of 16
    (np.uint8, 12, 16),
    (np.int64, 16, 17),
    (np.uint8, 127, 128),
    (np.uint8, 128, 256),  # bytes are bytes
    (np.int64, 128, 129),
    (np.int32, 250, 256),
    (np.uint16, 40_000, 40_001),
    (np.uint64, 65_535, 65_536),
]


@pytest.mark.parametrize(("dtype", "largest", "levels"), LEVELS)
def test_levels(tmp_path: Path, dtype: Any, largest: int, levels: int) -> None:
    x = np.zeros((20, 4), dtype)
    x[7, 2] = largest
    seen = look_at(tmp_path, x)
    assert (seen.levels, seen.event, seen.rows, seen.doubts) == (levels, (4,), 16, ())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_floats_are_continuous(tmp_path: Path, dtype: str) -> None:
    seen = look_at(tmp_path, FLOATS.astype(dtype))
    assert seen.levels is None
    assert seen.values.lowest == FLOATS.astype(dtype).min() and seen.values.highest == FLOATS.astype(dtype).max()


def test_chunks_see_what_the_whole_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = look_at(tmp_path, FLOATS).values
    monkeypatch.setattr(rows, "CHUNK", 7)  # two rows at a time
    for name in ("low", "high", "whole"):
        assert (getattr(look_at(tmp_path, FLOATS).values, name) == getattr(whole, name)).all()
    bad = FLOATS.copy()
    bad[13, 1] = np.nan
    with pytest.raises(DataError, match="row 13"):
        look_at(tmp_path, bad)


def with_column(values: Any) -> np.ndarray:
    return np.concatenate([FLOATS, np.broadcast_to(values, (20, 1))], axis=1)


DOUBTS = {
    "whole numbers": (np.round(np.abs(FLOATS) * 9), None, r"whole numbers: .* use x.astype\('uint8'\)"),
    "large whole numbers": (np.round(FLOATS * 1000), None, r"whole numbers: .* use x.astype\('int64'\)"),
    "bytes": (RANDOM.integers(0, 256, (20, 4)) / np.float32(255), None, "multiples of 1/255"),
    "a constant": (with_column(0.5), None, "1 of 4 entries never change: leave them out"),
    "a count": (with_column(np.arange(20)[:, None]), None, "1 of 4 entries are whole numbers: add noise"),
    "float32 without fractions": ((100 * FLOATS + 1e8).astype(np.float32), None, "3 of 3 entries vary by few steps"),
    "few steps of float32": (with_column(FLOATS[:, :1] + 1e8), None, "1 of 4 entries vary by few steps of float32"),
    "a large context": (FLOATS, FLOATS * 1e5, "standardize them"),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_doubts(tmp_path: Path, case: str) -> None:
    x, c, message = DOUBTS[case]
    (doubt,) = look_at(tmp_path, x, c).doubts
    assert re.search(message, doubt), doubt


CONTEXTS = [
    (np.arange(20) % 3, {"classes": 3}),
    (np.ones((20, 4, 2)), {"shape": [4, 2], "encoder": {"use": "encoder/deep_set"}}),
    (np.arange(20, dtype=np.uint8), {"classes": 20}),
    (FLOATS, {"shape": [3]}),
    (np.ones((20, 2), int), {"shape": [2]}),
    (FLOATS.reshape(20, 3, 1, 1), {"shape": [3, 1, 1]}),
]


@pytest.mark.parametrize(("c", "section"), CONTEXTS)
def test_contexts(tmp_path: Path, c: np.ndarray, section: dict[str, Any]) -> None:
    seen = look_at(tmp_path, FLOATS, c)
    sequence = "{shape: [4, 2], encoder: {use: encoder/gru}}"
    doubt = f"{tmp_path / 'c.npy'}: contexts of shape [4, 2] are taken for sets, without an order; for sequences write"
    assert (seen.context, seen.doubts) == (section, (f"{doubt} {sequence}",) if "encoder" in section else ())
    assert seen.data == {"use": "data/npy", "path": str(tmp_path / "x.npy"), "context": str(tmp_path / "c.npy")}


NAN, LARGE = FLOATS.copy(), FLOATS.copy()
NAN[5, 1], LARGE[6, 0] = np.nan, 1e300
REFUSED: dict[str, tuple[Any, Any, str]] = {
    "objects": (np.array([[1, "a"]] * 20, dtype=object), None, "is not a .npy file of numbers"),
    "text": (
        np.full((20, 2), "a"),
        None,
        r"x.npy holds texts: save numbers, such as x.astype\(float\), or numpy.unique",
    ),
    "booleans": (FLOATS > 0, None, r"holds bool: .* x.astype\('uint8'\)"),
    "complex numbers": (FLOATS + 1j, None, "holds complex128"),
    "NaN": (NAN, None, r"row 5 \(counted from 0\) holds NaN.*: leave such rows out"),
    "infinity": (np.where(FLOATS[9, 2] == FLOATS, np.inf, FLOATS), None, "row 9 .* infinity"),
    "more than float32": (LARGE, None, "row 6 .* more than float32"),
    "too large for sums": (FLOATS * 1e36, None, r"values up to .*e\+36: .* use x / [0-9]e\+36"),
    "too small for squares": (with_column(FLOATS[:, :1] * 1e-36), None, "a channel varies by .*e-36: .* scale it up"),
    "a scalar": (np.float64(3), None, "must hold one array"),
    "empty": (FLOATS[:0], None, r"shape \[0, 3\]: there are no events"),
    "events of nothing": (FLOATS[:, :0], None, r"shape \[20, 0\]: there are no values in an event"),
    "one row": (FLOATS[:1], None, "1 events: it takes 10"),
    "rank 1": (FLOATS[:, 0], None, r"use x\[:, None\] for events \[1\]"),
    "rank 3": (FLOATS.reshape(20, 3, 1), None, r"use x\[:, None\] for images of one channel"),
    "rank 5": (FLOATS.reshape(20, 3, 1, 1, 1), None, r"use x.reshape\(len\(x\), -1\)"),
    "channels last": (np.zeros((20, 8, 8, 3)), None, r"numpy.moveaxis\(x, -1, 1\)"),
    "negative integers": (np.arange(-1, 59).reshape(20, 3), None, "integers from -1 on"),
    "large integers": (np.arange(20)[:, None] * 4000, None, "integers up to 76000: .* use floats"),
    "nothing varies": (np.ones((20, 3)), None, "every event is the same"),
    "fewer contexts": (FLOATS, np.arange(19), "has 19 rows for 20 events"),
    "labels that are floats": (FLOATS, np.arange(20.0), r"labels are integers; .* c\[:, None\]"),
    "negative labels": (FLOATS, np.arange(20) - 1, "labels from -1 to 18"),
    "one label": (FLOATS, np.zeros(20, int), "labels from 0 to 0"),
    "contexts of rank 5": (FLOATS, FLOATS[:, :, None, None, None], "labels .n., vectors .n, d., sets and sequences"),
    "NaN in contexts": (FLOATS, NAN, r"c.npy: row 5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_refuses(tmp_path: Path, case: str) -> None:
    x, c, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as caught:
        look_at(tmp_path, x, c)
    assert str(tmp_path) in str(caught.value)


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_text("1, 2, 3")
    np.savez(tmp_path / "x.npz", x=FLOATS)
    for name, message in {
        "nowhere": "there is no",
        "x.npy": "not a .npy file",
        "x.npz": "such as .npz: save each",
    }.items():
        with pytest.raises(DataError, match=message):
            look(str(tmp_path / name))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npy")
    assert "not a regular file" in refused(look, str(tmp_path / "x.npy"))


def test_datasets_by_their_name() -> None:
    seen = look("{use: data/digits}")
    assert (seen.event, seen.levels, seen.rows, seen.offered) == ((1, 8, 8), 17, 1437, {"classes": 10})
    seen = look("{use: data/toy, name: checkerboard, n: 50}")
    assert (seen.event, seen.levels, seen.rows, seen.offered) == ((2,), None, 50, None)
    assert seen.data == {"use": "data/toy", "name": "checkerboard", "n": 50, "noise": 0.05}


def test_dark_images_have_the_levels_of_bytes(tmp_path: Path) -> None:
    for i in range(10):
        Image.fromarray(np.full((4, 6), 9 * i, np.uint8)).save(tmp_path / f"{i}.png")
    for data in (str(tmp_path), f"{{use: data/images, path: {tmp_path}}}"):
        seen = look(data)
        assert isinstance(seen, Look) and (seen.event, seen.levels) == ((1, 4, 6), 256)
        assert seen.data["shape"] == [1, 4, 6]
        assert "levels: 256}  # integers 0 … 81; 256 levels" in re.sub("  +", "  ", starting_spec(seen))


def test_datasets_that_it_refuses(tmp_path: Path) -> None:
    (context,) = saved(tmp_path, c=np.arange(20))
    with pytest.raises(DataError, match="a dataset brings its own"):
        look("{use: data/digits}", context)
    with pytest.raises(SpecError, match="there is no dataset 'data/digit'"):
        look("{use: data/digit}")
    with pytest.raises(DataError, match=r"hold no images \(.bmp, .* doesn't hold MNIST's four files"):
        look(str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte.gz").touch()
    with pytest.raises(DataError, match="can't be read, or is truncated"):
        look(str(tmp_path))
    with pytest.raises(DataError, match=r"data/images: .* holds no images"):
        look(f"{{use: data/images, path: {tmp_path}}}")
    for lacking in ("{use: data/images}", "{use: data/images, path: nowhere}", "{use: 3}"):
        with pytest.raises(SpecError):
            look(lacking)


def test_a_dataset_whose_target_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowkit_data.scikit_learn.Digits", dict)
    with pytest.raises(PluginError, match=r"must derive from flowkit\.plugin\.Dataset"):
        look("{use: data/digits}")


def test_a_dataset_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowkit_data.scikit_learn.Digits.load", lambda *_: [][0])
    with pytest.raises(PluginError, match=r"plugin data/digits .* can't load its train part: IndexError"):
        look("{use: data/digits}")
