"""Opens a source of events: an array, a table, or a folder of images."""

from __future__ import annotations

from pathlib import Path

from flowkit_runtime.errors import InputError
from flowkit_runtime.streaming.images import Images, image_files
from flowkit_runtime.streaming.sources import NpySource, Source, Wanted
from flowkit_runtime.streaming.table_sources import NumberTable, PreprocessedTable
from flowkit_runtime.streaming.tables import TABLES


def open_source(path: Path, wanted: Wanted) -> Source:
    """Open a .npy file, a table, or a folder of images. Its rows can be read in order, from any row on.

    Raises InputError if the file has another format, can't be read, or doesn't hold what is wanted.
    """
    suffix = path.suffix.lower()
    table = suffix in TABLES
    if not table and (wanted.columns or wanted.context_columns):
        raise InputError(f"{path} is no table: columns can be chosen of {', '.join(TABLES)} files only")
    if wanted.context_columns and wanted.context_from is not None:
        raise InputError("the context comes from columns or from elsewhere, not both")
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if path.is_dir():
        if table or _holds_tables(path):
            raise InputError(f"{path} is a folder of tables: give one of its files at a time, or join them")
        return Images(path, wanted)
    if table and wanted.preprocessing is not None:
        takes_class = wanted.preprocessing.label is not None
        if wanted.columns or wanted.context_columns or (wanted.context_from is not None and not takes_class):
            raise InputError("this bundle knows the columns of its events and contexts: name none, and no context")
        return PreprocessedTable(path, wanted.preprocessing, wanted)
    if table:
        return NumberTable(path, wanted)
    if suffix != ".npy":
        raise InputError(f"{path} is neither a folder of images nor a file {', '.join(('.npy', *TABLES))}")
    return NpySource(path, wanted)


def _holds_tables(folder: Path) -> bool:
    """Return True for a folder with tables and no images."""
    return not image_files(folder) and any(file.suffix.lower() in TABLES for file in folder.iterdir())
