"""Data paths that lead somewhere else, and data files that lie about themselves."""

from __future__ import annotations

import gzip
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowkit.spec import read_spec
from flowkit.train import load_data
from tests.security.actions import first_event_shape, train_spec
from tests.security.bounded import outcome, refused
from tests.security.files import SECRET, Evil, device, fifo, header, loop


def spec_of(path: Path | str, use: str = "data/npy", shape: tuple[int, ...] = (2,), **data: Any) -> dict[str, Any]:
    source = {"use": use} | ({} if use == "data/toy" else {"path": str(path)}) | data
    event = {"shape": list(shape)} | ({"levels": 256} if use == "data/mnist" else {})
    return {"flowkit": 1, "event": event, "flow": [{"use": "glow/actnorm"}], "data": source}


NPY = {
    "text": (SECRET.encode(), "does not begin like"),
    "empty": (b"", "does not begin like"),
    "pickle": (pickle.dumps(Evil(Path("owned"))), "does not begin like"),
    "objects": (header(descr="|O") + pickle.dumps([Evil(Path("owned"))]), "Python objects"),
    "records": (header(descr=[("a", "<f4"), ("b", "|O")]), "Python objects or records"),
    "huge": (header((2**60, 2)) + bytes(800), "announces 9223372036854775808 bytes, .* and 800 follow"),
    "overflowing": (header((2**62, 2**62)), "announces"),
    "huge, but of nothing": (header((2**62, 0)), "must hold|can't|not a .npy|no events|shape"),
    "negative": (header((-1, 2)) + bytes(800), r"announces the shape \[-1, 2\]"),
    "true": (header((True, 2)) + bytes(8), r"announces the shape \[True, 2\]"),
    "two negatives": (header((-100, -2)) + bytes(800), "announces the shape"),
    "many dimensions": (header((1,) * 100) + bytes(4), "not a .npy file|shape"),
    "truncated": (header() + bytes(799), "and 799 follow"),
    "longer": (header() + bytes(801), "and 801 follow"),
    "no shape": (header(raw="{'descr': '<f4'}"), "does not begin like"),
    "a call": (header(raw="__import__('os').system('touch owned')"), "does not begin like"),
    "nested": (header(raw="(" * 9000), "does not begin like"),
    "nested lists": (header(raw="[" * 4000 + "]" * 4000), "does not begin like"),
    "long header": (header(raw=" " * 60000), "does not begin like"),
    "header of 4 GB": (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1), "does not begin like"),
    "unknown version": (b"\x93NUMPY\x09\x00" + header()[8:] + bytes(800), "does not begin like"),
    "zip": (b"PK\x03\x04" + bytes(100), "it is an archive, such as .npz: save each of its arrays as .npy"),
    "text of no length": (header((2**62,), "|S0"), "must hold one array of numbers|not a .npy"),
    "a scalar": (header((), "<f4") + bytes(4), "must hold one array"),
    "events of nothing": (header((100, 0)), r"row an event, not float32 \[100, 0\]"),
    "no events": (header((0, 2)), r"row an event, not float32 \[0, 2\]"),
    "arrays of arrays": (header((100,), "(2,)f4") + bytes(800), "records"),
    "text array": (header((100, 2), "<U4") + bytes(3200), "must hold one array of numbers"),
}


@pytest.mark.parametrize(("content", "message"), NPY.values(), ids=NPY)
def test_npy_files_that_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.npy").write_bytes(content)
    text = refused(first_event_shape, spec_of(tmp_path / "x.npy"))
    assert re.search(message, text), text
    assert not (tmp_path / "owned").exists()
    assert "secret" not in text and "root" not in text.replace("pytest-of-root", "")


