"""What a command does of which the disk is full."""

from __future__ import annotations

from ast import literal_eval
from pathlib import Path

from tests.security.actions import command, on_a_full_disk
from tests.security.bounded import outcome


def sampled_on_a_full_disk(app: str, model: Path, output: Path) -> str:
    """The message with which ``sample`` ends. The file that was there stays, and nothing beside it."""
    output.write_text("old")
    code, _, message = literal_eval(
        outcome(on_a_full_disk, command, app, "sample", model, "-n", "5000", "-o", output)[1]
    )
    assert code == 2
    assert output.read_text() == "old" and not list(output.parent.glob(".*"))
    return str(message)
