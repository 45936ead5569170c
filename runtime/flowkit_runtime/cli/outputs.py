"""Checks the output path of a command before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from flowkit_runtime.bundle import MANIFEST
from flowkit_runtime.cli.options import names
from flowkit_runtime.errors import InputError
from flowkit_runtime.model import Model, load
from flowkit_runtime.streaming.images import image_files
from flowkit_runtime.streaming.sources import extra

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


def load_apart(
    bundle: Path, providers: str | None, threads: int | None, output: Path | None, context: str | None, **inputs: Path
) -> Model:
    """Load a bundle, and raise InputError if the output would overwrite a file that is read.

    Such files are those of the bundle, the context, and the `inputs`. Inputs are passed under the name that a message
    gives them.
    """
    model = load(bundle, names(providers), threads)
    if output is not None and output.exists():
        files = {"a file of the bundle": [bundle / name for name in (MANIFEST, *model.manifest["files"])]}
        for name, path in inputs.items():
            files[f"the {name} itself"] = image_files(path) if path.is_dir() else [path]
        check_apart(output, context, files)
    return model


def check_apart(output: Path, context: str | None, read: Mapping[str, list[Path]] | None = None) -> None:
    """Raise InputError if the output is the context, or one of the files that are read, by what a message says."""
    if not output.exists():
        return
    of_context = {} if context is None else {"the context itself": [Path(context)]}
    for what, files in {**of_context, **(read or {})}.items():
        if any(file.exists() and output.samefile(file) for file in files):
            raise InputError(f"{output} is {what}: name another output")
