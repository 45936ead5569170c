"""Rows that are read when they are indexed."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import numpy as np
import pytest

from flowkit.plugin import Rows
from flowkit.plugin.rows import CHUNK, chunks, first_not_finite, shuffled_rows

X = np.arange(60.0).reshape(20, 3)


@pytest.mark.parametrize("rows", [None, np.array([7, 3, 19, 0])])
def test_they_are_those_of_the_array(rows: np.ndarray | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowkit.plugin.rows.SMALL", 0)
    monkeypatch.setattr("flowkit.plugin.rows.AT_ONCE", 3)
    whole, lazy = X if rows is None else X[rows], Rows(X, rows)
    assert (lazy.shape, lazy.ndim, lazy.dtype, len(lazy)) == (whole.shape, 2, whole.dtype, len(whole))
    for key in (slice(None), slice(1, 3), np.array([2, 0]), [3, 3], [3, 1, 0, 2], 1, -1):
        assert np.array_equal(lazy[key], whole[key])
    assert np.array_equal(np.asarray(lazy), whole)
    assert np.array_equal(np.concatenate([part for _, part in chunks(lazy)]), whole)


def test_they_are_copies_in_the_dtype_that_was_asked_for() -> None:
    lazy = Rows(X).astype(np.float32)
    assert lazy.dtype == lazy[:2].dtype == np.float32
    Rows(X)[:][:] = -1
    assert X[0, 1] == 1


def test_what_overflows_is_infinite_without_a_warning() -> None:
    assert first_not_finite(Rows(np.array([[1.0], [1e39]])).astype(np.float32)) == 1


def resident(path: Path) -> int:
    """KiB of the file that are in this process's memory."""
    maps = Path("/proc/self/smaps").read_text()
    return sum(map(int, re.findall(rf"{re.escape(str(path))}\n(?:.*\n)*?Rss: +(\d+)", maps)))


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="/proc/self/smaps is Linux's")
def test_pages_of_a_mapped_file_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowkit.plugin.rows.SMALL", 2**20)
    np.save(tmp_path / "x.npy", np.ones((2**16, 64)))  # 32 MiB
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert mapped.sum() == 2**22 and resident(tmp_path / "x.npy") > 30_000
    lazy = Rows(mapped, np.random.default_rng(0).permutation(2**16))
    assert sum(part.sum() for _, part in chunks(lazy)) == 2**22
    assert resident(tmp_path / "x.npy") < 4000


def test_changes_that_are_in_no_file_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowkit.plugin.rows.SMALL", 0)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="c")
    mapped[:] = 7
    lazy = Rows(mapped)
    assert (lazy[:] == 7).all() and (lazy[:] == 7).all()


@pytest.mark.parametrize("n", [0, 1, 7, CHUNK + 3])
def test_many_rows_are_shuffled_as_few_are(n):
    """Beyond CHUNK rows the indices are in a temporary file."""
    shuffled = shuffled_rows(n, np.random.RandomState(3))
    np.testing.assert_array_equal(shuffled, np.random.RandomState(3).permutation(n))
    base = shuffled
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base.base, mmap.mmap) == (n > CHUNK)
