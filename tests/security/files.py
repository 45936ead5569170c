"""Files that are not what their names say."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

SECRET = "root:x:0:0:secret"


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def header(shape: Any = (100, 2), descr: Any = "<f4", fortran: bool = False, raw: str | None = None) -> bytes:
    text = raw or repr({"descr": descr, "fortran_order": fortran, "shape": shape})
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path)


def outside(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def away(path: Path) -> None:
    """The file itself, but elsewhere."""
    path.symlink_to(moved := path.parent.parent / f"away-{path.name}")
    moved.write_text("{}")
