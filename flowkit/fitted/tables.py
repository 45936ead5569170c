"""Turns DataFrames and other tables into arrays for ``flowkit.fit``, and samples into tables of the same library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from numbers import Number
from typing import Any, Literal, get_args

import numpy as np

from flowkit.errors import InputError
from flowkit.fitted.arrays import weights_of
from flowkit.flow.inputs import as_flowkit
from flowkit.plugin import Arrays
from flowkit.spec import Spec
from flowkit.starting import TableLook, choose, see
from flowkit_runtime.columns import Preprocessing, no_columns
from flowkit_runtime.errors import shortened
from flowkit_runtime.frames import TableColumns, is_table
from flowkit_runtime.preprocessing import class_names, complete_context, decode, encode
from flowkit_runtime.values import as_numbers, as_text

TableLibrary = Literal["numpy", "pandas", "polars", "pyarrow"]
"""The library of a table. A mapping of columns is numpy's."""


def joined(x: Any, context: Any = None) -> TableColumns:
    """Return the columns of one or two tables as Arrow arrays. Raises InputError."""
    columns: TableColumns = as_flowkit(TableColumns, x)
    if context is None:
        return columns
    more: TableColumns = as_flowkit(TableColumns, context)
    if both := columns.keys() & more.keys():
        raise InputError(f"x and context both have a column {min(both)!r}")
    return columns | more


def with_names(x: Any, context: Any) -> tuple[TableColumns, list[str] | None]:
    """Return the columns of what ``fit`` is given, and the names of those that make the context, if it is given.

    ``context`` is a table, or a list of names of columns of ``x``. Raises InputError.
    """
    if context is None:
        return joined(x), None
    if _are_names(context):
        return joined(x), [str(name) for name in context]
    if not is_table(context):
        like = f", as in context=[{context!r}]" if isinstance(context, str) else ""
        raise InputError(f"x is a table: context must be one, too, or a list of names of its columns{like}")
    return joined(x, context), list(as_flowkit(TableColumns, context))


def look_at_columns(
    columns: TableColumns, context: list[str] | None, spec: Spec | None, label: str | None, weight: str | None
) -> TableLook:
    """Choose which columns make events and contexts, and how, as `flowkit new` does for a file.

    If ``context`` is given, these columns make the context, and the others make the event, without ``weight``. If the
    section `data` of ``spec`` lists columns, they are those. Raises DataError or InputError.
    """
    if spec is not None and spec.preprocessing is not None:
        return TableLook.of(_with_classes(spec.preprocessing, columns))
    seen = as_flowkit(see, [columns])
    if context is None:
        return choose(seen, "x", label=label, weight=weight)
    event = [name for name in columns if name not in (*context, weight)]
    return choose(seen, "x", event, context, label, weight)


def _with_classes(preprocessing: Preprocessing, columns: TableColumns) -> Preprocessing:
    """Return a preprocessing with the names of its label's classes, which are those in the data."""
    if preprocessing.label is None:
        return preprocessing
    texts = as_flowkit(as_text, column_of(columns, preprocessing.label.column), preprocessing.label.column)
    return replace(preprocessing, label=replace(preprocessing.label, categories=class_names(texts)))


def weight_column(weight: Any, spec: Spec | None) -> str | None:
    """Return the column of the weights: the one that ``weight`` names, or without it that of the spec's `data`.

    It is "" if there is none, and None if it is to be chosen.
    """
    if weight is not None:
        return weight if isinstance(weight, str) else ""
    return None if spec is None or spec.data is None else getattr(spec.data.config, "weight", None)


def library_of_table(table: Any) -> TableLibrary:
    """Return the library of a table."""
    name = type(table).__module__.partition(".")[0]
    return next((each for each in get_args(TableLibrary) if each == name), "numpy")


def as_labels(context: Any, label: str, n: int = 1) -> Any:
    """Return a class, or a list of classes, as a table of labels. Any other context is returned as it is.

    Classes are values of the column ``label``. A single one is repeated in n rows.
    """
    classes = [context] if isinstance(context, str | Number) else context
    if not isinstance(classes, list | tuple) or not all(isinstance(each, str | Number) for each in classes):
        return context
    return {label: [*classes] * (n if len(classes) == 1 else 1)}


def as_events(
    preprocessing: Preprocessing, columns: TableColumns, seed: int = 0
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return events [n, d] and contexts of columns as float32. Rows that lack a value hold NaN. Raises InputError."""
    dropping = replace(preprocessing, missing="drop")
    events, contexts = as_flowkit(encode, dropping, columns, 0, seed)
    if contexts is not None and contexts.ndim > 1:
        contexts = contexts.astype(np.float32)
    return events.astype(np.float32), contexts


def as_contexts(preprocessing: Preprocessing, context: Any) -> np.ndarray:
    """Return the contexts of a table as float32, or labels as int64. Raises InputError."""
    contexts: np.ndarray = as_flowkit(complete_context, preprocessing, as_flowkit(TableColumns, context))
    return contexts if preprocessing.label is not None else contexts.astype(np.float32)


def complete(
    preprocessing: Preprocessing, weight_column: str | None, columns: TableColumns, weight: Any = None
) -> Arrays:
    """Return the rows that lack no value, with these weights, or else those of a column. Raises InputError."""
    classes: tuple[str, ...] = ()
    if preprocessing.label is not None:
        classes = tuple(name for name in preprocessing.label.categories if name is not None)
        column_of(columns, preprocessing.label.column)
    events, contexts = as_events(preprocessing, columns)
    kept = ~np.isnan(events[:, 0])
    if not kept.any():
        raise InputError(f"x has no rows, or each lacks a value: {len(kept)} rows")
    weights = None if weight is None else weights_of(weight, len(events))
    if weight_column and weight is None:
        weights = as_flowkit(as_numbers, column_of(columns, weight_column), weight_column)
    return Arrays(
        events[kept],
        None if contexts is None else contexts[kept],
        tuple(column.column for column in preprocessing.event),
        kept.nonzero()[0],
        None if weights is None else weights[kept],
        classes,
    )


def column_of(columns: TableColumns, name: str) -> Any:
    """Return a column of x as an Arrow array. Raises InputError."""
    if name not in columns:
        raise InputError(f"x has {no_columns([name], columns)}; its columns are {shortened(', '.join(columns))}")
    return as_flowkit(columns.__getitem__, name)


def as_table(
    preprocessing: Preprocessing, events: np.ndarray, library: TableLibrary, beside: Any = None, rows: Any = None
) -> Any:
    """Return events as a table of a library. ``rows`` has for each event its row of the contexts ``beside`` them."""
    import pyarrow as arrow

    columns = dict(decode(preprocessing, events))
    if beside is not None:
        names = [column.column for column in preprocessing.contexts]
        given = as_flowkit(TableColumns, beside)
        columns = {name: given[name].take(rows) for name in names} | columns
    table = arrow.table(columns)
    if library == "pandas":
        return table.to_pandas()
    if library == "polars":
        return import_module("polars").from_arrow(table)
    if library == "pyarrow":
        return table
    return {name: table[name].to_numpy() for name in table.column_names}


def _are_names(context: Any) -> bool:
    return (
        isinstance(context, Sequence)
        and not isinstance(context, str)
        and all(isinstance(n, str | int) for n in context)
    )
