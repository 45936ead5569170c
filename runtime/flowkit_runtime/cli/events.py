"""Reads and encodes events for commands, and writes events as an array or a picture."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.atomic import replacing
from flowkit_runtime.cli.options import wanted
from flowkit_runtime.cli.progress import counting
from flowkit_runtime.errors import InputError, shortened
from flowkit_runtime.inputs import Array, points
from flowkit_runtime.preprocessing import complete_context
from flowkit_runtime.streaming.opening import open_source
from flowkit_runtime.streaming.outputs import event_columns, write_rows
from flowkit_runtime.streaming.sources import (
    Wanted,
    all_contexts,
    context_file,
    extra,
    naming_file,
    naming_rows,
    no_context,
    rows_at_once,
)
from flowkit_runtime.streaming.table_sources import column_types, columns_of, in_batches
from flowkit_runtime.streaming.tables import TABLES, open_table

if TYPE_CHECKING:
    from flowkit_runtime.model import Model


def contexts_of(model: Model, given: str | None) -> tuple[Array | None, dict[str, Any] | None]:
    """Return all contexts for the value of `--context`, and the columns of a table that they come from."""
    if given is not None and Path(given).suffix.lower() in TABLES:
        return _contexts_of_table(model, Path(given))
    if context_file(given) is None and model.preprocessing is not None and model.preprocessing.context:
        columns = shortened(model.preprocessing.context_columns)
        why = "this flow needs a context" if given is None else f"the context {shortened(repr(given))} is no table"
        raise InputError(f"{why}: --context FILE.csv, with {columns}")
    if given is None and model.context is not None:
        raise no_context(model.context)
    return all_contexts(Wanted(model.event_shape, model.levels, model.context, context_from=given)), None


def _contexts_of_table(model: Model, path: Path) -> tuple[Array, dict[str, Any]]:
    """Return the contexts [n, c], or the labels [n], of a table, and its columns as Arrow arrays by name.

    Raises InputError, which names the row, for a missing value.
    """
    preprocessing = model.preprocessing
    if preprocessing is None or not preprocessing.contexts:
        raise InputError(f"{path}: this flow takes no context from a table")
    of_context, table = replace(preprocessing, event=()), open_table(path)
    table.check_columns(of_context.kinds)
    whole = next(in_batches(table.records(column_types(of_context)), sys.maxsize), None)
    if whole is None:
        raise InputError(f"{path} has no rows")
    columns = columns_of(whole)
    with naming_file(path):
        return complete_context(preprocessing, columns), columns


def event(model: Model, data: Path, columns: str, resize: bool, row: int) -> Array:
    """Return one event of a file or folder, [*event].

    Raises InputError if there is no such row, or if it isn't an event of this model.
    """
    without_context = replace(wanted(model, columns, "", None, resize), context=None)
    found = next(open_source(data, _complete(without_context)).batches(row, 1), None)
    if found is None:
        raise InputError(f"{data} has no row {row} (rows count from 0)")
    with naming_rows(data):
        points("x", found[0], row, model.levels)
    return found[0][0]


TOLERANCE = 1e-4
"""The largest reconstruction error of a restored event of real numbers, relative to its largest value or to 1."""


@dataclass
class Encoded:
    """Encoded events, and their reconstruction errors.

    Attributes:
        latents: z_1, z_2, …, [n, *shape] each.
        errors: the largest error of each event, [n]; empty if the events weren't decoded again.
        lost: the rows, counted from 0, that aren't restored.
    """

    latents: tuple[NDArray[np.float32], ...]
    errors: NDArray[np.float64]
    lost: list[int]


def encoded(model: Model, data: Path, part: Wanted, check: bool = False) -> Encoded:
    """Encode all events of a file or folder. With `check`, decode them again.

    Raises InputError, which names the file and the row, if a row isn't an event of this model.
    """
    parts = [tuple(np.empty((0, *shape), np.float32) for shape in model.latent_shapes)]
    errors, lost = [np.empty(0)], []
    rows, source = 0, open_source(data, _complete(part))
    with counting("encoding", source.rows) as progress:
        for events, context in source.batches(0, rows_at_once(model.event_shape, model.context)):
            with naming_rows(data):
                parts.append(model.encode(events, context, start=rows))
                if check:
                    errors.append(model.reconstruction_error(events, context, start=rows))
                    lost += [rows + int(i) for i in np.flatnonzero(errors[-1] > _tolerated(model, events))]
            rows += len(events)
            progress(rows)
    return Encoded(tuple(np.concatenate(each) for each in zip(*parts, strict=True)), np.concatenate(errors), lost)


def _complete(part: Wanted) -> Wanted:
    """Return what is wanted, of which no row may lack a value: only scores may be missing."""
    return replace(part, preprocessing=part.preprocessing and replace(part.preprocessing, missing="refuse"))


def _tolerated(model: Model, events: Array) -> Array | float:
    """Return the largest error of each event that counts as restored: 0 for integer data."""
    if model.levels is not None:
        return 0.0
    return TOLERANCE * np.maximum(1.0, np.abs(events.reshape(len(events), -1)).max(axis=1))


def write_events(events: Array, model: Model, path: Path, beside: Mapping[str, Any] | None = None) -> None:
    """Write events [n, *event] as an array (.npy), a table (.csv, .parquet) or a grid of images (.png).

    A table has the columns that the flow was trained on, or else f0, f1 and so on, behind those ``beside`` the events.
    Raises InputError for a table of images, a picture without events, or one of events that aren't images: [1, 3 or 4,
    height, width] of integers.
    """
    levels = model.levels
    if path.suffix in (".csv", ".parquet"):
        if events.ndim != 2:
            shape = list(events.shape[1:])
            raise InputError(f"{path}: events of this flow are {shape}, no rows of a table; write .npy")
        _write_table({**(beside or {}), **event_columns(events, model)}, path)
        return
    if path.suffix == ".npy":
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(events))
            file.write(events.data)  # unlike np.save, this reports why writing fails
        return
    if events.ndim != 4 or events.shape[1] not in (1, 3, 4) or levels is None:
        images = "images, [1, 3 or 4, height, width] of whole numbers"
        raise InputError(f"{path}: events of this flow are no {images}; write .npy")
    if not len(events):
        raise InputError(f"{path}: there are no events to draw; write .npy")
    picture = extra("PIL.Image", "pillow", "writing a picture").fromarray(_grid(events, levels))
    with replacing(path) as temporary:
        picture.save(temporary)


def _write_table(columns: Mapping[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            with temporary.open("w", newline="", encoding="utf-8") as file:
                write_rows(file, columns, [columns.values()])
        else:
            arrow, parquet = (extra(name, "pyarrow", "writing Parquet") for name in ("pyarrow", "pyarrow.parquet"))
            parquet.write_table(arrow.table(dict(columns)), temporary)


def _grid(images: Array, levels: int) -> Array:
    """Return images [n, c, h, w] as one grid of bytes, [down, across(, c)], with lines of one pixel between them."""
    n, channels, height, width = images.shape
    across = math.ceil(math.sqrt(n))
    down = math.ceil(n / across)
    tiles = np.full((down * across, channels, height + 1, width + 1), 255, np.uint8)
    tiles[:n, :, :-1, :-1] = np.round(images * (255.0 / (levels - 1)))
    rows = tiles.reshape(down, across, channels, height + 1, width + 1)
    grid = rows.transpose(0, 3, 1, 4, 2).reshape(down * (height + 1), across * (width + 1), channels)[:-1, :-1]
    return grid[..., 0] if channels == 1 else grid
