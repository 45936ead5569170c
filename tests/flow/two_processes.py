"""One of two processes, with half a batch and a flow of its own, under DistributedDataParallel.

``python -m tests.flow.two_processes RANK PORT DIRECTORY`` meets the other one at a TCPStore on this port, and leaves
what came of each case in DIRECTORY.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from itertools import product

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from flowkit.bijectors.memory import STRATEGIES
from flowkit.flow import Flow
from tests.flow.specs import batch, perturbed

CASES = list(product(("image", "arrays"), STRATEGIES))
"""Flows and memory strategies."""
ROWS = 6
"""Of the whole batch."""
PATIENCE = timedelta(seconds=60)
"""With the other process."""


def own(rank: int, name: str, strategy: str) -> tuple[Flow, Tensor, Tensor | None]:
    """The flow of a process, other parameters than the other's and initialized from its half; and that half."""
    flow = perturbed(name, seed=rank)
    flow.memory = strategy
    half = slice(rank * ROWS // 2, (rank + 1) * ROWS // 2)
    x, context = batch(flow, ROWS)
    x, context = x[half], None if context is None else context[half]
    flow.initialize(x, context)
    return flow, x, context


def state_and_gradients(rank: int, name: str, strategy: str) -> dict[str, Tensor]:
    """The flow's state once it is wrapped, and the gradients of a mean over the whole batch, by name.

    DistributedDataParallel is gone before the group is destroyed. Who lets go of a group last waits for its thread to
    end: DistributedDataParallel does so with Python's lock in hand, and the thread may be waiting for that.
    """
    flow, x, context = own(rank, name, strategy)
    parallel = DistributedDataParallel(flow)
    state = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
    parallel(x, context).mean().backward()
    return state | {f"gradient of {name}": p.grad for name, p in flow.named_parameters()}


def main(rank: int, port: int, directory: str) -> None:
    store = distributed.TCPStore("127.0.0.1", port, is_master=False, timeout=PATIENCE)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=PATIENCE)
    torch.save({case: state_and_gradients(rank, *case) for case in CASES}, f"{directory}/{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
