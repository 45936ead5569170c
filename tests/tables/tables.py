"""A small table with all kinds of columns, and its spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

N = 300


def small_table() -> pa.Table:
    """p(x, k | c, y, t): x has a missing value in row 5, c in row 7 and y in row 9."""
    random = np.random.default_rng(0)
    kind = random.integers(0, 2, N)
    columns: dict[str, Any] = {
        "unused": ["text"] * N,
        "t": [f"2020-01-{1 + i % 28:02}" for i in range(N)],
        "k": random.poisson(4, N),
        "c": [None if i == 7 else "ab"[k] for i, k in enumerate(kind)],
        "y": [None if i == 9 else float(v) for i, v in enumerate(random.normal(3, 2, N))],
        "part": random.choice(["train", "val", "test"], N, p=[0.6, 0.2, 0.2]),
        "x": [None if i == 5 else float(v) for i, v in enumerate(random.normal(size=N) + 3 * kind)],
    }
    return pa.table(columns)


def written(table: pa.Table, path: Path) -> Path:
    """Write a table in the format of the suffix."""
    writers = {
        ".csv": pyarrow.csv.write_csv,
        ".parquet": pyarrow.parquet.write_table,
        ".arrow": lambda table, path: pyarrow.feather.write_feather(table, path, compression="uncompressed"),
    }
    writers[path.suffix](table, str(path))
    return path


def small_spec(file: Path, **data: Any) -> dict[str, Any]:
    network = {"use": "glow/mlp", "hidden": 8}
    return {
        "flowkit": 1,
        "event": {"shape": [2]},
        "context": {"shape": [6]},
        "flow": [
            {"use": "glow/actnorm"},
            {"coupling": {"use": "glow/affine"}, "conditioner": network},
            {"use": "glow/permute"},
            {"coupling": {"use": "glow/affine"}, "conditioner": network},
        ],
        "data": {
            "use": "data/table",
            "path": str(file),
            "event": [{"column": "x"}, {"column": "k", "kind": "integer"}],
            "context": [
                {"column": "c", "kind": "category", "categories": ["a", "b", None]},
                {"column": "y", "offset": 3, "scale": 2, "fill": 3},
                {"column": "t", "kind": "time", "offset": 18270, "scale": 10},
            ],
            "missing": "drop",
            **data,
        },
        "train": {"epochs": 2, "batch_size": 32},
    }
