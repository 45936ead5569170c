"""Sends the metrics of a run to the experiment tracker that its spec names."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flowkit.errors import FlowkitError, LoggerWarning
from flowkit.plugin.failure import in_a_line
from flowkit.spec import Spec, to_yaml
from flowkit_runtime.atomic import replace_text

if TYPE_CHECKING:
    from flowkit.train.checkpoint import Row

PROJECT = "flowkit"
TRACKED = "tracked.json"
"""The file of a run with the identifier that each tracker gave it. A resumed run continues under these."""
LONGEST = 500
"""The most characters of a parameter's value in MLflow."""


class _Tracker(NamedTuple):
    """A run in an experiment tracker.

    Attributes:
        log: sends figures by their names, at a number of training steps.
        end: ends the run, which has succeeded or not.
        identifier: what the tracker calls the run. None if it knows the run by its directory.
    """

    log: Callable[[dict[str, float], int], None]
    end: Callable[[bool], None]
    identifier: str | None = None


def check_logger(name: str) -> None:
    """Raise FlowkitError unless the logger's package is installed."""
    if name != "csv" and find_spec(name) is None:
        raise FlowkitError(f"train.logger: {name} needs {name}: `pip install {name}`, or leave train.logger out")


@contextmanager
def tracking(spec: Spec, directory: Path, logged: int = 0) -> Iterator[Callable[[Row], None]]:
    """Yield a function that logs the row of an epoch. metrics.csv is written whatever the logger.

    Rows of the first ``logged`` epochs have been logged. Such a row comes again when its epoch is validated at last.
    """
    name = spec.train.logger
    if name == "csv":
        yield lambda row: None
        return
    try:
        known = _identifiers(directory)
        tracker = _TRACKERS[name](spec, directory, known.get(name))
        if tracker.identifier is not None:
            replace_text(directory / TRACKED, json.dumps({**known, name: tracker.identifier}) + "\n")
    except Exception as error:  # the tracker raised it: there is no server, or nobody has logged in
        raise FlowkitError(f"train.logger: {name} can't be used: {error}") from error
    succeeded = False
    try:
        yield lambda row: _attempt(name, lambda: tracker.log(_figures(row, row.epoch <= logged), row.step))
        succeeded = True
    finally:
        _attempt(name, lambda: tracker.end(succeeded))


def _attempt(name: str, act: Callable[[], object]) -> None:
    """Call the tracker, and turn its error into a warning: a server that is down must not end a training."""
    try:
        act()
    except Exception as error:
        message = f"train.logger: {name} fails: {in_a_line(error)}; the run goes on, and metrics.csv has all metrics"
        warnings.warn(message, LoggerWarning, stacklevel=2)


def _figures(row: Row, only_val: bool) -> dict[str, float]:
    return {key: value for key, value in row if value is not None and (key == "val" if only_val else key != "step")}


def _identifiers(directory: Path) -> dict[str, str]:
    """Return the identifiers that trackers gave the run, by the names of the loggers."""
    path = directory / TRACKED
    found: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def _tensorboard(spec: Spec, directory: Path, known: str | None) -> _Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(directory / "tensorboard")
    writer.add_text("spec", f"```yaml\n{to_yaml(spec)}```")

    def log(figures: dict[str, float], step: int) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, step)

    return _Tracker(log, lambda succeeded: writer.close())


def _wandb(spec: Spec, directory: Path, known: str | None) -> _Tracker:
    import wandb

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    run = wandb.init(project=project, name=directory.name, dir=directory, id=known, resume="allow")
    run.config.update(spec.model_dump(mode="json"), allow_val_change=True)  # a run that goes on may have other fields
    run.define_metric("*", step_metric="step")

    def log(figures: dict[str, float], step: int) -> None:
        run.log({**figures, "step": step})

    return _Tracker(log, lambda succeeded: run.finish(exit_code=int(not succeeded)), run.id)


def _mlflow(spec: Spec, directory: Path, known: str | None) -> _Tracker:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or _database(directory / "mlflow.db"))
    if known is None:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = client.get_experiment_by_name(name)
        place = experiment.experiment_id if experiment else client.create_experiment(name)
        run = client.create_run(place, run_name=directory.name).info.run_id
        for key, value in _parameters(spec.model_dump(mode="json")):
            client.log_param(run, key, value)
    else:  # whose parameters stay: MLflow takes no other values for them, such as more epochs
        run = known
        client.update_run(run, status="RUNNING")

    def log(figures: dict[str, float], step: int) -> None:
        for key, value in figures.items():
            client.log_metric(run, key, value, step=step)

    return _Tracker(log, lambda succeeded: client.set_terminated(run, "FINISHED" if succeeded else "FAILED"), run)


def _database(path: Path) -> str:
    """Return the URL of an SQLite database: a URI, because SQLAlchemy escapes characters of plain paths."""
    from sqlalchemy.engine import URL

    return URL.create("sqlite", database=path.absolute().as_uri(), query={"uri": "true"}).render_as_string()


def _parameters(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values in nested mappings, with names like ``train.batch_size``."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _parameters(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, json.dumps(value)[:LONGEST]


_TRACKERS = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}
