"""Checks the output path of a command before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flowkit_runtime.bundle import MANIFEST
from flowkit_runtime.errors import InputError
from flowkit_runtime.streaming.images import image_files
from flowkit_runtime.streaming.sources import extra

if TYPE_CHECKING:
    from flowkit_runtime.model import Model

EVENTS = (".npy", ".csv", ".parquet", ".png")
SCORES = (".npy", ".csv", ".parquet")
_NEEDS = {
    ".png": ("PIL.Image", "pillow", "writing a picture"),
    ".parquet": ("pyarrow.parquet", "pyarrow", "writing Parquet"),
}


def check_output(path: Path, suffixes: Iterable[str]) -> None:
    """Check that the path has one of the suffixes, is no directory, and that the package to write it is installed.

    Raises InputError otherwise.
    """
    if path.suffix not in suffixes:
        *others, last = suffixes
        raise InputError(f"{path} must end with {', '.join(others)}{' or ' * bool(others)}{last}")
    if path.is_dir():
        raise InputError(f"{path}: it is a directory, not a file to write to")
    if path.suffix in _NEEDS:
        extra(*_NEEDS[path.suffix])


def bundle_files(model: Model, bundle: Path) -> dict[str, list[Path]]:
    """Return the files that the model was loaded from, for `check_apart`."""
    return {"a file of the bundle": [bundle / name for name in (MANIFEST, *model.manifest["files"])]}


def check_apart(output: Path, own: Mapping[str, list[Path]], context: str | None, **inputs: Path) -> None:
    """Raise InputError if the output would overwrite a file that is read.

    Such files are the model's `own` files, the context, and the `inputs`. Inputs are passed under the name that a
    message gives them.
    """
    if not output.exists():
        return
    read = dict(own)
    if context is not None:
        read["the context itself"] = [Path(context)]
    for name, path in inputs.items():
        read[f"the {name} itself"] = image_files(path) if path.is_dir() else [path]
    for what, files in read.items():
        if any(file.exists() and output.samefile(file) for file in files):
            raise InputError(f"{output} is {what}: name another output")
