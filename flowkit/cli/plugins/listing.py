"""`flowkit plugins list`"""

from __future__ import annotations

import typer


def listing() -> None:
    """List the plugins installed here; broken ones, and why, on stderr.

    Example: flowkit plugins list
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from flowkit.plugin import Registry

    found, broken = Registry.discover().installed()
    table = Table(box=None)
    for title in ("name", "kind", "summary", "from"):
        table.add_column(title, no_wrap=title != "summary")
    for plugin in sorted(found, key=lambda plugin: (plugin.kind, plugin.name)):
        origin = f"{plugin.distribution} {plugin.version}"
        cells = (plugin.name, plugin.kind, plugin.descriptor.summary, origin)
        table.add_row(*map(Text, cells))  # as Text, for "[0, 256)" is no markup
    Console().print(table)
    for error in broken.values():
        typer.echo(f"broken: {error}", err=True)
