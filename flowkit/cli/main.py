"""Implements the `flowkit` command. To add one: write its module beside this one, and register it below."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import typer

from flowkit import __version__
from flowkit.cli.diff import diff
from flowkit.cli.evaluate import evaluate
from flowkit.cli.export import export
from flowkit.cli.new import new
from flowkit.cli.options import Settable
from flowkit.cli.plugins import plugins
from flowkit.cli.sample import sample
from flowkit.cli.schema import schema
from flowkit.cli.show import show
from flowkit.cli.sweep import sweep
from flowkit.cli.terminal import echo, keep_stdout, limited
from flowkit.cli.train import train
from flowkit.cli.validate import validate
from flowkit.errors import FlowkitError, SpecError
from flowkit.plain_warnings import show_warnings_plainly
from flowkit_runtime.cli import frame
from flowkit_runtime.cli.score import score
from flowkit_runtime.cli.signals import ended_by_signals
from flowkit_runtime.cli.verify import verify


class Commands(frame.Commands):
    """Ends a command that fails on purpose with the message and its exit code, without a traceback."""

    def message(self, error: BaseException) -> str | None:
        """Return the message of an error of flowkit, a plugin or the runtime, in its words. Long ones are cut."""
        if isinstance(error, SpecError):
            return str(error)
        text = str(error) if isinstance(error, FlowkitError) else super().message(error) or _blame(error)
        return None if text is None else limited(text)


def _blame(error: BaseException) -> str | None:
    from flowkit.plugin.blame import blame  # only on the way to an error

    return blame(error)


def _print_version(wanted: bool) -> None:
    if wanted:
        echo(f"flowkit {__version__}")
        raise typer.Exit


PluginOption = partial(typer.Option, show_default=False, rich_help_panel="Installed plugins")


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set for this command, and so for whatever processes it starts."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def flowkit(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    no_plugins: Annotated[
        bool, PluginOption("--no-plugins", envvar="FLOWKIT_NO_PLUGINS", help="Use only what flowkit itself brings.")
    ] = False,
    allow_plugins: Annotated[
        str | None,
        PluginOption(
            envvar="FLOWKIT_ALLOW_PLUGINS",
            metavar="NAMESPACE,…",
            help="Use only these, and what flowkit brings.",
        ),
    ] = None,
    deny_plugins: Annotated[
        str, PluginOption(envvar="FLOWKIT_DENY_PLUGINS", metavar="NAMESPACE,…", help="Don't use these.")
    ] = "",
    strict: Annotated[
        bool,
        PluginOption(
            "--strict",
            envvar="FLOWKIT_STRICT",
            help="Stop with an error if a plugin that may be used is broken, collides, or has another API.",
        ),
    ] = False,
) -> None:
    """Make normalizing flows from spec files: validate, train, export to ONNX."""
    try:
        os.getcwd()
    except FileNotFoundError as error:  # torch's libraries would end the process
        raise FlowkitError("the working directory was removed: change to one that is there") from error
    variables = {
        "FLOWKIT_NO_PLUGINS": str(int(no_plugins)),
        "FLOWKIT_DENY_PLUGINS": deny_plugins,
        "FLOWKIT_STRICT": str(int(strict)),
        **({} if allow_plugins is None else {"FLOWKIT_ALLOW_PLUGINS": allow_plugins}),
    }
    from flowkit.plugin.found import warn_of_conflicts

    warn_of_conflicts()
    context.with_resource(_environment(variables))
    if strict:
        from flowkit.plugin import Registry

        Registry.discover()


app.command()(new)
app.command()(validate)
app.command()(show)
app.command()(diff)
app.command()(schema)
app.add_typer(plugins, name="plugins")
app.command(cls=Settable)(train)
app.command(cls=Settable)(sweep)
app.command()(evaluate)
app.command()(sample)
app.command()(export)
frame.register(app, "flowkit", verify)
frame.register(app, "flowkit", score)


def main() -> None:
    """Run the command. This is the entry point of the console script."""
    keep_stdout()
    show_warnings_plainly()
    with ended_by_signals():
        app()
