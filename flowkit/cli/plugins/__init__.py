"""Implements `flowkit plugins`: one module for each of its commands."""

import typer

from flowkit.cli.plugins.check import check
from flowkit.cli.plugins.listing import listing
from flowkit.cli.plugins.new import new
from flowkit.cli.plugins.show import show

plugins = typer.Typer()


@plugins.callback(invoke_without_command=True)
def _list_by_default(context: typer.Context) -> None:
    """List, show, check and begin plugins.

    Example: flowkit plugins
    """
    if context.invoked_subcommand is None:
        listing()


plugins.command("list")(listing)
plugins.command("new")(new)
plugins.command()(show)
plugins.command()(check)
