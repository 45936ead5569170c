"""Measures `flowkit-runtime serve` under the load of wrk, beside onnxruntime called directly.

    apt-get install wrk
    python -m benchmarks.serving exports/glow-mnist --minutes 5

The server and the direct calls take turns, so that whatever else the machine does burdens both. CPU time is compared,
not the time of the clock. wrk compares every answer with the runtime's scores: benchmarks/serving.lua.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen

import numpy as np

import flowkit_runtime
from flowkit_runtime.bundle import ENCODER, read_bundle
from flowkit_runtime.session import Graph, open_graphs

BODIES = 16
"""How many different bodies are sent."""
TICKS = os.sysconf("SC_CLK_TCK")
WRK_SCRIPT = Path(__file__).with_suffix(".lua")


@dataclass
class Turn:
    """What one turn of the load, and of the direct calls after it, took."""

    rows: int
    batches: Counter[int]
    seconds_per_row: float
    direct_per_row: float
    answers: int
    wrong: int
    p50: float
    p99: float
    megabytes: float


class Serving:
    """A server in a process of its own."""

    def __init__(self, bundle: Path, threads: int, batch: int) -> None:
        main = [sys.executable, "-c", "from flowkit_runtime.cli.main import main; main()"]
        options = ["--port", "0", "--threads", str(threads), "--batch", str(batch)]
        self.process = Popen([*main, "serve", f"it={bundle}", *options], stdout=PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def cpu(self) -> float:
        """Return the seconds of CPU time that the process has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def megabytes(self) -> float:
        """Return the memory that the process holds."""
        return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[0]) / 1024

    def batches(self) -> Counter[int]:
        """Return how many calls of the encoder had as many rows, rounded up to powers of two."""
        found = re.findall(
            r'flowkit_batch_rows_bucket\{bundle="it",graph="encode",le="(\d+).0"\} (\d+)', self._metrics()
        )
        counts = Counter[int]()
        below = 0
        for rows, count in found:
            counts[int(rows)], below = int(float(count)) - below, int(float(count))
        return counts

    def rows(self) -> int:
        """Return the rows of all calls of the encoder."""
        found = re.findall(r'flowkit_batch_rows_sum\{bundle="it",graph="encode"\} (\S+)', self._metrics())
        return int(float(found[0])) if found else 0

    def _metrics(self) -> str:
        text: bytes = urllib.request.urlopen(self.url.partition("/bundles")[0] + "/metrics").read()
        return text.decode()

    def stop(self) -> int:
        """End the server, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def requests_of(bundle: Path, rows: int) -> Iterator[Path]:
    """Yield a directory with bodies, and the scores that the runtime returns for them."""
    model = flowkit_runtime.load(bundle)
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(BODIES):
            x = model.sample(rows, seed=i, temperature=float(random.uniform(0.5, 1)))
            np.save(Path(folder) / f"{i}.npy", x)
            model.score(x, seed=i).tofile(Path(folder) / f"{i}.scores")
        yield Path(folder)


@contextmanager
def loaded(url: str, bodies: Path, clients: int, seconds: float) -> Iterator[Popen[str]]:
    """Let wrk send requests during the block, and then until it is done."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "60s", "--latency", "-s", str(WRK_SCRIPT)]
    environment = {**os.environ, "BODIES": str(bodies), "COUNT": str(BODIES)}
    with Popen([*command, f"{url}/score"], env=environment, stdout=PIPE, text=True) as wrk:
        yield wrk


