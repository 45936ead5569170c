"""Scores batches of columns, which Ray Data and Spark pass to workers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from flowkit_runtime.columns import no_columns
from flowkit_runtime.errors import InputError, quoted
from flowkit_runtime.inputs import Array, as_array, enough_memory, listed, real
from flowkit_runtime.model import load
from flowkit_runtime.providers import Provider


class Scorer:
    """Maps a batch (columns by name) to the same batch with a column `score`, and `anomalous` if there is a threshold.

    A worker creates one Scorer, which loads the bundle once, and calls it for each batch. With Ray Data:

        dataset.map_batches(Scorer, fn_constructor_args=("bundle",), concurrency=4)

    Only unusually unlikely events are anomalous, never unusually likely ones: see `Model.anomalous`. Marginal scores,
    those of a flow whose context is a class that isn't given, have no `anomalous`.

    An event is one column of arrays [n, *event_shape], or as many columns of numbers as it has values. For integer data
    the dequantization noise depends on the row within the batch. Scores then depend on how the data is divided into
    batches, and they do so less with more `draws`.

    Args:
        bundle: The directory of the bundle, as seen by the workers.
        columns: The columns that make an event; by default all except `context_columns`. A flow that was trained on a
            table knows its columns, and those of its context.
        context_columns: The columns that make its context; by default none.
        draws: The number of draws of dequantization noise, see `Model.score`.
        seed: The seed of that noise.
        threads: The threads that one scorer may use; 1 suits workers that share a machine.
        providers: Execution providers of onnxruntime, see `load`.
    """

    def __init__(
        self,
        bundle: str | PathLike[str],
        columns: Sequence[str] = (),
        context_columns: Sequence[str] = (),
        draws: int = 1,
        seed: int = 0,
        threads: int | None = 1,
        providers: Sequence[Provider] | None = None,
    ) -> None:
        self._columns, self._context_columns = listed("columns", columns), listed("context_columns", context_columns)
        self._arguments = bundle, self._columns, self._context_columns, draws, seed, threads, providers
        self._model = load(bundle, providers, threads)
        self._draws, self._seed = draws, seed

    def __reduce__(self) -> tuple[type[Scorer], tuple[Any, ...]]:
        """Pickle the arguments only, so that another process loads the bundle itself."""
        return type(self), self._arguments

    @enough_memory()
    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return `batch` with its scores. Raises InputError if a column is missing, or if rows can't be scored."""
        if not hasattr(type(batch), "keys"):
            raise InputError(f"a batch is a mapping, from names to columns; got {quoted(batch)}")
        model = self._model
        if model.preprocessing is not None and not (self._columns or self._context_columns):
            return self._scored(batch, *model.from_table(batch, self._seed))
        columns = self._columns or [name for name in batch if name not in self._context_columns]
        events = _joined(batch, columns, model.event_shape)
        context = None
        if self._context_columns:
            context = _joined(batch, self._context_columns, () if model.context is None else model.context.shape)
        return self._scored(batch, events, context)

    def _scored(self, batch: Mapping[str, Any], events: Array, context: Array | None) -> dict[str, Any]:
        model = self._model
        scores = model.score(events, context, self._draws, self._seed)
        anomalous = {} if model.threshold_for(context) is None else {"anomalous": model.anomalous(scores)}
        return {**batch, "score": scores, **anomalous}


def _column(name: str, values: Any) -> Array:
    """Return one column of a batch as an array. Arrow and pandas represent columns of arrays as arrays of objects."""
    if isinstance(values, list | tuple):
        return real(name, values)
    array = as_array(name, values)
    return real(name, list(array) if array.dtype == object and array.ndim else array)


def _joined(batch: Mapping[str, Any], columns: Sequence[str], shape: tuple[int, ...]) -> Array:
    """Return the columns as one array [n, *shape]."""
    if missing := [name for name in columns if name not in batch]:
        raise InputError(
            f"the batch has {no_columns([*map(str, missing)], map(str, batch))}; it has {', '.join(map(str, batch))}"
        )
    arrays = [_column(str(name), batch[name]) for name in columns]
    if len(rows := {len(array) for array in arrays if array.ndim}) > 1:
        raise InputError(f"columns differ in their number of rows: {', '.join(map(str, sorted(rows)))}")
    if len(arrays) == 1 and arrays[0].shape[1:] == shape:
        return arrays[0]
    if any(array.ndim != 1 for array in arrays) or len(arrays) != math.prod(shape):
        found = ", ".join(f"{name} {list(array.shape)}" for name, array in zip(columns, arrays, strict=True))
        wanted = f"one column of arrays {list(shape)}, or {math.prod(shape)} of numbers"
        raise InputError(f"{wanted}, are wanted; got {found or 'none'}")
    return np.stack(arrays, 1).reshape(-1, *shape)
