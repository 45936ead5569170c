"""Writes scores as .npy, .csv or .parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.streaming.part import Part, Scores
from flowkit_runtime.streaming.sources import Source, extra


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
            yield [*names, *(self._without_lacking(scores, column) for column in (scores, *anomalous, *posterior))]
            first += len(scores)

    def _without_lacking(self, scores: Scores, column: Any) -> Any:
        """Return a column with None where the event lacks a value."""
        if not self.source.drops_rows or not (lacking := np.isnan(scores)).any():
            return column
        return with_none(column, lacking)


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
    import csv

    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(result.columns)
        for block in result.blocks():
            writer.writerows(zip(*map(csv_cells, block), strict=True))


def with_none(column: NDArray[Any], places: NDArray[np.bool_]) -> NDArray[Any]:
    """Return a column of objects, with None in these places."""
    objects = column.astype(object)
    objects[places] = None
    return objects


def csv_cells(column: NDArray[Any] | Sequence[str]) -> Any:
    """Convert a column for CSV: floats to the shortest decimals that restore them, booleans to 0 and 1."""
    if not isinstance(column, np.ndarray):
        return column
    if column.dtype == object:  # some values are missing
        return [int(value) if isinstance(value, bool) else value for value in column.tolist()]
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
