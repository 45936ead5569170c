"""Implements `flowkit diff`."""

from pathlib import Path
from typing import Annotated

import typer

from flowkit.cli.terminal import printable


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A spec file, or a run.", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another spec file or run.", show_default=False)],
) -> None:
    """Say how two specs differ, defaults filled in: - only in A, + only in B, ~ changed from A to B.

    Paths are those of A. A field that only B has stands at its place in B. The exit code is 0 if there is no
    difference, 1 if there is one, and 2 on an error.

    Example: flowkit diff specs/glow-digits.yaml runs/glow-digits
    """
    from rich.console import Console
    from rich.text import Text

    from flowkit.plugin import Registry
    from flowkit.spec import model_hash, read_spec
    from flowkit.spec.comparison import spec_differences

    registry = Registry.discover()
    a, b = (read_spec(_spec_file(path), (), registry) for path in (first, second))
    console, differences = Console(), spec_differences(a, b)
    colours = {"+": "green", "-": "red", "~": "yellow"}
    for difference in differences:
        console.print(Text(printable(str(difference)), colours[difference.sign]), soft_wrap=True)
    hashes = [model_hash(spec)[:12] for spec in (a, b)]
    models = f"same model {hashes[0]}" if hashes[0] == hashes[1] else f"models {hashes[0]} and {hashes[1]}"
    console.print(f"{len(differences) or 'no'} difference{'s' * (len(differences) != 1)}, {models}", highlight=False)
    if differences:
        raise typer.Exit(1)


def _spec_file(path: Path) -> Path:
    """Return the file itself, or the spec of a run. The run may come from a stranger."""
    if not path.is_dir():
        return path
    from flowkit.errors import RunError
    from flowkit_runtime.files import stays_inside

    file = path / "spec.yaml"
    if file.exists() and not (file.is_file() and stays_inside(file, path)):
        raise RunError(f"{file} is no regular file of the run: put the file itself there")
    return file
