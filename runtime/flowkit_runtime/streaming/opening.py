"""Opens a source of events: an array, a table, or a folder of images."""

from __future__ import annotations

from pathlib import Path

from flowkit_runtime.errors import InputError
from flowkit_runtime.streaming.images import Images
from flowkit_runtime.streaming.sources import NpySource, Source, Wanted
from flowkit_runtime.streaming.tables import open_table


def open_source(path: Path, wanted: Wanted) -> Source:
    """Open a .npy, .csv or .parquet file, or a folder of images. Its rows can be read in order, from any row on.

    Raises InputError if the file has another format, can't be read, or doesn't hold what is wanted.
    """
    suffix = path.suffix.lower()
    table = suffix in (".csv", ".parquet")
    if not table and (wanted.columns or wanted.context_columns):
        raise InputError(f"{path} is no table: columns can be chosen of .csv and .parquet files only")
    if wanted.context_columns and wanted.context_from is not None:
        raise InputError("the context comes from columns or from elsewhere, not both")
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if path.is_dir():
        return Images(path, wanted)
    if table:
        return open_table(path, wanted)
    if suffix != ".npy":
        raise InputError(f"{path} is neither a folder of images nor a .npy, .csv or .parquet file")
    return NpySource(path, wanted)
