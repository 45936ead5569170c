"""The dataset data/images: folders of images, with classes and mirror images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flowkit.errors import DataError, SpecError
from flowkit.spec import read_spec
from flowkit.starting import look, starting_spec
from flowkit.starting.table import TableLook
from flowkit.train import load_data
from flowkit_runtime.streaming.images import common_shape, image_files

SHAPE = [3, 4, 6]
RANDOM = np.random.default_rng(0)


def saved(folder: Path, n: int, size: tuple[int, int] = (4, 6), mode: str = "RGB") -> list[np.ndarray]:
    """Write images of random pixels, and return their arrays [height, width, …]."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [RANDOM.integers(0, 256, (*size, 3) if mode == "RGB" else size).astype(np.uint8) for _ in range(n)]
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{i:03}.png")
    return arrays


def spec(path: Path, shape: Any = SHAPE, **fields: Any) -> dict[str, Any]:
    return {
        "flowkit": 1,
        "event": {"shape": list(shape), "levels": 256},
        "flow": [{"use": "glow/rescale"}, {"use": "glow/actnorm"}],
        "data": {"use": "data/images", "path": str(path), **fields},
    }


def test_images_are_those_of_the_folder(tmp_path: Path) -> None:
    arrays = saved(tmp_path, 20)
    data = load_data(read_spec(spec(tmp_path)))
    found = np.concatenate([part.x[:] for part in data.values()])
    assert found.dtype == np.uint8 and [len(part.x) for part in data.values()] == [16, 2, 2]
    expected = np.stack(arrays).transpose(0, 3, 1, 2)
    assert sorted(image.tobytes() for image in found) == sorted(image.tobytes() for image in expected)


def test_folders_are_classes(tmp_path: Path) -> None:
    colours = {"blue": 200, "red": 10}
    for name, value in colours.items():
        (tmp_path / name).mkdir()
        for i in range(10):
            Image.fromarray(np.full((4, 6), value, np.uint8)).save(tmp_path / name / f"{i}.png")
    data = load_data(read_spec({**spec(tmp_path, [1, 4, 6]), "context": {"classes": 2}, "base": CLASSES}))
    for part in data.values():
        assert part.context is not None and part.classes == ("blue", "red")
        assert np.array_equal(part.x[:][:, 0, 0, 0], np.where(part.context[:] == 0, 200, 10))


CLASSES = {"use": "base/class_conditional_normal"}


def test_mirror_images_are_trained_on(tmp_path: Path) -> None:
    saved(tmp_path, 20)
    plain, flipped = (load_data(read_spec(spec(tmp_path, flip=flip))) for flip in (False, True))
    train = flipped["train"].x[:]
    assert len(train) == 32 and np.array_equal(train[:16], plain["train"].x[:])
    assert np.array_equal(train[16:], train[:16, :, :, ::-1])
    assert np.array_equal(flipped["test"].x[:], plain["test"].x[:])


def test_the_middle_is_brought_to_the_size(tmp_path: Path) -> None:
    """An image of 4 × 12 has the event's sides in its middle, and one of 8 × 12 is twice as large."""
    wide = saved(tmp_path / "wide", 10, (4, 12), "L")
    data = load_data(read_spec(spec(tmp_path / "wide", [1, 4, 6], fractions=[0.8, 0.1, 0.1])))
    found = {image.tobytes() for part in data.values() for image in part.x[:]}
    assert found == {image[None, :, 3:9].tobytes() for image in wide}
    Image.new("L", (12, 8), 77).save(tmp_path / "wide" / "large.png")
    data = load_data(read_spec(spec(tmp_path / "wide", [1, 4, 6])))
    assert any((image == 77).all() for part in data.values() for image in part.x[:])


def test_hidden_folders_are_no_classes(tmp_path: Path) -> None:
    """Jupyter makes a folder `.ipynb_checkpoints` beside the images that it shows."""
    for name, n in {"a": 10, "b": 10, ".ipynb_checkpoints": 1}.items():
        saved(tmp_path / name, n)
    found = look(str(tmp_path))
    assert not isinstance(found, TableLook) and found.offered == {"classes": 2} and found.rows == 16


def test_the_shape_is_that_of_images_that_are_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(10):
        Image.new("RGB", (12, 8)).save(tmp_path / f"{i}.jpg", exif=exif)
    assert common_shape(image_files(tmp_path)) == [3, 12, 8]
    Image.new("RGB", (12, 8)).save(tmp_path / "landscape.jpg")
    assert common_shape(image_files(tmp_path)) == [3, 32, 32]


REFUSED: dict[str, tuple[Any, str]] = {
    "no folder": (lambda path: path / "nowhere", "nowhere is no folder"),
    "no images": (lambda path: _made(path / "empty"), "empty holds no images"),
    "a file that is none": (lambda path: _broken(path), "can't be read as an image"),
    "images beside folders": (lambda path: _beside(path), "has images beside a: move them"),
    "too few": (lambda path: _few(path), "has 1 row, and 6 rows are needed"),
}


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def _broken(path: Path) -> Path:
    saved(path / "b", 9)
    (path / "b" / "x.png").write_bytes(b"no image")
    return path / "b"


def _beside(path: Path) -> Path:
    saved(path / "c", 3)
    saved(path / "c" / "a", 3)
    return path / "c"


def _few(path: Path) -> Path:
    saved(path / "d", 1)
    return path / "d"


@pytest.mark.parametrize("case", REFUSED)
def test_folders_that_are_refused(tmp_path: Path, case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(DataError, match=message):
        load_data(read_spec(spec(make(tmp_path))))


def test_an_event_that_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="give the event such a shape"):
        read_spec({**spec(tmp_path), "event": {"shape": [4], "levels": 256}})


@pytest.mark.parametrize(
    ("sizes", "mode", "shape"), [([(4, 6)], "RGB", [3, 4, 6]), ([(4, 6), (8, 8)], "L", [1, 32, 32])]
)
def test_a_spec_for_a_folder(tmp_path: Path, sizes: Any, mode: str, shape: list[int]) -> None:
    for i, size in enumerate(sizes):
        saved(tmp_path / f"class{i}", 20, size, mode)
    text = starting_spec(look(str(tmp_path)))
    made = read_spec(text)
    assert list(made.event.shape) == shape and made.event.levels == 256 and made.data is not None
    assert made.data.name == "data/images" and ("classes: 2" in text) == (len(sizes) == 2)
