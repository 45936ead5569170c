"""The page's reader of picture files, run by Node: a picture that is too large is refused before it is decoded."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from tests.web.node import said, with_modules

pytestmark = pytest.mark.slow

SCRIPT = """
const { readPicture } = await import("./images.js");
const headers = HEADERS;
const said = {};
for (const [name, hex] of Object.entries(headers)) {
  const decoded = [];
  globalThis.createImageBitmap = async (file) => decoded.push(file.name) && Promise.reject();
  try {
    await readPicture(new File([Buffer.from(hex, "hex")], name), [3, 8, 8]);
  } catch (error) {
    said[name] = [error.message, decoded.length];
  }
}
console.log(JSON.stringify(said));
"""


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s2I5B", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)


def jpeg(width: int, height: int, kind: int = 0xC0) -> bytes:
    """The segments JFIF, a comment and the frame of a JPEG file."""
    frame = struct.pack(">BHH", 8, height, width) + bytes(10)
    segments = {0xE0: b"JFIF\0" + bytes(9), 0xFE: b"a comment", kind: frame}
    parts = (struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body for marker, body in segments.items())
    return b"\xff\xd8" + b"".join(parts)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int]]:
    """What the page says of each file, and how often it decoded it."""
    files = {
        "large.png": png(30_000, 30_000),
        "large.jpg": jpeg(30_000, 30_000),
        "progressive.jpg": jpeg(60_000, 15_000, 0xC2),
        "small.png": png(10_000, 10_000),
        "small.jpg": jpeg(10_000, 10_000),
        "cut.jpg": jpeg(30_000, 30_000)[:30],
        "text.png": b"no picture",
    }
    place: Path = with_modules(tmp_path_factory.mktemp("node"), ("images.js",))
    headers = {name: content.hex() for name, content in files.items()}
    found = said(place, SCRIPT.replace("HEADERS", json.dumps(headers)))
    return {name: tuple(answer) for name, answer in found.items()}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("large.png", "30000 × 30000"),
        ("large.jpg", "30000 × 30000"),
        ("progressive.jpg", "60000 × 15000"),
    ],
)
def test_a_picture_of_900_megapixels_is_not_decoded(answers: dict[str, tuple[str, int]], name: str, size: str) -> None:
    assert answers[name] == (f"{name} is too large, {size} pixels: at most 100 million. Make it smaller.", 0)


@pytest.mark.parametrize("name", ["small.png", "small.jpg", "cut.jpg", "text.png"])
def test_any_other_file_is_left_to_the_browser(answers: dict[str, tuple[str, int]], name: str) -> None:
    message = f"{name} is no picture that this browser can read: choose a PNG, JPEG or WebP file."
    assert answers[name] == (message, 1)
