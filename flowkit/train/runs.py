"""Defines train and resume, which turn a spec into a finished run."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from flowkit.allocator import keep_freed_memory
from flowkit.directions import lacks
from flowkit.errors import DataError, FlowkitError, InputError, RunError, TrainingError
from flowkit.flow import Flow
from flowkit.plugin import Arrays, PartName
from flowkit.plugin.descriptor import Likelihood
from flowkit.spec import Spec, Train, likelihood, read_spec, to_yaml
from flowkit.spec.run import RESULTS, WEIGHTS, first_invalid
from flowkit.train.batches import Batch, arrays_of, take
from flowkit.train.classes import class_shares
from flowkit.train.data import load_data, load_run_data
from flowkit.train.directory import (
    begin_training,
    check_free,
    create,
    forget,
    keep_checkpoint,
    read_resumable,
    record,
    taking,
    with_absolute_paths,
)
from flowkit.train.evaluation import best_device, evaluate
from flowkit_runtime.atomic import replacing
from flowkit_runtime.bundle import LIKELIHOODS
from flowkit_runtime.files import read_json

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from rich.console import Console

    from flowkit.train.fit import Trained

TEST_DRAWS = 8
"""The number of draws of dequantization noise for the test score."""


class Results(BaseModel):
    """The content of results.json. Scores are in ``unit``; lower is better."""

    unit: Literal["nats", "bits/dim"]
    likelihood: Likelihood
    """How the likelihood was computed."""
    test: float
    """The score of the test part, averaged over several draws of dequantization noise."""
    val: float
    """The validation score of the best epoch, whose weights are saved."""
    best_epoch: int
    epochs: int
    parameters: int
    weights: Literal["ema", "raw"]
    """`ema` if the saved weights are the moving average of the trained ones, `raw` if they are the trained ones."""
    seconds: float
    """The total time of all epochs, without interruptions."""
    classes: dict[str, float] | None = None
    """The share of each class in the training part, in the order of the labels; None without classes."""

    @property
    def printed_unit(self) -> str:
        """The unit as it is printed. It says so if scores come from a bound of the likelihood."""
        return self.unit + LIKELIHOODS[self.likelihood]


def read_results(directory: Path) -> Results:
    """Return the results of a finished run. Raises RunError if the file is damaged."""
    try:
        return Results.model_validate(read_json(directory / RESULTS))
    except ValidationError as error:
        raise RunError(f"{directory / RESULTS} can't be read ({first_invalid(error)})") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{directory / RESULTS} can't be read ({error})") from error


def train(spec: Spec, directory: Path) -> Results:
    """Fit the spec's flow to its data, in a new directory.

    A run that was interrupted, or even killed, can be resumed from its last complete epoch. This function seeds torch's
    global generator, and makes the process keep the memory that it frees (see ``flowkit.allocator``).

    Raises DataError, PluginError, InputError if the flow has no trainable parameters, RunError if ``directory`` is in
    use, TrainingError if a loss isn't finite or a process was killed, and FlowkitError if there are not enough devices.
    """
    require_extra()
    from flowkit.train import launching

    spec, directory = with_absolute_paths(spec), directory.resolve()
    check_free(directory)
    if launching.needs_launch(spec.train):
        return launching.launch(spec.train, _train, to_yaml(spec), directory)
    return _train(spec, directory)


def _train(given: Spec | str, directory: Path) -> Results:
    """Train in this process, which may be one of several."""
    from flowkit.train.devices import connected, first

    keep_freed_memory()
    spec = given if isinstance(given, Spec) else read_spec(given)
    flow = new_flow(spec)  # errors of the flow and of the data are raised before the directory is created
    data = load_data(spec)
    with connected(spec.train) as fabric, using_threads(spec.train.threads), ExitStack() as stack:
        first(fabric, lambda: create(spec, directory, data))
        first(fabric, lambda: stack.enter_context(taking(directory)))
        return _finish(flow, data, directory, fabric)


def fit_arrays(spec: Spec, data: Mapping[PartName, Arrays], console: Console) -> tuple[Flow, Trained]:
    """Fit the spec's flow to arrays, the parts train and val, without a run. Return it with its best weights.

    The data must have been checked (``fitting_arrays``). The progress is shown on the console. torch's global
    generators are afterwards as they were before. Raises InputError if the flow has no trainable parameters, and
    TrainingError if a loss isn't finite.
    """
    require_extra()
    from flowkit.train import launching  # this import takes seconds

    keep_freed_memory()
    devices = range(torch.accelerator.device_count()) if torch.accelerator.is_available() else ()
    with torch.random.fork_rng(devices), using_threads(spec.train.threads):
        flow = new_flow(spec)
        if launching.needs_launch(spec.train):
            shared = {part: take(arrays, slice(None)) for part, arrays in data.items()}
            trained = launching.launch(spec.train, _fit_tensors, to_yaml(spec), shared, console.quiet)
        else:
            trained = _fit(flow, data, console)
        return with_weights(flow, trained.weights), trained


def _fit_tensors(spec: str, data: Mapping[PartName, Batch], quiet: bool) -> Trained:
    """Fit the flow of a spec in one of several processes."""
    from rich.console import Console

    keep_freed_memory()
    arrays = {part: arrays_of(batch) for part, batch in data.items()}
    flow = new_flow(read_spec(spec))
    with using_threads(flow.to_spec().train.threads):
        return _fit(flow, arrays, Console(quiet=quiet))


def _fit(flow: Flow, data: Mapping[PartName, Arrays], console: Console) -> Trained:
    from flowkit.train.devices import connected
    from flowkit.train.fit import fit_flow

    settings = flow.to_spec().train
    with connected(settings) as fabric:
        return fit_flow(flow, settings, data, console=console, fabric=fabric)


def resume(directory: Path, overrides: Sequence[str] = (), finish: bool = False) -> Results:
    """Continue an interrupted run. It reaches the same results as without the interruption.

    ``overrides`` are texts such as ``train.epochs=60``. They may change how long the run is trained (train.epochs,
    train.minutes), on how many devices and threads (train.devices, train.num_nodes, train.accumulate, train.threads),
    and where its data is read from (data). With overrides, a finished run is trained
    for longer. The learning rate then follows the new schedule. With ``finish`` nothing more is
    trained: the run is finished with the best weights so far.

    Raises RunError if there is no such run, if another process trains it, or if its data or spec have changed. Raises
    SpecError or TrainingError.
    """
    spec = read_resumable(directory, overrides)
    require_extra()
    from flowkit.train import launching

    if not finish and launching.needs_launch(spec.train):
        return launching.launch(spec.train, _resume, directory.resolve(), tuple(overrides))
    return _resume(directory, overrides, finish)


def _resume(directory: Path, overrides: Sequence[str], finish: bool = False) -> Results:
    """Continue a run in this process, which may be one of several."""
    from flowkit.train.devices import connected, first

    keep_freed_memory()
    spec = read_resumable(directory, overrides)
    with connected(Train() if finish else spec.train) as fabric, ExitStack() as stack:
        first(fabric, lambda: stack.enter_context(taking(directory)))
        stack.enter_context(using_threads(spec.train.threads))
        return _finish(new_flow(spec), load_run_data(directory, spec), directory, fabric, finish)


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


def require_extra() -> None:
    """Raise FlowkitError unless Lightning Fabric is installed."""
    if find_spec("lightning_fabric") is None:
        raise FlowkitError("training needs pytorch-lightning: pip install 'flowkit-nf[train]'")


def new_flow(spec: Spec) -> Flow:
    """Build the flow of a spec as its `train` section says.

    Raises InputError if it has no trainable parameters.
    """
    torch.manual_seed(spec.train.seed)
    flow = Flow.from_spec(spec)
    flow.memory = spec.train.memory
    if spec.train.compile:
        flow.compile("step" if spec.train.compile == "step" else "flow")
    if not any(parameter.requires_grad for parameter in flow.parameters()):
        raise InputError("there is nothing to train: no layer of the flow has parameters that learn; add some")
    return flow


def _finish(flow: Flow, data: dict[PartName, Arrays], directory: Path, fabric: Fabric, now: bool = False) -> Results:
    """Train, unless ``now`` is set. Then write the files of a finished run, results.json last.

    Raises RunError if ``now`` is set and there is no checkpoint.
    """
    from flowkit.train.devices import first
    from flowkit.train.fit import find_checkpoint, finish_early, fit_flow  # these imports take seconds

    spec, keep = flow.to_spec(), partial(keep_checkpoint, directory)
    checkpoint = find_checkpoint(flow, spec.train, data["train"], directory)
    fabric.barrier()  # what was found changes now
    first(fabric, lambda: record(spec, directory, data))
    if not now:
        first(fabric, lambda: begin_training(directory, checkpoint))
        trained = fit_flow(flow, spec.train, data, checkpoint, keep, fabric=fabric)
    elif checkpoint is not None:
        trained = finish_early(flow, spec.train, data, checkpoint, keep)
    else:
        raise RunError(
            f"{directory} has no whole epoch yet, and so nothing to finish with: `flowkit train --resume {directory}` "
            "goes on with it"
        )
    flow = with_weights(flow, trained.weights, fabric.device)
    first(fabric, lambda: _write_weights(flow, trained, data["val"], directory))
    results = Results(
        unit=flow.unit,
        likelihood=likelihood(spec),
        test=_test(flow, data["test"], directory, fabric),
        val=trained.best,
        best_epoch=trained.best_epoch,
        epochs=len(trained.rows),
        parameters=sum(parameter.numel() for parameter in flow.parameters()),
        weights="raw" if spec.train.ema is None else "ema",
        seconds=round(sum(row.seconds for row in trained.rows), 1),
        classes=class_shares(data["train"], spec.context),
    )
    first(fabric, lambda: _write_results(results, directory))
    return results


def _write_weights(flow: Flow, trained: Trained, validation: Arrays, directory: Path) -> None:
    from flowkit.train.pictures import draw_loss, draw_samples

    flow.save(directory / WEIGHTS)
    draw_loss(trained.rows, flow.printed_unit, directory / "loss.png")
    if not lacks(flow.directions, "inverse"):
        draw_samples(flow, validation, directory / "samples.png")


def _write_results(results: Results, directory: Path) -> None:
    with replacing(directory / RESULTS) as temporary:
        temporary.write_text(results.model_dump_json(indent=2) + "\n", encoding="utf-8")


def with_weights(flow: Flow, weights: dict[str, Tensor], device: torch.device | None = None) -> Flow:
    """Return a copy of the flow with these weights, in evaluation mode.

    The copy isn't compiled: compilation would take longer than the few passes that follow.
    """
    flow = copy.deepcopy(flow)
    flow.load_state_dict(weights)
    return flow.to(device or best_device()).eval()


def _test(flow: Flow, data: Arrays, directory: Path, fabric: Fabric) -> float:
    from flowkit.train.devices import first

    try:
        return evaluate(flow, data, flow.to_spec().train.batch_size, TEST_DRAWS, "test", fabric)
    except DataError as error:
        first(fabric, lambda: forget("test", directory))
        raise TrainingError(
            f"{error}. The flow is trained, but has no figure: look for outliers in the test part, and when they are "
            f"mended `flowkit train --resume {directory}` finishes the run. The other parts must stay as they are"
        ) from error
