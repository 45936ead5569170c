"""Implements `flowkit plugins list`."""

from typing import TYPE_CHECKING, Annotated

import typer

from flowkit.cli.terminal import columns, echo

if TYPE_CHECKING:
    from flowkit.plugin import Registry


def listing(every: Annotated[bool, typer.Option("--all", help="Load them all, and list each plugin.")] = False) -> None:
    """List the namespaces that are installed, from their metadata: no plugin is imported.

    Broken plugins show with --all, on stderr, with the reason.

    Example: flowkit plugins list --all
    """
    from flowkit.plugin import Registry

    registry = Registry.discover()
    if every:
        _plugins(registry)
    else:
        _namespaces(registry)


def _namespaces(registry: "Registry") -> None:
    claims = [claim for namespace in registry.namespaces for claim in registry.claims(namespace)]
    rows = [
        (each.namespace, each.origin.distribution, each.origin.version, each.state, each.origin.summary)
        for each in claims
    ]
    echo(columns(("namespace", "distribution", "version", "state", "summary"), *rows))
    echo("\n`flowkit plugins show NAMESPACE` lists the plugins of one, and `flowkit plugins list --all` those of all.")


def _plugins(registry: "Registry") -> None:
    found, broken = registry.load_all()
    rows = [
        (
            *(each.name, each.kind, each.descriptor.likelihood, each.descriptor.directions),
            *(each.distribution, each.version, each.descriptor.summary),
        )
        for each in sorted(found, key=lambda each: (each.kind, each.name))
    ]
    echo(columns(("name", "kind", "likelihood", "directions", "distribution", "version", "summary"), *rows))
    for error in broken.values():
        echo(f"broken: {error}", err=True)
