"""Defines train and resume, which turn a spec into a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from flowkit.allocator import keep_freed_memory
from flowkit.errors import FlowkitError, InputError
from flowkit.flow import Flow
from flowkit.plugin import Arrays, PartName
from flowkit.spec import Spec, to_yaml
from flowkit.train.batches import take
from flowkit.train.building import new_flow, using_threads, with_weights
from flowkit.train.directory import check_free, read_resumable, with_absolute_paths
from flowkit.train.loggers import check_logger
from flowkit.train.results import Results

if TYPE_CHECKING:
    from rich.console import Console

    from flowkit.train.fit import Trained


def train(spec: Spec, directory: Path) -> Results:
    """Fit the spec's flow to its data, in a new directory.

    A run that was interrupted, or even killed, can be resumed from its last complete epoch. This function seeds torch's
    global generator, and makes the process keep the memory that it frees (see ``flowkit.allocator``).

    Raises DataError, PluginError, InputError if the flow has no trainable parameters, RunError if ``directory`` is in
    use, TrainingError if a loss isn't finite or a process was killed, and FlowkitError if there are not enough devices.
    """
    require_extra()
    from flowkit.train import launching  # these imports take seconds
    from flowkit.train.here import train_here

    spec, directory = with_absolute_paths(spec), directory.resolve()
    check_free(directory)
    check_logger(spec.train.logger)
    if launching.needs_launch(spec.train):
        return launching.launch(spec.train, train_here, to_yaml(spec), directory)
    return train_here(spec, directory)


def fit_arrays(spec: Spec, data: Mapping[PartName, Arrays], console: Console) -> tuple[Flow, Trained]:
    """Fit the spec's flow to arrays, the parts train and val, without a run. Return it with its best weights.

    The data must have been checked (``fitting_arrays``). The progress is shown on the console. torch's global
    generators are afterwards as they were before. Raises InputError if the flow has no trainable parameters, and
    TrainingError if a loss isn't finite.
    """
    require_extra()
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
        return with_weights(flow, trained.weights), trained


def resume(directory: Path, overrides: Sequence[str] = (), finish: bool = False) -> Results:
    """Continue an interrupted run. It reaches the same results as without the interruption.

    ``overrides`` are texts such as ``train.epochs=60``. They may change how long the run is trained (train.epochs,
    train.minutes), on how many devices and threads (train.devices, train.num_nodes, train.accumulate, train.threads),
    and where its data is read from (data). With overrides, a finished run is trained for longer. The learning rate then
    follows the new schedule. With ``finish`` nothing more is trained: the run is finished with the best weights so far.

    Raises RunError if there is no such run, if another process trains it, or if its data or spec have changed. Raises
    SpecError or TrainingError.
    """
    spec = read_resumable(directory, overrides)
    require_extra()
    from flowkit.train import launching
    from flowkit.train.here import resume_here

    check_logger(spec.train.logger)
    if not finish and launching.needs_launch(spec.train):
        return launching.launch(spec.train, resume_here, directory.resolve(), tuple(overrides))
    return resume_here(directory, overrides, finish)


def require_extra() -> None:
    """Raise FlowkitError unless Lightning Fabric is installed."""
    if find_spec("lightning_fabric") is None:
        raise FlowkitError("training needs pytorch-lightning: pip install 'flowkit-nf[train]'")
