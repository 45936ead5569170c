"""One thread a process: the suite runs in several, and torch's threads, waiting for each other, would starve them."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; subprocesses inherit it

import errno
import fcntl
import functools
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from typer import testing

from flowkit.plugin.registry import REGISTERED
from tests.extent import NIGHTLY


@pytest.hookimpl(tryfirst=True)  # before hypothesis reads what is imported
def pytest_collection_modifyitems() -> None:
    """Settings of the processes that run tests. The one that only hands them out doesn't come here, nor to torch."""
    # torch's exporter makes objects by the million, and few cycles: the collector would take a third of its time.
    gc.set_threshold(100_000, 20, 20)
    _quick_exports()
    # Typer's runner puts an app's commands together anew at each call, from their signatures.
    testing._get_command = functools.cache(testing._get_command)  # type: ignore[attr-defined]
    gc.freeze()  # what is imported stays
    if "tests.security.bounded" in sys.modules:
        sys.modules["tests.security.bounded"].start_server()
    if "hypothesis" in sys.modules and not NIGHTLY:
        from hypothesis.internal.conjecture import providers

        # It would read thousands of modules, torch's among them, for numbers to try.
        providers._get_local_constants = lambda: providers._local_constants


def _quick_exports() -> None:
    """Set torch to one thread, and let it remember what it looks up at each export."""
    import torch
    from torch._export import utils as torch_export
    from torch.onnx._internal.exporter import _registration as exporter

    torch.set_num_threads(1)

    # torch parses the source and the signatures of its thousand ONNX operators at every export, and looks up all of its
    # own operators in each of 28 namespaces, more than half of the time that a small one takes.
    torch_export._materialize_cpp_cia_ops = functools.cache(torch_export._materialize_cpp_cia_ops)
    exporter.onnxscript_apis.get_torchlib_ops = functools.cache(exporter.onnxscript_apis.get_torchlib_ops)
    exporter._schemas.op_signature_from_function = functools.cache(exporter._schemas.op_signature_from_function)


@pytest.fixture(autouse=True)
def forget_registered() -> Iterator[None]:
    """What a test registers in this process is forgotten."""
    before = dict(REGISTERED)
    yield
    REGISTERED.clear()
    REGISTERED.update(before)


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all processes that run tests have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def bundles_of_bases(common: Path) -> Path:
    """A directory with the bundles of tests.bases.FLOWS. All processes that run tests have the same one."""
    from flowkit.export import export
    from tests.bases import FLOWS, moved

    directory = common / "bases"
    with FileLock(f"{directory}.lock"):
        for name in FLOWS:
            if not (directory / name).exists():
                export(moved(name), directory / name)
    return directory


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that can't lock files, as some network file systems can't."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
