"""What commands say when memory is short, and how signals end them while modules are imported."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException
from typer.testing import CliRunner

from flowkit.cli.main import Commands
from flowkit.errors import ExportError
from flowkit_runtime.cli.memory import out_of_memory
from tests.extent import extent

SPEC = "flowkit: 1\nevent: {shape: [2]}\nflow: [{use: glow/actnorm}]\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory: MemoryError"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "out of memory: libtorch_cpu.so"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried\nmore"), "DefaultCPUAllocator"),
        (OSError(12, "Cannot allocate memory"), "out of memory: [Errno 12]"),
        (ImportError("libgomp.so: cannot allocate memory in static TLS block"), "out of memory: libgomp.so"),
        (RuntimeError("can't start new thread"), "out of memory: can't start new thread"),
        (RuntimeException("Exception during initialization: std::bad_alloc"), "out of memory: Exception during"),
    ],
)
def test_errors_that_mean_that_memory_is_short(error: Exception, said: str) -> None:
    message = out_of_memory(error)
    assert message is not None and said in message and "\n" not in message
    try:
        raise SystemError("initialization of _C raised unreported exception") from error
    except SystemError as outer:
        assert out_of_memory(outer) == message


def test_other_errors_are_not_explained_so() -> None:
    assert out_of_memory(ImportError("No module named 'torch'")) is None
    assert out_of_memory(ValueError("out of memory")) is None


def test_the_exit_code_is_that_of_short_memory_whatever_came_of_it() -> None:
    app = typer.Typer(cls=Commands)

    @app.command()
    def convert() -> None:
        try:
            raise MemoryError
        except MemoryError as error:
            raise ExportError("the layer can't be exported") from error

    app.command()(lambda: None)  # with one command alone, an app has no group
    result = CliRunner().invoke(app, ["convert"])
    assert (result.exit_code, result.stderr) == (2, "out of memory: MemoryError\n")


@pytest.mark.parametrize("mebibytes", extent([300], [200, 300, 400, 450, 500, 550, 600]))
def test_a_command_without_memory_says_so_in_one_line(mebibytes: int, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    code = f"import sys; sys.argv[1:] = ['show', {str(tmp_path / 'spec.yaml')!r}]; "
    code += "from flowkit.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (mebibytes * 2**20, mebibytes * 2**20)),
    )
    if mebibytes > 300 and done.returncode == 0:
        return  # it was enough
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("out of memory: ")


@pytest.mark.parametrize(  # the other pairs are in test_cli_main.py
    ("module", "number", "code"),
    [("flowkit_runtime.cli.main", signal.SIGINT, 130), ("flowkit.cli.main", signal.SIGTERM, 143)],
)
def test_a_signal_during_an_import_ends_a_command_quietly(module: str, number: int, code: int, tmp_path: Path) -> None:
    """A library's C++ code turns the interrupt of an import into another error."""
    (tmp_path / "library.py").write_text(
        "import os\n"
        f"try: os.kill(os.getpid(), {int(number)}); [x for x in range(10**6)]\n"
        "except BaseException: raise RuntimeError('unreported exception') from None\n"
    )
    script = (
        "import signal, sys\n"
        f"from {module} import app, main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a process in the background ignores
        "@app.command()\n"
        "def load():\n"
        "    import library\n"
        "sys.argv = ['flowkit', 'load']; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, "")
