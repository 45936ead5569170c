"""Data larger than the memory is trained on and scored: nothing copies it whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.extent import extent

SCRIPT = """
import re, resource, sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import lightning_fabric  # seconds, and memory, before the limit

import flowkit.train.fit, flowkit.train.pictures
from flowkit.flow import Flow
from flowkit.spec import read_spec
from flowkit.train import evaluate, load_data, train
from flowkit.train.baselines import baselines

rows, context, kind = int(sys.argv[1]), np.ones((1, 1), np.float32), sys.argv[2]
data = {"use": "data/npy", "path": "x.npy"}
if kind == "parquet":
    names = [f"c{i}" for i in range(512)]
    data = {"use": "data/table", "path": "x.parquet", "event": [{"column": name} for name in names]}
    some = np.random.default_rng(0).integers(0, 200, (512, 5000)) / 7
    batch = pa.record_batch([pa.array(column) for column in some], names)
    with pq.ParquetWriter("x.parquet", batch.schema) as writer:
        for _ in range(rows // 5000):
            writer.write_batch(batch)
else:
    x = np.lib.format.open_memmap("x.npy", "w+", np.dtype(kind), (rows, 512))  # a sparse file
    x[::97] = np.random.default_rng(0).integers(0, 200, (len(x[::97]), 512))
    del x
spec = read_spec({
    "flowkit": 1, "event": {"shape": [512], **({"levels": 256} if kind == "u1" else {})},
    "flow": [{"use": "glow/rescale"}, {"use": "glow/actnorm"}] if kind == "u1" else [{"use": "glow/actnorm"}],
    "data": data, "train": {"epochs": 1, "batch_size": 1024},
})
Flow.from_spec(spec).log_prob(__import__("torch").zeros(2, 512))
used = 1024 * int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_DATA, (used + 2**28, used + 2**28))  # writable memory; a mapped file is none
train(spec, Path("run"))
data = load_data(spec)
evaluate(Flow.load("run"), data["test"], 1024)
print(sorted(baselines(data["train"], data["test"], spec.event.levels)))
"""


SUITE = [("f8", 125_000), ("parquet", 125_000)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RLIMIT_DATA counts all writable memory on Linux")
@pytest.mark.parametrize(("kind", "rows"), extent(SUITE, [*SUITE, ("f4", 250_000), ("u1", 700_000)]))
def test_memory_does_not_grow_with_the_data(kind: str, rows: int, tmp_path: Path) -> None:
    """358 to 512 MB, of which the training part alone is larger than the limit."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(rows), kind], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    expected = "['gaussian', 'histogram']" if kind == "u1" else "['gaussian']"
    assert done.stdout.splitlines()[-1] == expected


ROWS = """
import re, resource, sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flowkit.spec import read_spec
from flowkit.train.batches import shuffled
from flowkit.train.data import load_data

kind, rows, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = {"use": "data/npy", "path": "x.npy"}
if kind == "parquet":
    data = {"use": "data/table", "path": "x.parquet", "event": [{"column": "x"}]}
    batch = pa.record_batch([pa.array(np.zeros(1_000_000, np.float32))], ["x"])
    with pq.ParquetWriter("x.parquet", batch.schema) as writer:
        for _ in range(rows // len(batch)):
            writer.write_batch(batch)
else:
    np.lib.format.open_memmap("x.npy", "w+", np.float32, (rows, 1))[::1000] = 1  # a sparse file
used = 1024 * int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_DATA, (used + limit, used + limit))
spec = read_spec({"flowkit": 1, "event": {"shape": [1]}, "flow": [{"use": "glow/actnorm"}], "data": data})
parts = load_data(spec)
batch = next(shuffled(parts["train"], 1024, 0, 0))
print(*(len(arrays.x) for arrays in (*parts.values(), batch)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RLIMIT_DATA counts all writable memory on Linux")
@pytest.mark.parametrize(
    ("kind", "rows", "limit"),
    extent([("npy", 20_000_000, 2**27)], [("npy", 20_000_000, 2**27), ("parquet", 40_000_000, 2**28)]),
)
def test_the_order_of_many_short_rows_is_not_held_in_memory(kind: str, rows: int, limit: int, tmp_path: Path) -> None:
    """The indices of the rows take 8 bytes each, which is more than the limit."""
    command = [sys.executable, "-c", ROWS, kind, str(rows), str(limit)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [str(rows * 8 // 10), str(rows // 10), str(rows // 10), "1024"]
