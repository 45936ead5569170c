"""Test log-likelihoods of autoregressive flows on UCI tables, flowkit's beside zuko's.

    FLOWKIT_UCI=path/to/tables .venv-bench/bin/python -m benchmarks.likelihood

Both libraries get the same networks, batches, optimizer and number of steps. The tables are protein.csv.gz and
kin40k.csv.gz of treforevans/uci_datasets, without a header. Each run is written to the results when it is done, and
isn't repeated: an interrupted command goes on where it was.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from benchmarks import environment
from benchmarks.autoregressive import CONTENDERS, MaskedFlow
from benchmarks.contender import Density
from benchmarks.progress import Progress

TABLES = ("protein", "kin40k")
LIBRARIES = ("flowkit", "zuko")
MODELS: Mapping[str, dict[str, Any]] = {"MAF(5)": {"layers": 5}, "NSF": {"layers": 3, "bins": 8}}
"""zuko's MAF with five layers, and zuko's NSF, which is autoregressive, with its three layers of eight bins."""
ROWS = 512
"""The rows of a step."""
LR = 1e-3
SHARES = (0.8, 0.1)
"""The shares of the rows that are trained on and left for validation; the rest is the test set."""

Split = tuple[Tensor, Tensor, Tensor]


def load(path: Path) -> Split:
    """Return training, validation and test rows, each column with mean 0 and variance 1 in the training rows.

    The permutation is drawn with seed 0. The validation rows aren't used: nothing is tuned here.
    """
    table = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype=np.float64))
    table = table[torch.randperm(len(table), generator=torch.Generator().manual_seed(0))]
    ends = [int(len(table) * share) for share in (SHARES[0], sum(SHARES))]
    train, validation, test = table.tensor_split(ends)
    center, scale = train.mean(0), train.std(0)
    train, validation, test = ((rows - center) / scale for rows in (train, validation, test))
    return train.float(), validation.float(), test.float()


def fit(density: Density, train: Tensor, steps: int, seed: int, progress: Progress) -> None:
    """Take steps of Adam on mean(-log_prob), with a learning rate that falls to 0 along half a cosine."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(density.module.parameters(), lr=LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    density.module.train()
    for _ in range(steps):
        x = train[torch.randint(len(train), (ROWS,), generator=generator)]
        optimizer.zero_grad()
        (-density.log_prob(x).mean()).backward()
        optimizer.step()
        schedule.step()
        progress.advance()


@torch.no_grad()
def log_likelihood(density: Density, rows: Tensor) -> float:
    """Return the mean log-likelihood of the rows, in nats, of the standardized data."""
    density.module.eval()
    return torch.cat([density.log_prob(part) for part in rows.split(4096)]).double().mean().item()


def run(split: Split, model: str, library: str, seed: int, steps: int, progress: Progress) -> dict[str, float]:
    """Train one flow. Return its log-likelihoods and the seconds that training took."""
    train, _, test = split
    torch.manual_seed(seed)
    density: Any = CONTENDERS[library](MaskedFlow(features=train.shape[1], **MODELS[model]))
    start = time.perf_counter()
    fit(density, train, steps, seed, progress)
    seconds = time.perf_counter() - start
    return {"test": log_likelihood(density, test), "train": log_likelihood(density, train), "seconds": seconds}


def report(results: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table: mean and standard error over the seeds, and the difference in standard errors of the two."""
    heads = ["", *LIBRARIES, "difference", "seeds"]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for table, model in product(TABLES, MODELS):
        values = [list(_values(results, table, model, library)) for library in LIBRARIES]
        if all(values):
            means, errors = [mean(each) for each in values], [_error(each) for each in values]
            cells = [f"{m:.3f} ± {e:.3f}" for m, e in zip(means, errors, strict=True)]
            error = math.hypot(*errors)
            difference = f"{means[0] - means[1]:+.3f} ({(means[0] - means[1]) / error:+.1f} s.e.)" if error else "–"
            lines.append(f"| {table}, {model} | {' | '.join(cells)} | {difference} | {min(map(len, values))} |")
    return "\n".join(lines)


def _values(results: Mapping[str, Mapping[str, float]], *names: str) -> Iterator[float]:
    """Yield the test log-likelihood of each seed."""
    prefix = "/".join([*names, ""])
    yield from (result["test"] for name, result in results.items() if name.startswith(prefix))


def _error(values: list[float]) -> float:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def place() -> Path:
    """Return the directory of the tables. Exits with code 2 if FLOWKIT_UCI doesn't name it."""
    directory = Path(os.environ.get("FLOWKIT_UCI", ""))
    missing = [name for name in TABLES if not (directory / f"{name}.csv.gz").exists()]
    if missing:
        files = ", ".join(f"{name}.csv.gz" for name in missing)
        raise typer.BadParameter(f"set FLOWKIT_UCI to the directory of the tables: there is no {files} in {directory}")
    return directory


def main(
    seeds: Annotated[int, typer.Option(help="Seeds 0, 1, …")] = 3,
    steps: Annotated[int, typer.Option(help=f"Of {ROWS} rows.")] = 3000,
    path: Annotated[Path, typer.Option("--json", help="Where results go, and are found again.")] = Path(
        "runs/likelihood.json"
    ),
) -> None:
    """Train MAF(5) and NSF of flowkit and of zuko on protein and kin40k, and compare test log-likelihoods.

    For example: FLOWKIT_UCI=data/uci python -m benchmarks.likelihood --seeds 3
    """
    torch.set_num_threads(environment.cores())
    tables = {name: load(place() / f"{name}.csv.gz") for name in TABLES}
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
    results = kept.get(str(steps), {})
    with Progress() as progress:
        for seed, table, model, library in product(range(seeds), TABLES, MODELS, LIBRARIES):
            name = f"{table}/{model}/{library}/{seed}"
            if name not in results:
                progress.begin(name, steps)
                results[name] = run(tables[table], model, library, seed, steps, progress)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({**kept, str(steps): results}, indent=1), "utf-8")
    print(report(results))


if __name__ == "__main__":
    typer.run(main)
