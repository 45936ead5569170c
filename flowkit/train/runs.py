"""Defines train and resume, which turn a spec into a finished run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch

from flowkit.allocator import keep_freed_memory
from flowkit.errors import FlowkitError, InputError
from flowkit.flow import Flow
from flowkit.flow.inputs import as_flowkit
from flowkit.plugin import Arrays, PartName
from flowkit.spec import Spec, read_spec, to_yaml
from flowkit.train.batches import take
from flowkit.train.building import new_flow, using_threads, with_weights
from flowkit.train.directory import check_free, read_resumable, with_absolute_paths
from flowkit.train.loggers import check_logger
from flowkit.train.results import Results
from flowkit_runtime.files import as_path

if TYPE_CHECKING:
    from rich.console import Console

    from flowkit.train.fit import Trained

_RANKS, _SIZES = range(1_000_000), range(1, 1_000_000)
NUMBERS = {
    "RANK": _RANKS,
    "LOCAL_RANK": _RANKS,
    "NODE_RANK": _RANKS,
    "SLURM_PROCID": _RANKS,
    "JSM_NAMESPACE_RANK": _RANKS,
    "WORLD_SIZE": _SIZES,
    "LOCAL_WORLD_SIZE": _SIZES,
    "MASTER_PORT": range(1, 65536),
}
"""The environment variables that say which process of a training this one is. Libraries read them as integers."""


def train(spec: Spec | str | PathLike[str] | Mapping[str, Any], directory: str | PathLike[str]) -> Results:
    """Fit the spec's flow to its data, in a new directory.

    A run that was interrupted, or even killed, can be resumed from its last complete epoch. This function seeds torch's
    global generator, and makes the process keep the memory that it frees (see ``flowkit.allocator``).

    Args:
        spec: The spec, which names its data. Or what ``read_spec`` takes, such as the name of a spec file.
        directory: The directory of the run, which must be free.

    Returns:
        The content of results.json, which ends a finished run.

    Raises:
        SpecError: If the spec isn't valid.
        DataError: If the data can't be read, or doesn't fit the spec.
        PluginError: If a plugin is broken.
        InputError: If the flow has no trainable parameters, or ``directory`` is no path.
        RunError: If the directory is in use.
        TrainingError: If a loss isn't finite, or a process was killed.
        FlowkitError: If there are not enough devices, a package for training is missing, or an environment variable
            such as RANK is no number.
    """
    check_ready()
    from flowkit.train import launching  # these imports take seconds
    from flowkit.train.here import train_here

    spec = with_absolute_paths(spec if isinstance(spec, Spec) else read_spec(spec))
    run = as_flowkit(as_path, "the directory of a run", directory).resolve()
    check_free(run)
    check_logger(spec.train.logger)
    if launching.needs_launch(spec.train):
        return launching.launch(spec.train, train_here, to_yaml(spec), run)
    return train_here(spec, run)


def fit_arrays(spec: Spec, data: Mapping[PartName, Arrays], console: Console) -> tuple[Flow, Trained]:
    """Fit the spec's flow to arrays without a run.

    The data must have been checked (``fitting_arrays``). torch's global generators are afterwards as they were before.

    Args:
        spec: The spec. Its section `data` isn't read.
        data: The parts ``"train"`` and ``"val"``.
        console: The console that shows the progress.

    Returns:
        The flow with its best weights, and the outcome of the training.

    Raises:
        InputError: If the flow has no trainable parameters, or the spec names a logger.
        TrainingError: If a loss isn't finite.
        FlowkitError: If a package for training is missing, or an environment variable such as RANK is no number.
    """
    check_ready()
    if spec.train.logger != "csv":
        raise InputError(f"train.logger: {spec.train.logger} is for runs: the history of the result has all metrics")
    from flowkit.train import launching
    from flowkit.train.here import fit_here, fit_tensors

    keep_freed_memory()
    devices = range(torch.accelerator.device_count()) if torch.accelerator.is_available() else ()
    with torch.random.fork_rng(devices), using_threads(spec.train.threads):
        flow = new_flow(spec)
        if launching.needs_launch(spec.train):
            shared = {part: take(arrays, slice(None)) for part, arrays in data.items()}
            trained = launching.launch(spec.train, fit_tensors, to_yaml(spec), shared, console.quiet)
        else:
            trained = fit_here(flow, data, console)
        return with_weights(spec, trained.weights), trained


def resume(directory: str | PathLike[str], overrides: Sequence[str] = (), finish: bool = False) -> Results:
    """Continue an interrupted run. It reaches the same results as without the interruption.

    Args:
        directory: The directory of the run.
        overrides: Texts such as ``train.epochs=60``. They may change how long the run is trained (train.epochs,
            train.minutes, train.patience), on how many devices and threads (train.devices, train.num_nodes,
            train.strategy, train.accumulate, train.threads), its logger (train.logger), and where its data is read from
            (data). With overrides, a finished run is trained for longer. The learning rate then follows the new
            schedule.
        finish: Train nothing more, and finish the run with the best weights so far.

    Returns:
        The content of results.json.

    Raises:
        InputError: If ``directory`` is no path.
        RunError: If there is no such run, another process trains it, or its data or spec have changed.
        SpecError: If the spec isn't valid.
        TrainingError: If a loss isn't finite, or a process was killed.
        FlowkitError: If there are not enough devices, a package for training is missing, or an environment variable
            such as RANK is no number.
    """
    run = as_flowkit(as_path, "the directory of a run", directory)
    spec = read_resumable(run, overrides)
    check_ready()
    from flowkit.train import launching
    from flowkit.train.here import resume_here

    check_logger(spec.train.logger)
    if not finish and launching.needs_launch(spec.train):
        return launching.launch(spec.train, resume_here, run.resolve(), tuple(overrides))
    return resume_here(run, overrides, finish)


def check_ready() -> None:
    """Raise FlowkitError if no training can begin: Lightning Fabric isn't installed, or libraries would fail.

    They would on the values of the environment variables in NUMBERS.
    """
    if find_spec("lightning_fabric") is None:
        raise FlowkitError("training needs lightning-fabric: pip install '.[train]', in a clone of flowkit")
    for name, numbers in NUMBERS.items():
        value = os.environ.get(name, str(numbers[0]))
        if not value.isdecimal() or int(value) not in numbers:
            raise FlowkitError(
                f"the environment variable {name} is {value!r}, not a number from {numbers[0]} to {numbers[-1]}: unset "
                "it, or set it as torchrun does"
            )
