"""Reads the spec of a run, and compares it with lock.json, the record of the plugins, spec and data of the run."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flowkit.errors import RunError, SpecError, VersionWarning, format_path
from flowkit.spec.comparison import spec_differences
from flowkit.spec.document import MAX_BYTES
from flowkit.spec.model import Spec
from flowkit.spec.read import read_spec
from flowkit_runtime.bundle import MANIFEST
from flowkit_runtime.errors import shortened
from flowkit_runtime.files import read_json, stays_inside

SPEC, LOCK = "spec.yaml", "lock.json"
WEIGHTS, RESULTS = "weights.safetensors", "results.json"
"""The files of a finished run's weights and results. results.json is written last, and marks the run as finished."""

MAX_LOCK = 8 * MAX_BYTES
"""The most bytes of lock.json, which indents a spec, value by value."""

DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

CHANGEABLE = (
    *("train.epochs", "train.minutes", "train.patience"),
    *("train.threads", "train.devices", "train.num_nodes", "train.strategy", "train.accumulate"),
    "train.logger",
    "data",
)
"""The fields of a run's spec that may be edited: how long and on which devices it is trained, and where its data is."""


class ArrayPrint(BaseModel):
    """The fingerprint of one array."""

    dtype: str
    shape: list[int] = Field(min_length=1)
    sha256: str
    """The SHA-256 in hex of the values in row-major order and little-endian bytes."""


class PartPrint(BaseModel):
    """The fingerprint of one part of the data."""

    events: ArrayPrint
    contexts: ArrayPrint | None = None
    weights: ArrayPrint | None = None
    classes: list[str] = []
    """The names of the labels 0, 1, …, if they have names."""


class Lock(BaseModel):
    """The content of lock.json."""

    model_config = ConfigDict(strict=True)

    plugins: dict[str, str]
    """{distribution: version}. Plugins that were registered from Python code are under `this process`."""
    spec: dict[str, Any]
    """The spec that the run is trained with. Its defaults are filled in."""
    data: dict[str, PartPrint | None]
    """The fingerprint of each part of the data. It is None for a part that the user is to correct."""


def read_lock(directory: Path) -> Lock:
    """Return the lock of a run. Raises RunError if it is damaged, or if an older flowkit wrote it with fewer fields."""
    path = directory / LOCK
    try:
        return Lock.model_validate(read_json(path, MAX_LOCK))
    except ValidationError as error:
        raise RunError(f"{path} can't be read ({first_invalid(error)}): train anew") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} can't be read ({error}): put it back, or train anew") from error


def first_invalid(error: ValidationError) -> str:
    """Return the first invalid field, and why it is invalid: ``epochs: Input should be a valid integer``."""
    first = error.errors()[0]
    return f"{shortened('.'.join(map(str, first['loc'])) or 'it')}: {shortened(first['msg'])}"


def read_run(directory: Path) -> Spec:
    """Return the spec of a finished run.

    Raises RunError if a file is missing, or is a link that leaves the directory. Raises SpecError if the spec is
    invalid.
    """
    if directory.is_file():
        read = f"flow.load_state_dict(safetensors.torch.load_file({str(directory)!r}))"
        raise RunError(f"{directory} is a file, and a run is a directory. If Flow.save wrote it, {read} reads it")
    if not (directory / SPEC).is_file():
        raise RunError(f"{directory} is not a run: it has no {SPEC}. `flowkit train SPEC` makes one")
    check_no_bundle(directory)
    if not (directory / RESULTS).is_file():
        raise RunError(
            f"{directory} is not finished: `flowkit train --resume {directory}` goes on with it, and with `--finish` "
            "finishes it now, with the best weights so far"
        )
    for name in (SPEC, RESULTS, WEIGHTS):
        check_inside(directory / name, directory)
    return read_run_spec(directory)


def check_no_bundle(directory: Path) -> None:
    """Raise RunError if the directory is a bundle. A bundle has a spec.yaml too, so it could be taken for a run."""
    if (directory / MANIFEST).exists():
        raise RunError(f"{directory} is a bundle, which `flowkit export` wrote: name the run that it was made of")


def check_inside(path: Path, directory: Path) -> None:
    """Raise RunError if ``path`` leaves the run's directory through a link."""
    if not stays_inside(path, directory):
        raise RunError(f"{path} is a link that leaves the run: put the file itself there")


def read_run_spec(directory: Path, overrides: Sequence[str] = ()) -> Spec:
    """Return the spec of a run. If the run has a lock, check the spec and the installed plugins against it.

    Raises RunError if a distribution that the run needs is missing, or if a field was edited that may not change.
    Raises SpecError if the spec is invalid. Warns (VersionWarning) if the version of a plugin differs in more than the
    last number of 1.2.3.
    """
    lock = read_lock(directory) if os.path.lexists(directory / LOCK) else None
    if lock is not None:
        _check_plugins(lock, directory)
    spec = read_spec(directory / SPEC, overrides)
    if lock is not None:
        _check_spec(lock, directory, spec)
    return spec


def _check_plugins(lock: Lock, directory: Path) -> None:
    for name, then in lock.plugins.items():
        if not DISTRIBUTION.fullmatch(name):  # plugins that were registered from Python code have no version
            continue
        made_with = f"{shortened(name)} {shortened(then)}"
        try:
            now = version(name)
        except PackageNotFoundError as error:
            raise RunError(f"{directory} was made with the plugins of {made_with}, which isn't installed") from error
        if now.split(".")[:2] != then.split(".")[:2]:
            message = f"{directory} was made with {made_with}; {now} is installed, and may compute something else"
            warnings.warn(message, VersionWarning, stacklevel=5)


def _check_spec(lock: Lock, directory: Path, spec: Spec) -> None:
    try:
        recorded = read_spec(lock.spec)
    except SpecError as error:
        raise RunError(f"{directory / LOCK} holds no valid spec ({shortened(error)}): train anew") from error
    differences = spec_differences(recorded, spec)
    edited = [each for each in differences if not format_path(each.path).startswith(CHANGEABLE)]
    if edited:
        lines = "".join(f"\n  {shortened(each)}" for each in edited)
        raise RunError(
            f"{directory} was trained with another spec:{lines}\nOnly {', '.join(CHANGEABLE)} may change in a run. Put "
            f"the other fields back, or begin another run: `flowkit train {directory / SPEC} -o DIR`"
        )
