"""Standard streams that are full, closed, or of another encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FLOWKIT = "from flowkit_nf.command import main; main()"
RUNTIME = "from flowkit_runtime.cli.main import main; main()"
SPEC = "flowkit: 1\nevent: {shape: [2]}\nflow: [{repeat: 2, flow: [{use: glow/actnorm}]}]\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
@pytest.mark.parametrize(("program", "argument"), [(FLOWKIT, "--version"), (FLOWKIT, "schema"), (RUNTIME, "--help")])
def test_an_output_that_cannot_be_written_is_a_message(program: str, argument: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", program, argument], stdout=full, stderr=-1, text=True)
    assert (done.returncode, done.stderr) == (2, "standard output: No space left on device\n")


@pytest.mark.parametrize(("program", "argument"), [(FLOWKIT, "schema"), (RUNTIME, "--help")])
def test_a_closed_pipe_ends_a_command_as_sigpipe_does(program: str, argument: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", program, argument], stdout=writing, stderr=-1, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_working_directory_that_was_removed_is_a_message(tmp_path: Path) -> None:
    remove = f"import os; os.chdir({str(tmp_path)!r}); os.rmdir({str(tmp_path)!r}); "
    done = subprocess.run([sys.executable, "-c", remove + FLOWKIT, "evaluate", "/"], capture_output=True, text=True)
    message = "the working directory was removed: change to one that is there\n"
    assert (done.returncode, done.stderr) == (2, message)


@pytest.mark.parametrize("module", ["flowkit.cli.main", "flowkit_runtime.cli.main"])
@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(module: str, closed: str, tmp_path: Path) -> None:
    script = (
        f"import sys; from {module} import app, main\n"
        "@app.command()\n"
        "def write():\n"
        "    with open('out', 'w') as file: print(file.fileno() > 2, sys.stderr.isatty(), file=file)\n"
        "sys.argv = ['flowkit', 'write']; main()"
    )
    command = ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, script]
    done = subprocess.run(command, cwd=tmp_path)
    assert (done.returncode, (tmp_path / "out").read_text()) == (0, "True False\n")


def test_characters_that_an_encoding_lacks_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    command = [sys.executable, "-c", FLOWKIT, "show", "spec.yaml"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "  \\xd7 2  " in done.stdout


@pytest.mark.parametrize("width", ["9" * 20, "0"])
@pytest.mark.parametrize("program", [FLOWKIT, RUNTIME])
def test_a_width_that_no_terminal_has_is_ignored(program: str, width: str) -> None:
    environment = os.environ | {"COLUMNS": width}
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: " in done.stdout and len(done.stdout) < 10_000


def test_the_backend_of_a_notebook_is_not_needed() -> None:
    script = (
        "import sys; from flowkit_nf.command import main\n"
        "sys.argv = ['flowkit', '--version']\n"
        "try: main()\n"
        "except SystemExit: import matplotlib"
    )
    environment = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run([sys.executable, "-c", script], stdout=-1, stderr=-1, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
