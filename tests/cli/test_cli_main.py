"""The frame of the command line: errors, exit codes, what is not imported."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

import flowkit
from flowkit.cli.main import Commands, app
from flowkit.errors import ExportError, PluginError, SpecError
from flowkit_runtime.cli.main import app as runtime

HEAVY = ("torch", "numpy", "onnx", "onnxruntime", "lightning_fabric", "sklearn")


def failing(error: BaseException) -> typer.Typer:
    """A command line whose one command raises."""
    broken = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

    @broken.callback()
    def root() -> None: ...

    @broken.command()
    def fail() -> None:
        raise error

    return broken


@pytest.mark.parametrize(
    ("error", "code"),
    [(PluginError("no luck"), 2), (ExportError("no luck"), 1), (SpecError(), SpecError.exit_code)],
)
def test_deliberate_errors_are_messages(error: Exception, code: int) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert result.exit_code == code
    assert result.stderr == f"{error}\n"
    assert result.stdout == ""


def test_errors_of_the_runtime_are_messages_too() -> None:
    errors = importlib.import_module("flowkit_runtime.errors")
    result = CliRunner().invoke(failing(errors.BundleError("no bundle")), ["fail"])
    assert (result.exit_code, result.stderr) == (2, "no bundle\n")


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "flowkit_runtime.errors", raising=False)
    result = CliRunner().invoke(failing(KeyError("bug")), ["fail"])
    assert isinstance(result.exception, KeyError)


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"flowkit {flowkit.__version__}\n")


def test_unknown_commands_are_errors_of_use() -> None:
    result = CliRunner().invoke(app, ["validat"])
    assert result.exit_code == 2
    assert "validate" in result.stderr


def test_every_command_has_an_example_in_its_help() -> None:
    group = typer.main.get_command(app)
    names = list(group.commands)  # type: ignore[attr-defined]
    assert {"validate", "schema", "plugins"} <= set(names)
    for name in names:
        result = CliRunner().invoke(app, [name, "--help"])
        assert result.exit_code == 0
        assert f"Example: flowkit {name}" in " ".join(result.stdout.split()), name


def helps(command: Any) -> Iterator[str]:
    """Yield the texts of a command's help, and of those below it."""
    yield from (text for text in [command.help, *(getattr(each, "help", None) for each in command.params)] if text)
    for below in getattr(command, "commands", {}).values():
        yield from helps(below)


@pytest.mark.parametrize("each", [app, runtime], ids=["flowkit", "flowkit-runtime"])
def test_no_words_in_brackets_are_taken_for_markup(each: typer.Typer) -> None:
    for text in helps(typer.main.get_command(each)):
        assert Text.from_markup(text).plain == text.replace("\\[", "["), text


LIGHT: dict[str, list[str]] = {
    "--help": [],
    "--version": [],
    "plugins": [],
    "schema": [],
    "validate SPEC": [],
    "show SPEC --format svg": [],
    "diff SPEC SPEC": [],
    "new x.npy -o x.yaml": ["numpy"],
}
"""What is imported by then of what is heavy."""


def test_light_commands_import_nothing_heavy(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 2)))
    (tmp_path / "SPEC").write_text("flowkit: 1\nevent: {shape: [2]}\nflow: [{use: glow/actnorm}]\n")
    (tmp_path / "observer.py").write_text("raise RuntimeError('a plugin of pydantic was imported')")
    (tmp_path / "observer-1.dist-info").mkdir()
    (tmp_path / "observer-1.dist-info" / "entry_points.txt").write_text("[pydantic]\nobserver = observer\n")
    script = (
        "import sys; from flowkit_nf.command import main\n"
        f"for command in {list(LIGHT)}:\n"
        "    sys.argv = ['flowkit', *command.split()]\n"
        "    try: main()\n"
        "    except SystemExit as end: code = end.code\n"
        f"    heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "    print(command, code, heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr.splitlines() == [f"{command} 0 {heavy}" for command, heavy in LIGHT.items()]


@pytest.mark.parametrize(  # the other pairs are in test_runtime_memory.py
    ("module", "number", "code"),
    [("flowkit.cli.main", signal.SIGINT, 130), ("flowkit_runtime.cli.main", signal.SIGTERM, 143)],
)
def test_what_is_interrupted_leaves_quietly_and_nothing_behind(
    module: str, number: int, code: int, tmp_path: Path
) -> None:
    script = (
        "import signal, sys, time, typer; from pathlib import Path\n"
        f"from {module} import app, main; from flowkit_runtime.atomic import making\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a process in the background ignores
        "@app.command()\n"
        "def wait():\n"
        "    with making(Path('out')): print('ready', flush=True); time.sleep(30)\n"
        "sys.argv = ['flowkit', 'wait']; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    assert list(tmp_path.iterdir())
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr.strip()) == (code, "")
    assert not list(tmp_path.iterdir())
