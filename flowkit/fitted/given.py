"""Reads the data that ``fit`` is given, arrays or tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flowkit.errors import InputError
from flowkit.fitted.arrays import as_arrays
from flowkit.fitted.result import FittedFlow, library_of
from flowkit.fitted.table_result import FittedTable
from flowkit.fitted.tables import complete, library_of_table, look_at_columns, weight_column, with_names
from flowkit.plugin import Arrays
from flowkit.spec import Spec
from flowkit.starting import Look, look_at_arrays
from flowkit_runtime.frames import is_table


@dataclass(frozen=True)
class FitInput:
    """The data that a flow is fitted to."""

    arrays: Arrays
    look: Look
    """What the arrays hold, and doubts about the data."""
    read: Callable[..., Arrays]
    """Reads other data in the same way: x, context and weight."""
    result: Callable[..., FittedFlow]
    """Makes what ``fit`` returns from the flow, its training, and the parts of the data."""
    domain: Any = None
    """The domain of the events as specs write it; None for the reals."""


def of_arrays(x: Any, context: Any, spec: Spec | None, weight: Any) -> FitInput:
    """Read arrays, or a Dataset of torch. Raises InputError or DataError."""
    arrays = as_arrays(x, context, weight)
    read = partial(as_arrays, classes=arrays.classes)
    return FitInput(arrays, _look(arrays, spec), read, partial(FittedFlow, library=library_of(x)))


def of_table(x: Any, context: Any, spec: Spec | None, label: str | None, weight: Any) -> FitInput:
    """Read a table. ``label`` and ``weight`` may name columns. Raises InputError or DataError."""
    columns, names = with_names(x, context)
    chosen = label is not None or not (context is None or is_table(context))
    if spec is not None and spec.preprocessing is not None and chosen:
        raise InputError("the section `data` of the spec lists the columns: leave out the names in context and label")
    column = weight_column(weight, spec)
    table = look_at_columns(columns, names, spec, label, column)
    preprocessing, column = table.preprocessing, column if table.weight is None else table.weight.name

    def read(x: Any, context: Any = None, weight: Any = None) -> Arrays:
        return complete(preprocessing, column, with_names(x, context)[0], weight)

    arrays = complete(preprocessing, column, columns, None if isinstance(weight, str) else weight)
    look = replace(_look(arrays, spec), doubts=table.doubts)
    result = partial(FittedTable, library=library_of_table(x), preprocessing=preprocessing)
    return FitInput(arrays, look, read, result, table.domain)


def _look(arrays: Arrays, spec: Spec | None) -> Look:
    """Look at arrays. Names of classes say how many there are, and so does a spec; some may have no event."""
    known = None if spec is None or spec.context is None else spec.context.classes
    return look_at_arrays(arrays.x, arrays.context, classes=len(arrays.classes) or known)