def direct(graph: Graph, x: np.ndarray, batches: Counter[int], seconds: float) -> float:
    """Run batches of these sizes, in these proportions, and return the CPU seconds of a row."""
    sizes = [size for size, count in batches.items() for _ in range(round(100 * count / batches.total()))] or [len(x)]
    np.random.default_rng(0).shuffle(sizes)
    cpu, rows, until = _cpu(), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        size = sizes.pop(0)
        sizes.append(size)
        graph.session.run(["log_prob"], {"x": x[:size]})
        rows += size
    return (_cpu() - cpu) / rows


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def turn(serving: Serving, graph: Graph, x: np.ndarray, bodies: Path, options: argparse.Namespace) -> Turn:
    """Load the server, then call onnxruntime in the same batches.

    CPU time and rows are those in the middle of the load, when as many requests are read as are answered.
    """
    with loaded(serving.url, bodies, options.clients, options.seconds) as wrk:
        time.sleep(options.seconds / 6)
        cpu, before, rows = serving.cpu(), serving.batches(), serving.rows()
        time.sleep(options.seconds * 2 / 3)
        cpu, batches, rows = serving.cpu() - cpu, serving.batches() - before, serving.rows() - rows
        text = wrk.communicate()[0]
    answers, wrong = map(int, re.findall(r"compared (\d+) wrong (\d+)", text)[0])
    p50, p99 = (_milliseconds(re.findall(rf"{share}%\s+([\d.]+)(\w+)", text)[0]) for share in (50, 99))
    directly = direct(graph, x, batches, options.seconds / 2)
    return Turn(rows, batches, cpu / rows, directly, answers, wrong, p50, p99, serving.megabytes())


def _milliseconds(figure: tuple[str, str]) -> float:
    return float(figure[0]) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[figure[1]]


def main() -> None:
    """Print a line for each turn, and the figures of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--minutes", type=float, default=5, help="of load; direct calls take half as long besides")
    parser.add_argument("--seconds", type=float, default=30, help="of a turn")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rows", type=int, default=64, help="of a request")
    parser.add_argument("--batch", type=int, default=64, help="the server's option")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of onnxruntime, in both")
    options = parser.parse_args()
    graph = open_graphs(read_bundle(options.bundle), None, options.threads, spin=False)[ENCODER]
    model = flowkit_runtime.load(options.bundle)
    x = model.sample(max(options.batch, options.rows), seed=0).astype(np.float32)
    serving = Serving(options.bundle, options.threads, options.batch)
    with requests_of(options.bundle, options.rows) as bodies:
        with loaded(serving.url, bodies, options.clients, 5) as wrk:  # to warm up
            wrk.communicate()
        turns = []
        for _ in range(round(60 * options.minutes / options.seconds)):
            turns.append(turn(serving, graph, x, bodies, options))
            print(_line(turns[-1]), flush=True)
    print(json.dumps({**_summary(turns), "exit code": serving.stop()}))


def _line(each: Turn) -> str:
    ratio = each.seconds_per_row / each.direct_per_row
    cpu = f"{1e3 * each.seconds_per_row:.3f} ms of CPU a row, directly {1e3 * each.direct_per_row:.3f}: {ratio:.3f}"
    latency = f"p50 {each.p50:.0f} ms, p99 {each.p99:.0f} ms"
    mean = each.rows / each.batches.total()
    return f"{each.rows} rows in batches of {mean:.1f}, {cpu}; {latency}; {each.wrong} wrong; {each.megabytes:.0f} MB"


def _summary(turns: list[Turn]) -> dict[str, float]:
    served = sum(each.seconds_per_row * each.rows for each in turns) / sum(each.rows for each in turns)
    directly = float(np.mean([each.direct_per_row for each in turns]))
    return {
        "answers": sum(each.answers for each in turns),
        "wrong": sum(each.wrong for each in turns),
        "ratio of CPU time": round(served / directly, 3),
        "median ratio": round(float(np.median([each.seconds_per_row / each.direct_per_row for each in turns])), 3),
        "p50 ms": float(np.median([each.p50 for each in turns])),
        "p99 ms": max(each.p99 for each in turns),
        "MB at first": round(turns[0].megabytes),
        "MB at last": round(turns[-1].megabytes),
    }


if __name__ == "__main__":
    main()
