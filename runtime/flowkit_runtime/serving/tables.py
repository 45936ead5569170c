"""Turns the tables that clients send, as CSV or as JSON records, into events and contexts."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from flowkit_runtime.columns import Preprocessing, no_columns
from flowkit_runtime.errors import InputError
from flowkit_runtime.inputs import Array
from flowkit_runtime.model import Model
from flowkit_runtime.preprocessing import for_columns
from flowkit_runtime.streaming.opening import open_source
from flowkit_runtime.streaming.sources import EventRows, Wanted, rows_at_once

MAX_FIELDS = 2**16
"""The most columns of a CSV body. pyarrow takes about a kilobyte for each."""


def read_csv(model: Model, raw: bytes, columns: str, context_columns: str, seed: int, most: int) -> EventRows:
    """Return the events and contexts of a CSV body, which is read as the command `score` reads a file.

    Raises InputError if it can't be read, holds other columns, or has more than `most` rows.
    """
    if raw[: raw.find(b"\n") + 1 or None].count(b",") >= MAX_FIELDS:
        raise InputError(f"the body has over {MAX_FIELDS} columns")
    chosen, of_context = (tuple(filter(None, text.split(","))) for text in (columns, context_columns))
    context = model.context if of_context else None
    wanted = Wanted(
        event_shape=model.event_shape,
        levels=None,  # as the values may be points
        context=context,
        columns=chosen,
        context_columns=of_context,
        preprocessing=model.preprocessing,
        seed=seed,
    )
    with TemporaryDirectory(prefix="flowkit-") as folder:
        path = Path(folder) / "body.csv"
        path.write_bytes(raw)
        try:
            return _all_rows(path, wanted, most)
        except InputError as error:
            message = str(error).replace("--context-columns", "context_columns").replace("--columns", "columns")
            raise InputError(message.replace(str(path), "the body")) from None


def _all_rows(path: Path, wanted: Wanted, most: int) -> EventRows:
    parts: list[EventRows] = []
    rows = 0
    for events, context in open_source(path, wanted).batches(0, rows_at_once(wanted.event_shape, wanted.context)):
        parts.append((events, context))
        rows += len(events)
        if rows > most:
            raise InputError(f"the body has more than {most} rows, which are the most that this server takes at once")
    if not parts:
        raise InputError("the body has no rows")
    contexts = [context for _, context in parts if context is not None]
    return np.concatenate([events for events, _ in parts]), np.concatenate(contexts) if contexts else None


def read_records(model: Model, records: Any, seed: int) -> EventRows:
    """Return the events and contexts of JSON records, for a flow that was trained on a table."""
    _check_records(records, "rows")
    preprocessing = for_columns(_preprocessing(model), {name for record in records for name in record})
    return model.from_table(_columns(records, "rows", list(preprocessing.kinds)), seed)


def context_records(model: Model, records: Any) -> Array:
    """Return the contexts of JSON records, or of a single one, for a flow that was trained on a table."""
    listed = [records] if isinstance(records, dict) else records
    _check_records(listed, "context")
    names = [column.column for column in _preprocessing(model).contexts]
    return model.context_from_table(_columns(listed, "context", names))


def are_records(value: Any) -> bool:
    """Return True for a JSON object, or a list that begins with one."""
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _preprocessing(model: Model) -> Preprocessing:
    if model.preprocessing is None:
        raise InputError("this flow wasn't trained on a table with named columns: give arrays, not objects")
    return model.preprocessing


def _check_records(records: Any, name: str) -> None:
    if not isinstance(records, list) or not records or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{name} must be a list of objects, one for each row")


def _columns(records: list[dict[str, Any]], name: str, wanted: list[str]) -> dict[str, list[Any]]:
    """Return the wanted columns of records. The value is missing (None) in a record without the column."""
    if missing := [column for column in wanted if not any(column in record for record in records)]:
        raise InputError(f"{name} has {no_columns(missing, records[0])}; the flow needs {', '.join(wanted)}")
    return {column: [record.get(column) for record in records] for column in wanted}
