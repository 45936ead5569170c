"""Creates and updates a run's directory. The directory, and each file in it, is replaced as a whole or not at all.

- spec.yaml, lock.json: the spec, and a record of the plugins, spec and data of the run; written when the run begins
- metrics.csv, checkpoints/last.ckpt: written after each epoch
- weights.safetensors, samples.png, loss.png: of the weights with the best validation score. A flow that runs forward
  only has no samples.png.
- results.json: the results; written last, so that its presence marks a finished run
- .training: locked by the process that trains the run; a file left by a killed process has no effect
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from flowkit.errors import RunError, TrainingError
from flowkit.plugin import Arrays, PartName, Use
from flowkit.spec import Spec, lock, to_yaml
from flowkit.spec.run import (
    LOCK,
    RESULTS,
    SPEC,
    PartPrint,
    check_inside,
    check_no_bundle,
    read_lock,
    read_run_spec,
)
from flowkit.train.checkpoint import Checkpoint, Row
from flowkit.train.fingerprint import fingerprint, fingerprints
from flowkit_runtime.atomic import is_free, locked, making, replace_text, replacing

METRICS = "metrics.csv"
CHECKPOINT = Path("checkpoints", "last.ckpt")
TRAINING = ".training"


def check_free(directory: Path) -> None:
    """Raise RunError if a file or a directory that isn't empty is where a new run shall be."""
    if not is_free(directory):
        raise RunError(f"{directory} exists and is not empty: choose another, or go on with it by --resume")


def create(spec: Spec, directory: Path, data: Mapping[PartName, Arrays]) -> None:
    """Create the directory of a new run. Raises RunError if a file or a directory that isn't empty is there."""
    check_free(directory)
    try:
        with making(directory) as temporary:
            (temporary / CHECKPOINT.parent).mkdir()
            (temporary / SPEC).write_text(to_yaml(spec), encoding="utf-8")
            (temporary / LOCK).write_text(_lock_text(spec, fingerprints(data)), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{directory} can't be made: {error.strerror or error}") from error


def record(spec: Spec, directory: Path, data: Mapping[PartName, Arrays]) -> None:
    """Update the spec and the lock of a run, if the spec was changed or a part of the data has no fingerprint."""
    known = read_lock(directory)
    prints = {part: known.data.get(part) or fingerprint(arrays) for part, arrays in data.items()}
    if known.spec != spec.model_dump(mode="json") or known.data != prints:
        replace_text(directory / SPEC, to_yaml(spec))
        replace_text(directory / LOCK, _lock_text(spec, prints))


def forget(part: PartName, directory: Path) -> None:
    """Remove the fingerprint of a part of the data, so that a resumed run accepts the part after it was corrected."""
    known = read_lock(directory)
    spec = read_run_spec(directory)
    replace_text(directory / LOCK, _lock_text(spec, known.data | {part: None}))


def _lock_text(spec: Spec, prints: Mapping[Any, PartPrint | None]) -> str:
    data = {part: each and each.model_dump() for part, each in prints.items()}
    return json.dumps({**lock(spec), "spec": spec.model_dump(mode="json"), "data": data}, indent=2) + "\n"


def begin_training(directory: Path, checkpoint: Checkpoint | None) -> None:
    """Prepare the files of a run whose training goes on from the checkpoint, if there is one.

    A finished run isn't finished any more, and metrics.csv loses rows that are later than the checkpoint.
    """
    (directory / RESULTS).unlink(missing_ok=True)
    _write_metrics(directory, [] if checkpoint is None else checkpoint.rows)


def keep_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint of a run, and metrics.csv, which holds the same rows."""
    if not directory.is_dir():
        raise TrainingError(f"{directory} was removed while the flow was trained")
    checkpoint.write(directory / CHECKPOINT)
    _write_metrics(directory, checkpoint.rows)


def _write_metrics(directory: Path, rows: Sequence[Row]) -> None:
    with replacing(directory / METRICS) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(Row.model_fields))
        writer.writeheader()
        writer.writerows(row.model_dump() | {"seconds": round(row.seconds, 3)} for row in rows)


def free_name(directory: Path) -> Path:
    """Return ``directory`` if it doesn't exist, otherwise the first that is free: ``directory-2``, and so on."""
    numbered = (directory.with_name(f"{directory.name}-{number}") for number in count(2))
    return next(path for path in chain([directory], numbered) if not path.exists())


def read_resumable(directory: Path, overrides: Sequence[str] = ()) -> Spec:
    """Return the spec of a run that is to be resumed. ``overrides`` are those of ``read_spec``.

    Raises RunError if the directory is no run, if the run is finished and nothing is overridden, or if an override
    changes a field that may not change in a run. Raises SpecError if the spec is invalid.
    """
    if not (directory / SPEC).is_file() or not (directory / LOCK).is_file():
        raise RunError(f"{directory} is not a run: `flowkit train SPEC` makes one")
    check_no_bundle(directory)
    if (directory / RESULTS).exists() and not overrides:
        raise RunError(
            f"{directory} is finished: there is nothing to resume. `flowkit train --resume {directory} --set "
            "train.epochs=N` trains it for longer"
        )
    for name in (SPEC, LOCK, CHECKPOINT, METRICS):
        check_inside(directory / name, directory)
    return with_absolute_paths(read_run_spec(directory, overrides))


@contextmanager
def taking(directory: Path) -> Iterator[None]:
    """Lock the run inside the block, so that no other process trains it. Raises RunError if another one does."""
    path = directory / TRAINING
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path))
        except BlockingIOError as error:
            raise RunError(f"{directory} is being trained by another process: wait until it ends, or end it") from error
        except OSError as error:
            raise RunError(
                f"{path} can't be opened ({error.strerror or error}): remove it, or make {directory} writable"
            ) from error
        yield


def with_absolute_paths(spec: Spec) -> Spec:
    """Return the spec with absolute paths in its data section, at any depth."""
    return spec.model_copy(update={"data": _absolute(spec.data)})


def _absolute(value: Any) -> Any:
    match value:
        case Path():
            return value.absolute()
        case list() | tuple() | set() | frozenset():
            items = map(_absolute, value)
            return value._make(items) if hasattr(value, "_make") else type(value)(items)  # NamedTuples have _make
        case dict():
            return {_absolute(key): _absolute(item) for key, item in value.items()}
        case BaseModel():
            return value.model_copy(update={name: _absolute(item) for name, item in value})
        case Use():
            return replace(value, config=_absolute(value.config))
    return value
