"""The pages of the documentation, and what stands in them between fences: it is run as a reader would run it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from flowkit.cli.main import app
from flowkit_runtime.cli.main import app as runtime
from tests.thirdparty.place import Place
from tests.thirdparty.strangers import importable

ROOT = Path(__file__).parents[1]
COMMANDS = {"flowkit": app, "flowkit-runtime": runtime}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of each block of a page."""
    return BLOCK.findall((ROOT / page).read_text("utf-8"))


@contextmanager
def here(place: Place) -> Iterator[None]:
    """In this process, because another one would import torch for seconds."""
    with chdir(place.directory), ExitStack() as stack:
        for site in reversed(place.sites):
            stack.enter_context(importable(site))
        yield


def obey(place: Place, text: str) -> None:
    """Run the lines of a script."""
    if "&\n" in text:  # a command in the background, which others use
        place.run("bash", "-ec", text)
        return
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] in COMMANDS and "||" not in words:
            run_ours(place, *words)
        else:
            place.run("bash", "-ec", line)


def run_ours(place: Place, *words: str, fails_with: int = 0) -> str:
    """Run one of our commands, and return what it prints."""
    with here(place):
        result = CliRunner().invoke(COMMANDS[words[0]], words[1:], env={"COLUMNS": "200"})
    assert result.exit_code == fails_with, f"{' '.join(words)}: {result.output}"
    return result.output


def python(place: Place, text: str) -> dict[str, Any]:
    """Run Python, and return its names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    with here(place):
        exec(compile(text, "block", "exec"), names)
    return names
