"""What users do with a stranger's files: functions that a process of its own can run, see bounded.py."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from typer.testing import CliRunner

import flowkit.cli.main
import flowkit_runtime.cli.main
from flowkit.errors import FlowkitError
from flowkit.flow import Flow
from flowkit.spec import read_spec
from flowkit.train import load_data, train
from flowkit_runtime import load, verification
from flowkit_runtime.graph_check import wire

APPS = {"flowkit": flowkit.cli.main.app, "flowkit-runtime": flowkit_runtime.cli.main.app}


def command(app: str, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    result = CliRunner().invoke(APPS[app], list(map(str, arguments)))
    return result.exit_code, result.stdout, result.stderr


def served(bundle: Path, method: str, *arguments: Any) -> Any:
    return getattr(load(bundle), method)(*arguments)


def event_shape(bundle: Path) -> tuple[int, ...]:
    return load(bundle).event_shape


def count_checks(bundle: Path) -> int:
    return len(verification.verify(bundle))


def load_of_few_fields(bundle: Path) -> None:
    with mock.patch.object(wire, "MAX_FIELDS", 10_000):
        load(bundle)


def first_event_shape(spec: dict[str, Any]) -> Any:
    """What training does first."""
    return load_data(read_spec(spec))["train"].x.shape


def train_spec(spec: dict[str, Any], run: Path) -> None:
    train(read_spec(spec), run)


def built(specs: list[dict[str, Any]]) -> list[str]:
    """Why each spec is refused, or nothing."""
    return [_why_not(spec) for spec in specs]


def _why_not(spec: dict[str, Any]) -> str:
    try:
        Flow.from_spec(spec)
    except FlowkitError as error:
        return str(error)
    return ""


def printing_to(file: Path, action: Callable[..., Any], *arguments: Any) -> Any:
    """Whatever is printed, by C++ too, goes to the file."""
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        with file.open("wb") as stream:
            for descriptor in (1, 2):
                os.dup2(stream.fileno(), descriptor)
        return action(*arguments)
    finally:
        for descriptor, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)


def on_a_full_disk(action: Callable[..., Any], *arguments: Any) -> Any:
    """Files end after 4 KB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        return action(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
