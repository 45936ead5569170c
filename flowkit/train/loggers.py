"""Sends the metrics of a run to the experiment tracker that its spec names, through Lightning's loggers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from flowkit.errors import FlowkitError
from flowkit.spec import Spec
from flowkit_runtime.atomic import replacing

if TYPE_CHECKING:
    from lightning_fabric.loggers import Logger

    from flowkit.train.checkpoint import Row

PROJECT = "flowkit"
TRACKED = "tracked.json"
"""The file of a run with the identifier that each tracker gave it. A resumed run continues under these."""


def check_logger(name: str) -> None:
    """Raise FlowkitError unless the logger's package is installed."""
    if name != "csv" and find_spec(name) is None:
        raise FlowkitError(f"train.logger: {name} needs {name}: `pip install {name}`, or leave train.logger out")


@contextmanager
def tracking(spec: Spec, directory: Path) -> Iterator[Callable[[Row], None]]:
    """Yield a function that logs the row of an epoch. metrics.csv is written whatever the logger."""
    name = spec.train.logger
    if name == "csv":
        yield lambda row: None
        return
    try:
        known = _identifiers(directory)
        logger = _new(name, directory, known)
        if name not in known:  # MLflow takes no other values for those of a run that goes on, such as more epochs
            logger.log_hyperparams(spec.model_dump(mode="json"))
    except Exception as error:  # the tracker raised it: there is no server, or nobody has logged in
        raise FlowkitError(f"train.logger: {name} can't be used: {error}") from error
    status = "failed"
    try:
        yield lambda row: logger.log_metrics(_figures(row), step=row.step)
        status = "success"
    finally:
        logger.finalize(status)
        if name == "wandb":
            logger.experiment.finish()  # type: ignore[attr-defined]


def _figures(row: Row) -> dict[str, float]:
    return {key: value for key, value in row if value is not None and key != "step"}


def _identifiers(directory: Path) -> dict[str, str]:
    """Return the identifiers that trackers gave the run, by the names of the loggers."""
    path = directory / TRACKED
    found: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def _new(name: str, directory: Path, known: Mapping[str, str]) -> Logger:
    if name == "tensorboard":
        from lightning_fabric.loggers import TensorBoardLogger

        return TensorBoardLogger(root_dir=directory, name="tensorboard", version="")
    from pytorch_lightning.loggers import MLFlowLogger, WandbLogger

    mine = known.get(name)
    logger: WandbLogger | MLFlowLogger
    if name == "wandb":
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        logger = WandbLogger(name=directory.name, save_dir=directory, project=project, id=mine, resume="allow")
        identifier = logger.experiment.id
    else:
        uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{quote(str(directory / 'mlflow.db'))}")
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        logger = MLFlowLogger(experiment_name=experiment, run_name=directory.name, tracking_uri=uri, run_id=mine)
        identifier = logger.run_id
    with replacing(directory / TRACKED) as temporary:
        temporary.write_text(json.dumps({**known, name: identifier}) + "\n", encoding="utf-8")
    return logger
