"""Implements the `flowkit-runtime` command.

To add a subcommand, write its module in this package and register it below.
"""

from __future__ import annotations

import typer

from flowkit_runtime.cli.frame import NAME, Commands, register
from flowkit_runtime.cli.info import info
from flowkit_runtime.cli.interpolate import interpolate
from flowkit_runtime.cli.latents import decode, encode
from flowkit_runtime.cli.sample import sample
from flowkit_runtime.cli.score import score
from flowkit_runtime.cli.serve import serve
from flowkit_runtime.cli.signals import ended_by_signals
from flowkit_runtime.cli.terminal import open_streams
from flowkit_runtime.cli.verify import verify

app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def flowkit_runtime() -> None:
    """Run a normalizing flow that `flowkit export` wrote, with numpy and onnxruntime alone."""


for command in (info, verify, score, sample, encode, decode, interpolate, serve):
    register(app, NAME, command)


def main() -> None:
    """Run the command line. This is the entry point of the console script."""
    open_streams()
    with ended_by_signals():
        app()
