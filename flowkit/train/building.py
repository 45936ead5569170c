"""Builds the flow that is trained, sets it up as the spec says, and sets the threads that it runs on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from flowkit.errors import InputError
from flowkit.flow import Flow
from flowkit.spec import Spec
from flowkit.train.evaluation import best_device


def new_flow(spec: Spec) -> Flow:
    """Build the flow of a spec as its `train` section says.

    Raises InputError if it has a parameter that train.strategy: fsdp can't divide.
    """
    torch.manual_seed(spec.train.seed)
    flow = Flow.from_spec(spec)
    flow.memory = spec.train.memory
    if spec.train.compile:
        flow.compile("step" if spec.train.compile == "step" else "flow")
    whole = [name for name, parameter in flow.named_parameters() if parameter.ndim == 0]
    if spec.train.strategy == "fsdp" and whole:
        raise InputError(
            f"train.strategy: fsdp divides each parameter along its first axis, and {whole[0]} is a single number "
            "without axes: set train.strategy to ddp"
        )
    return flow


def with_weights(spec: Spec, weights: dict[str, Tensor], device: torch.device | None = None) -> Flow:
    """Build the flow of a spec with these weights, in evaluation mode.

    It isn't compiled: compilation would take longer than the few passes that follow.
    """
    flow = Flow.from_spec(spec)
    flow.load_state_dict(weights)
    return flow.to(device or best_device()).eval()


@contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Run torch's operators on this many threads inside the block, and on as many as before after it.

    None stands for the number in OMP_NUM_THREADS, which torch has read, or for one thread if it isn't set. OpenMP
    threads spin while they wait for each other. If other processes need the cores, steps on two threads took 9 to 24
    times as long as on one. On two idle cores, the second thread makes large steps up to 1.5 times faster, and small
    steps no faster.
    """
    before = torch.get_num_threads()
    given = re.match(r"\s*[1-9]", os.environ.get("OMP_NUM_THREADS", ""))  # OpenMP ignores 0 and what isn't a number
    torch.set_num_threads(threads or (before if given else 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)
