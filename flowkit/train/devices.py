"""Finds out on how many devices a training runs, and connects its processes with Lightning Fabric."""

from __future__ import annotations

import gc
import logging
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor

from flowkit.errors import FlowkitError
from flowkit.spec import Train
from flowkit.train.sharding import sharded

T = TypeVar("T")

NODE = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
"""The environment variables that each of several nodes needs: its number, and where the first node listens."""


def launched_by_others() -> bool:
    """Return True if torchrun, Ray Train or `launch` has started this process as one of several."""
    return all(name in os.environ for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))


def is_first() -> bool:
    """Return True in the process that speaks for all: a single one, or the first of those that others launched."""
    return not launched_by_others() or os.environ["RANK"] == "0"


def layout(settings: Train) -> tuple[int, int]:
    """Return the number of devices on a node, and the number of nodes.

    If others have launched the processes, all of them are used. Raises FlowkitError if the settings name another
    number, if this machine has fewer devices, if there is one device and train.strategy is fsdp, if an environment
    variable of NODE is missing, if the number of this process or node is too high, or if a batch has fewer events than
    there are processes.
    """
    devices, nodes = settings.devices, settings.num_nodes
    if launched_by_others():
        world = int(os.environ["WORLD_SIZE"])
        if devices * nodes not in (1, world):
            raise FlowkitError(
                f"{world} processes were launched, and train.devices: {devices} times train.num_nodes: {nodes} are "
                f"{devices * nodes}: leave both out, or launch as many"
            )
        devices = int(os.environ.get("LOCAL_WORLD_SIZE", world))
        nodes = max(1, world // devices)
    elif nodes > 1 and (missing := [name for name in NODE if name not in os.environ]):
        raise FlowkitError(
            f"train.num_nodes: {nodes} needs the environment variables {', '.join(NODE)} on each node, and there is no "
            f"{missing[0]}: set them, or start the command with torchrun"
        )
    if settings.strategy == "fsdp" and devices * nodes == 1:
        raise FlowkitError(
            "train.strategy: fsdp divides the weights among several devices, and there is one: set train.devices to 2 "
            "or more, or train.strategy to ddp"
        )
    _check(devices, nodes, settings)
    return devices, nodes


def _check(devices: int, nodes: int, settings: Train) -> None:
    processes = devices * nodes
    name, count = ("RANK", processes) if launched_by_others() else ("NODE_RANK", nodes)
    if 1 < count <= int(os.environ[name]):
        raise FlowkitError(
            f"the environment variable {name} is {os.environ[name]}: set it to a number from 0 to {count - 1}"
        )
    found = torch.accelerator.current_accelerator(check_available=True)
    here = (torch.accelerator.device_count() if found else os.cpu_count()) or 1
    if devices > here:
        kind = f"{found.type.upper()} device{'s' * (here > 1)}" if found else f"CPU core{'s' * (here > 1)}"
        raise FlowkitError(
            f"train.devices: {devices} is too many, as this machine has {here} {kind}: set at most {here}"
        )
    if processes > 1 and settings.batch_size < processes:
        raise FlowkitError(
            f"train.batch_size: {settings.batch_size} is less than one event for each of {processes} processes: set "
            f"{processes} or more"
        )


@contextmanager
def connected(settings: Train) -> Iterator[Fabric]:
    """Connect this process with the other processes of its training, if there are any, inside the block."""
    devices, nodes = layout(settings)
    if devices * nodes == 1:
        yield Fabric(devices=1, plugins=[LightningEnvironment()])  # otherwise SLURM's number of tasks may be refused
        return
    mine = not torch.distributed.is_initialized()  # Ray Train has connected its workers already
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)  # otherwise it prints how many processes there are
    try:
        fabric = Fabric(
            devices=devices,
            num_nodes=nodes,
            strategy=_strategy(settings, devices * nodes),
            plugins=[TorchElasticEnvironment()],
        )
        fabric.launch()
        fabric.barrier()  # all have read the run before the first process changes it
        yield fabric
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        logger.setLevel(level)
        if mine and torch.distributed.is_initialized():
            gc.collect()  # gloo hangs if the wrapped flow is freed after the connection
            torch.distributed.destroy_process_group()


def _strategy(settings: Train, processes: int) -> Strategy:
    if settings.strategy == "fsdp":
        divide = partial(sharded, by_network=settings.memory == "store")
        return ModelParallelStrategy(divide, data_parallel_size=processes, tensor_parallel_size=1)
    return DDPStrategy(static_graph=True)  # so that parameters without gradients are no error


def first(fabric: Fabric, action: Callable[[], object]) -> None:
    """Run an action in the first process, and let the others wait for it. An error is raised in all processes."""
    error: Exception | None = None
    if fabric.global_rank == 0:
        try:
            action()
        except Exception as raised:
            error = raised
    if fabric.world_size > 1:
        error = fabric.broadcast(error)
    if error is not None:
        raise error


def summed(fabric: Fabric, values: Tensor) -> Tensor:
    """Return the sum of the values of all processes, on the CPU. It is the same in all of them."""
    total = fabric.all_reduce(values.to(fabric.device), reduce_op="sum")
    assert isinstance(total, Tensor)
    return total.cpu()


def gathered(fabric: Fabric, value: T) -> list[T]:
    """Return the values of all processes, in their order."""
    values = [value] * fabric.world_size
    if fabric.world_size > 1:
        torch.distributed.all_gather_object(values, value)
    return values