@pytest.mark.parametrize("dtype", [">f4", "<f8", ">f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_other_byte_orders_and_layouts_are_read(tmp_path: Path, dtype: str, order: Any) -> None:
    np.save(tmp_path / "x.npy", np.arange(200.0).reshape(100, 2).astype(dtype, order=order))
    assert first_event_shape(spec_of(tmp_path / "x.npy")) == (80, 2)


@pytest.mark.parametrize("dtype", [">i2", ">u2", "<i8", "|u1"])
def test_integers_of_any_byte_order_become_tensors(tmp_path: Path, dtype: str) -> None:
    from flowkit.train.batches import take

    np.save(tmp_path / "x.npy", np.arange(200).reshape(100, 2).astype(dtype))
    spec = {"flowkit": 1, "event": {"shape": [2], "levels": 256}, "flow": [{"use": "glow/actnorm"}]}
    data = load_data(read_spec(spec | {"data": {"use": "data/npy", "path": str(tmp_path / "x.npy")}}))["train"]
    assert take(data, slice(3))[0].shape == (3, 2)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/dev/zero", "/dev/urandom", "/proc/self/environ", "/", "../", "nowhere"]
)
@pytest.mark.parametrize("use", ["data/npy", "data/mnist"])
def test_paths_that_lead_elsewhere(use: str, path: str) -> None:
    text = refused(first_event_shape, spec_of(path, use, (1, 2, 2)))
    assert path.rstrip("/") in text and "root" not in text


@pytest.mark.parametrize("use", ["data/npy", "data/mnist"])
@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "loop", "loop/x", "/dev/zero", "~/x.npy", ""])
def test_no_run_begins_with_a_path_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: str, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    loop(tmp_path / "loop")
    event = {"shape": [1, 2, 2], "levels": 256}
    spec = {"flowkit": 1, "event": event, "flow": [{"use": "glow/actnorm"}], "data": {"use": use, "path": path}}
    assert (use if path else "the path is empty") in refused(train_spec, spec, tmp_path / "run")
    assert [each.name for each in tmp_path.iterdir()] == ["loop"]


IDX = "train-images-idx3-ubyte"


@pytest.mark.parametrize("make", [fifo, device, loop, Path.mkdir])
@pytest.mark.parametrize(("use", "name"), [("data/npy", "x.npy"), ("data/mnist", IDX), ("data/mnist", f"{IDX}.gz")])
def test_what_is_no_regular_file_is_not_waited_for(
    tmp_path: Path, use: str, name: str, make: Callable[..., None]
) -> None:
    make(tmp_path / name)
    text = refused(first_event_shape, spec_of(tmp_path / name if use == "data/npy" else tmp_path, use, (1, 2, 2)))
    assert "not" in text or "can't be read" in text


def idx(shape: tuple[int, ...], length: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(length)


def bomb(shape: tuple[int, ...]) -> bytes:
    """2 GB of zeros in 2 MB, as many members: to make one of 2 GB would take long."""
    member = gzip.compress(bytes(2**21))
    return gzip.compress(idx(shape, 0)) + member * 2**10


MNIST = {
    "text": (IDX, SECRET.encode(), "not an idx file"),
    "overflowing": (IDX, idx((2**32 - 1, 2**32 - 1, 2**32 - 1), 0), "far more than"),
    "huge": (IDX, idx((2**31, 2, 2), 16), "far more than"),
    "truncated": (IDX, idx((100, 2, 2), 399), "399 follow"),
    "longer": (IDX, idx((100, 2, 2), 401), "more follow"),
    "no images": (IDX, idx((0, 2, 2), 0), "labels-idx1"),
    "bomb": (f"{IDX}.gz", bomb((100, 2, 2)), "more follow"),
    "bomb that announces itself": (f"{IDX}.gz", bomb((2**31, 1, 1)), "far more than"),
    "no gzip": (f"{IDX}.gz", SECRET.encode(), "can't be read"),
    "truncated gzip": (f"{IDX}.gz", gzip.compress(idx((100, 2, 2), 400))[:-9], "truncated"),
}


@pytest.mark.parametrize(("name", "content", "message"), MNIST.values(), ids=MNIST)
def test_idx_files_that_lie(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    text = refused(first_event_shape, spec_of(tmp_path, "data/mnist", (1, 2, 2)))
    assert message in text and "secret" not in text and "726f6f74" not in text.replace(" ", "")


@pytest.mark.parametrize("noise", [1e38, 1.7e308])
def test_toys_with_absurd_noise(noise: float) -> None:
    assert outcome(first_event_shape, spec_of("", "data/toy", name="moons", noise=noise))[0] == "refused"


def test_numbers_beyond_float32_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((100, 2), 1e300))
    assert "row 0 (counted from 0) holds NaN or infinity in float32" in refused(
        first_event_shape, spec_of(tmp_path / "x.npy")
    )
