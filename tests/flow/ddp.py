"""Two processes, half a batch each: what DistributedDataParallel makes of their gradients is written to a file."""

from __future__ import annotations

import sys

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from tests.flow.specs import batch, perturbed


def main(rank: int, name: str, strategy: str, directory: str) -> None:
    """One of the processes. Gradients are averaged, and a loss that is a mean over the batch is of the whole batch."""
    distributed.init_process_group("gloo", init_method=f"file://{directory}/meeting", rank=rank, world_size=2)
    flow = perturbed(name)
    flow.memory = strategy
    x, context = batch(flow, 6)
    half = slice(3 * rank, 3 * rank + 3)
    parallel = DistributedDataParallel(flow)  # kept until the backward pass is over: it does the averaging
    parallel(x[half], None if context is None else context[half]).mean().backward()
    torch.save([p.grad for p in flow.parameters()], f"{directory}/{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
