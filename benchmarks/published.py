"""Glow as published for CIFAR-10, specs/glow-cifar10.yaml: what training steps take under each memory strategy.

    python -m benchmarks.published --batch 8 --steps 3 reversible checkpoint

CIFAR-10 isn't needed: crops of scikit-learn's two photographs are written to a .npy file, as the spec's data/npy reads
it. Each strategy runs in a process of its own, so that its peak memory, VmHWM, is the system's own figure.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from flowkit.cli.options import Overrides

SPEC = Path(__file__).parents[1] / "specs" / "glow-cifar10.yaml"
CROP = 32


def write_crops(path: Path, n: int = 512) -> None:
    """uint8 [n, 3, 32, 32], at places drawn with a seed."""
    from sklearn.datasets import load_sample_images

    generator, photographs = np.random.default_rng(0), load_sample_images().images
    crops = []
    for index in range(n):
        photograph = photographs[index % 2]
        top, left = (generator.integers(0, size - CROP) for size in photograph.shape[:2])
        crops.append(photograph[top : top + CROP, left : left + CROP].transpose(2, 0, 1))
    np.save(path, np.stack(crops))


def take_steps(data: Path, memory: str, batch: int, steps: int, overrides: list[str]) -> None:
    """Prints seconds a step, memory before and in the first forward and backward pass, and the losses."""
    import torch

    from flowkit.flow import Flow

    torch.manual_seed(0)
    flow = Flow.from_spec(SPEC, overrides)
    flow.memory = memory
    optimizer = torch.optim.Adamax(flow.parameters(), lr=1e-3)
    crops = torch.from_numpy(np.load(data))
    flow.initialize(flow.dequantize(crops[-batch:])[0])
    before = status("VmRSS")
    losses, seconds, peaks = [], [], []
    for step in range(steps + 1):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (step + 1) / 5000  # the spec's warm-up
        optimizer.zero_grad()
        loss = flow.in_unit(flow(flow.dequantize(crops[step * batch : (step + 1) * batch])[0])).mean()
        loss.backward()
        peaks.append(status("VmHWM"))  # the first has no optimizer's state in it
        optimizer.step()
        losses.append(f"{loss.item():.4f}")
        seconds.append(time.perf_counter() - start)
    parameters = sum(p.numel() for p in flow.parameters())
    print(
        f"{memory}: {parameters:,} parameters, batch {batch}: {np.median(seconds[1:]):.2f} s a step; "
        f"{before:,.0f} MB before "
        f"the first step, {peaks[0] - before:,.0f} MB more in it, {4e-6 * parameters:,.0f} of them gradients; with the "
        f"optimizer's state {status('VmHWM'):,.0f} MB; bits/dim {' '.join(losses)}"
    )


def status(key: str) -> float:
    """A figure of this process, in MB: VmRSS, what it has in memory, or VmHWM, the most that it had."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{key}:"))
    return int(line.split()[1]) / 1000


def main(
    strategies: Annotated[list[str] | None, typer.Argument(help="Of memory; all by default.")] = None,
    batch: int = 8,
    steps: Annotated[int, typer.Option(help="After one that warms up.")] = 3,
    overrides: Overrides = None,
) -> None:
    """Take training steps of Glow as published for CIFAR-10."""
    anew = ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1)
    with tempfile.TemporaryDirectory() as directory, anew:
        data = Path(directory, "crops.npy")
        write_crops(data)
        for memory in strategies or ["store", "checkpoint", "reversible"]:
            anew.submit(take_steps, data, memory, batch, steps, overrides or []).result()


if __name__ == "__main__":
    typer.run(main)
