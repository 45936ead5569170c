"""train and resume: from a spec to a finished run."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ValidationError

from flowkit.allocator import keep_freed_memory
from flowkit.errors import DataError, FlowkitError, InputError, RunError, TrainingError
from flowkit.flow import Flow
from flowkit.flow.lock import first_invalid
from flowkit.flow.saving import RESULTS, WEIGHTS
from flowkit.plugin import Arrays, PartName
from flowkit.spec import Spec
from flowkit.train.data import load_data, load_run_data
from flowkit.train.directory import create, forget, read_resumable, record, taking, with_absolute_paths
from flowkit.train.evaluation import best_device, evaluate
from flowkit_runtime.atomic import replacing
from flowkit_runtime.files import read_json

TEST_DRAWS = 8
"""Draws of dequantization noise behind the test figure."""


class Results(BaseModel):
    """The content of results.json. The figures are in ``unit``; lower is better."""

    unit: Literal["nats", "bits/dim"]
    test: float
    """The figure of the test part, the mean over several draws of dequantization noise."""
    val: float
    """The validation figure of the best epoch, whose weights these are."""
    best_epoch: int
    epochs: int
    parameters: int
    weights: Literal["ema", "raw"]
    """Whether the weights are the moving average of training's, or training's own."""
    seconds: float
    """The time of all epochs, without interruptions."""


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

    Interrupted, even killed, it can be resumed from its last whole epoch. Seeds torch's global generator, and has the
    process keep the memory that it frees (``flowkit.allocator``).
    Raises DataError, PluginError, InputError if no parameter learns, RunError if ``directory`` is in use, TrainingError
    if a loss isn't finite.
    """
    _require_extra()
    keep_freed_memory()
    spec, directory = with_absolute_paths(spec), directory.resolve()
    flow = _build(spec)  # whatever is wrong with it, or with the data, shows before there is a directory
    if not any(parameter.requires_grad for parameter in flow.parameters()):
        raise InputError("there is nothing to train: no layer of the flow has parameters that learn; add some")
    data = load_data(spec)
    create(spec, directory, data)
    with taking(directory), using_threads(spec.train.threads):
        return _finish(flow, data, directory)


def resume(directory: Path, overrides: Sequence[str] = (), finish: bool = False) -> Results:
    """Continue an interrupted run, to the figures that it would have reached.

    ``overrides``, texts such as ``train.epochs=60``, change how long it is trained (train.epochs, train.minutes), on
    how many threads (train.threads), or where its data is read from (data); with them a finished run is trained for
    longer. The learning rate is then that of the new schedule. ``finish`` trains no more: the run is finished with the
    best weights so far.

    Raises RunError, also if another process trains it, or its data or spec have changed; SpecError; TrainingError.
    """
    spec = read_resumable(directory, overrides)
    _require_extra()
    keep_freed_memory()
    with taking(directory), using_threads(spec.train.threads):
        return _finish(_build(spec), load_run_data(directory, spec), directory, finish)


@contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Run torch's operators on this many threads inside of the block, and on as many as before after it.

    None means as many as OMP_NUM_THREADS says, which torch has read, and one thread if it says none. OpenMP's threads
    spin while they wait for each other. If other processes need the cores, steps on two threads took 9 to 24 times as
    long as on one. On two idle cores the second thread makes large steps up to 1.5 times faster, and small ones no
    faster.
    """
    before = torch.get_num_threads()
    given = re.match(r"\s*[1-9]", os.environ.get("OMP_NUM_THREADS", ""))  # OpenMP ignores 0 and what is no number
    torch.set_num_threads(threads or (before if given else 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _require_extra() -> None:
    if find_spec("lightning_fabric") is None:
        raise FlowkitError("training needs pytorch-lightning: pip install 'flowkit-nf[train]'")


def _build(spec: Spec) -> Flow:
    torch.manual_seed(spec.train.seed)
    flow = Flow.from_spec(spec)
    flow.memory = spec.train.memory
    if spec.train.compile:
        flow.compile("step" if spec.train.compile == "step" else "flow")
    return flow


def _finish(flow: Flow, data: dict[PartName, Arrays], directory: Path, now: bool = False) -> Results:
    """Train, unless ``now`` is set. Then write the files of a finished run, results.json last."""
    from flowkit.train.fit import find_checkpoint, fit  # seconds of imports
    from flowkit.train.pictures import draw_loss, draw_samples

    spec = flow.to_spec()
    checkpoint = find_checkpoint(flow, spec.train, data["train"], directory)
    record(spec, directory, data)
    fitted = fit(flow, spec.train, data, directory, checkpoint, now)
    flow = copy.deepcopy(flow)  # a plain one: to compile it for a few passes would take longer than they do
    flow.load_state_dict(fitted.weights)
    flow.to(best_device()).eval()
    flow.save(directory / WEIGHTS)
    draw_loss(fitted.rows, flow.unit, directory / "loss.png")
    draw_samples(flow, data["val"], directory / "samples.png")
    results = Results(
        unit=flow.unit,
        test=_test(flow, data["test"], directory),
        val=fitted.best,
        best_epoch=fitted.best_epoch,
        epochs=len(fitted.rows),
        parameters=sum(parameter.numel() for parameter in flow.parameters()),
        weights="raw" if spec.train.ema is None else "ema",
        seconds=round(sum(row.seconds for row in fitted.rows), 1),
    )
    with replacing(directory / RESULTS) as temporary:
        temporary.write_text(results.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return results


def _test(flow: Flow, data: Arrays, directory: Path) -> float:
    try:
        return evaluate(flow, data, flow.to_spec().train.batch_size, TEST_DRAWS, "test")
    except DataError as error:
        forget("test", directory)
        raise TrainingError(
            f"{error}. The flow is trained, but has no figure: look for outliers in the test part, and when they are "
            f"mended `flowkit train --resume {directory}` finishes the run. The other parts must stay as they are"
        ) from error
