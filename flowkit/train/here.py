"""Trains runs in this process, which may be one of several. It imports Lightning Fabric, which takes seconds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from lightning_fabric import Fabric
from rich.console import Console

from flowkit.allocator import keep_freed_memory
from flowkit.directions import lacks
from flowkit.errors import DataError, PictureWarning, RunError, TrainingError
from flowkit.flow import Flow
from flowkit.plugin import Arrays, PartName
from flowkit.plugin.failure import in_a_line
from flowkit.spec import Spec, Train, likelihood, read_spec
from flowkit.spec.run import RESULTS, WEIGHTS
from flowkit.train.batches import Batch, arrays_of
from flowkit.train.building import new_flow, using_threads, with_weights
from flowkit.train.checkpoint import Checkpoint, Row
from flowkit.train.data import class_shares, load_data, load_run_data
from flowkit.train.devices import connected, first
from flowkit.train.directory import (
    begin_training,
    create,
    forget,
    keep_checkpoint,
    read_resumable,
    record,
    taking,
)
from flowkit.train.evaluation import evaluate
from flowkit.train.fit import Trained, Training, check_goes_on, check_trainable, find_checkpoint, fit_flow
from flowkit.train.loggers import tracking
from flowkit.train.results import Results
from flowkit_runtime.atomic import replace_text

AfterEpoch = Callable[[Row], None]
"""A function that is called with the row of each epoch, after the files of the run are written."""

TEST_DRAWS = 8
"""The number of draws of dequantization noise for the test score."""


def train_here(
    given: Spec | str, directory: Path, console: Console | None = None, after_epoch: AfterEpoch | None = None
) -> Results:
    """Train a new run in this process, which may be one of several. The spec may be given as text."""
    keep_freed_memory()
    spec = given if isinstance(given, Spec) else read_spec(given)
    with using_threads(spec.train.threads), ExitStack() as stack:
        flow = new_flow(spec)  # errors of the flow and of the data are raised before the directory is created
        data = load_data(spec)
        fabric = stack.enter_context(connected(spec.train))
        check_trainable(flow, data, fabric)
        first(fabric, lambda: create(spec, directory, data))
        first(fabric, lambda: stack.enter_context(taking(directory)))
        return _finish(flow, data, directory, fabric, console, after_epoch)


def resume_here(
    directory: Path,
    overrides: Sequence[str] = (),
    finish: bool = False,
    console: Console | None = None,
    after_epoch: AfterEpoch | None = None,
) -> Results:
    """Continue a run in this process, which may be one of several."""
    keep_freed_memory()
    spec = read_resumable(directory, overrides)
    with connected(Train() if finish else spec.train) as fabric, ExitStack() as stack:
        first(fabric, lambda: stack.enter_context(taking(directory)))
        stack.enter_context(using_threads(spec.train.threads))
        flow, data = new_flow(spec), load_run_data(directory, spec)
        check_trainable(flow, data, fabric)
        return _finish(flow, data, directory, fabric, console, after_epoch, finish)


def fit_tensors(spec: str, data: Mapping[PartName, Batch], quiet: bool) -> Trained:
    """Fit the flow of a spec in one of several processes."""
    keep_freed_memory()
    arrays = {part: arrays_of(batch) for part, batch in data.items()}
    settings = read_spec(spec)
    with using_threads(settings.train.threads):
        return fit_here(new_flow(settings), arrays, Console(quiet=quiet))


def fit_here(flow: Flow, data: Mapping[PartName, Arrays], console: Console) -> Trained:
    """Fit a flow to arrays in this process, which may be one of several."""
    settings = flow.to_spec().train
    with connected(settings) as fabric:
        check_trainable(flow, data, fabric)
        return fit_flow(flow, settings, data, fabric, console)


def _finish(
    flow: Flow,
    data: dict[PartName, Arrays],
    directory: Path,
    fabric: Fabric,
    console: Console | None,
    after_epoch: AfterEpoch | None,
    now: bool = False,
) -> Results:
    """Train, unless ``now`` is set. Then write the files of a finished run, results.json last.

    Raises RunError if ``now`` is set and there is no checkpoint.
    """
    spec = flow.to_spec()
    checkpoint = find_checkpoint(flow, spec.train, data["train"], directory)
    if now and checkpoint is None:
        raise RunError(
            f"{directory} has no whole epoch yet, and so nothing to finish with: `flowkit train --resume {directory}` "
            "goes on with it"
        )
    fabric.barrier()  # all have read the checkpoint before the first process changes it
    if now:
        assert checkpoint is not None
        first(fabric, lambda: record(spec, directory, data))
        trained = Training(flow, spec.train, data, checkpoint, partial(keep_checkpoint, directory), fabric).finish()
    else:
        trained = _train(flow, data, checkpoint, directory, fabric, console, after_epoch)
    flow = with_weights(spec, trained.weights, fabric.device)
    first(fabric, lambda: flow.save(directory / WEIGHTS))
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
    first(fabric, lambda: _draw(flow, trained, data["val"], directory))
    first(fabric, lambda: replace_text(directory / RESULTS, results.model_dump_json(indent=2) + "\n"))
    return results


def _train(
    flow: Flow,
    data: dict[PartName, Arrays],
    checkpoint: Checkpoint | None,
    directory: Path,
    fabric: Fabric,
    console: Console | None,
    after_epoch: AfterEpoch | None,
) -> Trained:
    """Train. The files of the run change only when nothing can refuse the training any more."""
    spec = flow.to_spec()
    if checkpoint is not None:
        check_goes_on(checkpoint, spec.train, directory)
    listeners = [] if after_epoch is None else [after_epoch]
    logged = 0 if checkpoint is None else len(checkpoint.rows)
    with ExitStack() as stack:
        first(fabric, lambda: listeners.insert(0, stack.enter_context(tracking(spec, directory, logged))))
        first(fabric, lambda: record(spec, directory, data))
        first(fabric, lambda: begin_training(directory, checkpoint))
        keep = partial(_keep, directory, listeners)
        return fit_flow(flow, spec.train, data, fabric, console or Console(), checkpoint, keep)


def _keep(directory: Path, listeners: Sequence[AfterEpoch], checkpoint: Checkpoint) -> None:
    try:
        keep_checkpoint(directory, checkpoint)
    except OSError as error:
        raise RunError(
            f"epoch {len(checkpoint.rows)} can't be saved in {directory}: {error.strerror or error}. When that is "
            f"mended, `flowkit train --resume {directory}` continues the run"
        ) from error
    for listener in listeners:
        listener(checkpoint.rows[-1])


def _draw(flow: Flow, trained: Trained, validation: Arrays, directory: Path) -> None:
    """Draw the pictures of a run. One that can't be drawn is a warning, because the run is worth more than that."""
    from flowkit.train.pictures import draw_loss, draw_samples

    pictures = {"loss.png": partial(draw_loss, trained.rows, flow.printed_unit)}
    if not lacks(flow.directions, "inverse"):
        pictures["samples.png"] = partial(draw_samples, flow, validation, flow.to_spec().train.batch_size)
    for name, draw in pictures.items():
        try:
            draw(directory / name)
        except Exception as error:
            warnings.warn(f"{name} can't be drawn: {in_a_line(error)}", PictureWarning, stacklevel=2)


def _test(flow: Flow, data: Arrays, directory: Path, fabric: Fabric) -> float:
    settings = flow.to_spec().train
    try:
        return evaluate(flow, data, settings.batch_size, TEST_DRAWS, "test", fabric, settings.accumulate)
    except DataError as error:
        first(fabric, lambda: forget("test", directory))
        raise TrainingError(
            f"{error}. The flow is trained, but has no figure: look for outliers in the test part, and when they are "
            f"mended `flowkit train --resume {directory}` finishes the run. The other parts must stay as they are"
        ) from error
