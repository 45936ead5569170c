"""Writes scores as .npy, .csv or .parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.streaming.part import Part
from flowkit_runtime.streaming.sources import Source, extra

if TYPE_CHECKING:
    from flowkit_runtime.model import Model


@dataclass(frozen=True)
class ScoreTable:
    """The scores of all rows, and the columns beside them in a table.

    Attributes:
        part: the scores.
        threshold: the score above which an event is anomalous; None leaves that column out.
        source: the events. If they have names, these are a column. Where an event lacks a value, there is no score.
        classes: the classes whose probabilities are columns.
    """

    part: Part
    threshold: float | None
    source: Source
    classes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        names, flags = ["file"] * (self.source.names is not None), ["anomalous"] * (self.threshold is not None)
        return [*names, "score", *flags, *(f"p({name})" for name in self.classes)]

    def blocks(self) -> Iterator[list[Any]]:
        """Yield the columns of some thousand rows at a time."""
        first = 0
        for rows in self.part.row_blocks():
            scores, *posterior = rows.T
            names = [] if self.source.names is None else [self.source.names[first : first + len(scores)]]
            anomalous = [] if self.threshold is None else [~(scores <= self.threshold)]
            yield [*names, *without_lacking([scores, *anomalous, *posterior], self.source.drops_rows)]
            first += len(scores)


def write(result: ScoreTable, path: Path) -> None:
    """Write a file in the format of the suffix of `path`.

    A .npy file has only the scores, a table one row per event.
    """
    {".npy": _write_npy, ".csv": _write_csv, ".parquet": _write_parquet}[path.suffix](result, path)


def _write_npy(result: ScoreTable, path: Path) -> None:
    with path.open("wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (result.part.rows,)}
        np.lib.format.write_array_header_1_0(file, header)
        for scores in result.part.blocks():
            file.write(scores.tobytes())


def _write_csv(result: ScoreTable, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        write_rows(file, result.columns, result.blocks())


def write_rows(file: TextIO, names: Iterable[str], blocks: Iterable[Iterable[Any]]) -> None:
    """Write CSV: a line of names, and the rows of each block of columns."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for columns in blocks:
        writer.writerows(zip(*map(_cells, columns), strict=True))


def event_columns(events: NDArray[Any], model: Model) -> dict[str, NDArray[Any]]:
    """Return events [n, d] as the columns of the table that the flow was trained on, or else as f0, f1 and so on."""
    if model.preprocessing is not None:
        return model.to_table(events)
    return {f"f{i}": events[:, i] for i in range(events.shape[1])}


def without_lacking(columns: Sequence[NDArray[Any]], drops_rows: bool) -> list[NDArray[Any]]:
    """Return columns, the first of which are scores, with None where there is no score, as the event lacks a value."""
    if not drops_rows or not (lacking := np.isnan(columns[0])).any():
        return list(columns)
    return [with_none(column, lacking) for column in columns]


def with_none(column: NDArray[Any], places: NDArray[np.bool_]) -> NDArray[Any]:
    """Return a column of objects, with None in these places."""
    objects = column.astype(object)
    objects[places] = None
    return objects


def _cells(column: Any) -> Any:
    """Return a column, an array or a sequence, for CSV.

    Floats become the shortest decimals that restore them, booleans 0 and 1, and times texts.
    """
    if not isinstance(column, np.ndarray):
        return column.to_pylist() if hasattr(column, "to_pylist") else column  # Arrow's arrays have the method
    if column.dtype == object:  # some values are missing
        return [int(value) if isinstance(value, bool) else value for value in column.tolist()]
    if column.dtype.kind == "M":
        column = np.datetime_as_string(column)
    elif column.dtype == np.float32:
        column = column.astype(str)
    return (column.astype(np.uint8) if column.dtype == bool else column).tolist()


def _write_parquet(result: ScoreTable, path: Path) -> None:
    arrow, parquet = (extra(name, "pyarrow", "writing Parquet") for name in ("pyarrow", "pyarrow.parquet"))
    kinds = {"file": arrow.string(), "anomalous": arrow.bool_()}
    schema = arrow.schema([(name, kinds.get(name, arrow.float64())) for name in result.columns])
    with parquet.ParquetWriter(path, schema) as writer:
        for block in result.blocks():
            if result.source.names is not None:
                block[0] = [name.encode(errors="backslashreplace").decode() for name in block[0]]  # may not be UTF-8
            arrays = [arrow.array(column, kind.type) for column, kind in zip(block, schema, strict=True)]
            writer.write_batch(arrow.RecordBatch.from_arrays(arrays, schema=schema))
