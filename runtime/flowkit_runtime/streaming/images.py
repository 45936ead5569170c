"""Reads a folder of images as events [channels, height, width] of integers 0 … 255."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from flowkit_runtime.errors import InputError
from flowkit_runtime.inputs import Array, row_slices
from flowkit_runtime.streaming.sources import (
    EventRows,
    Source,
    Wanted,
    context_identity,
    contexts,
    extra,
    file_identity,
)

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_SIDE = 32  # the size of images of different sizes, if none is chosen
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""The formats that are read, whatever a file's name is. Pillow's other formats may start programs, as EPS does."""
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's modes for numbers of channels."""
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF tag of the orientation, and its values for images whose width and height are exchanged."""
_EIGHT_BITS = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})
"""Pillow's modes of at most eight bits per channel. Pillow clips the values of other modes instead of scaling them."""


class ImageReader:
    """Reads images as arrays [channels, height, width] of bytes, converted as browsers show them on a canvas.

    An image is rotated according to its EXIF orientation, and converted to the channels (1 grey, 3 RGB, 4 RGBA). If it
    is transparent and there are three channels or one, it is drawn on black. An image of another size is an error, or
    its centre is cropped to the aspect ratio of events, and resized. Of an animation, the first frame counts.
    """

    def __init__(self, shape: tuple[int, ...], resize: bool) -> None:
        self._image, self._ops = (extra(name, "pillow", "reading images") for name in ("PIL.Image", "PIL.ImageOps"))
        self._mode, self._size, self._resize = MODES[shape[0]], (shape[2], shape[1]), resize

    def read(self, path: Path) -> Array:
        """Return one image. Raises InputError if it can't be read, or has another size."""
        with _opened(path) as image:
            converted = self._converted(path, image)
        pixels = np.asarray(converted, np.uint8)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # [c, h, w]

    def _converted(self, path: Path, image: Any) -> Any:
        if image.mode not in _EIGHT_BITS:
            advice = "save it as RGB or grey with 8 bits, or all images as one array in a .npy file"
            raise InputError(f"{path} has more than 8 bits a channel, or other ones (mode {image.mode}): {advice}")
        with suppress(SyntaxError):  # Pillow raises it for invalid EXIF data, which browsers ignore
            image = self._ops.exif_transpose(image)
        if image.size != self._size and not self._resize:
            found, needed = (f"{width} × {height}" for width, height in (image.size, self._size))
            raise InputError(f"{path} is {found} pixels, events of this flow are {needed}; --resize brings it there")
        if image.has_transparency_data and self._mode != "RGBA":
            image = image.convert("RGBA")
            image = self._image.alpha_composite(self._image.new("RGBA", image.size, "black"), image)
        image = image.convert(self._mode)
        if image.size == self._size:
            return image
        return self._ops.fit(image, self._size, self._image.Resampling.BICUBIC)


class Images(Source):
    """The images of a folder, sorted by name. Its sub-folders and other files are ignored."""

    names: Sequence[str]

    def __init__(self, path: Path, wanted: Wanted) -> None:
        shape = wanted.event_shape
        if len(shape) != 3 or shape[0] not in MODES or wanted.levels != 256:
            kind = "any real numbers" if wanted.levels is None else f"whole numbers below {wanted.levels}"
            raise InputError(
                f"{path} is a folder of images, [1, 3 or 4, height, width] of whole numbers below 256, and events of "
                f"this flow are {list(shape)} of {kind}: save them as .npy"
            )
        self.path, self.names = path, [file.name for file in image_files(path)]
        if not self.names:
            raise InputError(f"{path} holds no images ({', '.join(sorted(SUFFIXES))})")
        self.rows = len(self.names)
        self._reader = ImageReader(shape, wanted.resize)
        self._context, self.lacks_class = contexts(wanted, lambda: self.rows), wanted.lacks_class
        files: list[Any] = [file_identity(path / name) for name in self.names]
        self.identity = [files, wanted.resize, *context_identity(wanted)]

    def batches(self, start: int, size: int) -> Iterator[EventRows]:
        for part in row_slices(self.rows, size, start):
            yield np.stack([self._reader.read(self.path / name) for name in self.names[part]]), self._context(part)


def common_shape(files: Sequence[Path]) -> list[int]:
    """Return the channels, height and width that all images have. Without a common size it is 32 × 32.

    Raises InputError if one can't be read.
    """
    sizes, grey = set(), True
    for path in files:
        with _opened(path) as image:
            sizes.add(_upright_size(image))
            grey = grey and image.mode in ("1", "L", "LA", "La")
    width, height = sizes.pop() if len(sizes) == 1 else (_SIDE, _SIDE)
    return [1 if grey else 3, height, width]


def _upright_size(image: Any) -> tuple[int, int]:
    """Return width and height of an image that is rotated according to its EXIF orientation."""
    width, height = image.size
    with suppress(SyntaxError):  # Pillow raises it for invalid EXIF data
        if image.getexif().get(_ORIENTATION) in _SIDEWAYS:
            return height, width
    return width, height


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an image with Pillow. Errors inside the block become an InputError that names the file."""
    pillow = extra("PIL.Image", "pillow", "reading images")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about some images that it can read
            with pillow.open(path, formats=_FORMATS) as image:
                yield image
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise many types of errors
        raise InputError(f"{path} can't be read as an image: {error}") from error


def image_files(folder: Path) -> list[Path]:
    """Return the images in a folder, sorted by name.

    Raises InputError for a broken link, or a file that isn't regular.
    """
    found = sorted(path for path in folder.iterdir() if _is_named_like_an_image(path) and not path.is_dir())
    for path in found:
        if not path.is_file():
            raise InputError(f"{path} is a link to nothing, or no regular file: remove it, or put the image there")
    return found


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder that aren't hidden, sorted by name."""
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _is_named_like_an_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
