"""Implements `flowkit plugins show`."""

import inspect
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from flowkit.cli.terminal import columns, echo
from flowkit.errors import PluginError

if TYPE_CHECKING:
    from flowkit.plugin import Descriptor, Found, Registry

FIELD_HEADS = ("name", "type", "default", "meaning")


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A namespace, or namespace/name.", show_default=False)],
) -> None:
    """Say what a plugin is and what a spec may write about it, or list the plugins of a namespace.

    Example: flowkit plugins show glow/affine
    """
    from flowkit.plugin import Registry

    registry = Registry.discover()
    echo(_plugin(registry, registry.look_up(None, name)) if "/" in name else _namespace(registry, name))


def _namespace(registry: "Registry", namespace: str) -> str:
    found, origin = registry.plugins_of(namespace).values(), registry.claims(namespace)[0].origin
    rows = [
        (each.name, each.kind, each.descriptor.likelihood, each.descriptor.directions, each.descriptor.summary)
        for each in found
    ]
    summary = f": {origin.summary}" if origin.summary else ""
    return f"{namespace}, of {origin}{summary}\n\n{columns(*rows) or 'no plugins'}"


def _plugin(registry: "Registry", found: "Found") -> str:
    """Return the config's docstring, fields and shapes, the target's docstring, and an example.

    No target is imported.
    """
    from flowkit.plugin.description import example_config, field_rows, mappings_in
    from flowkit.plugin.shape_rules import shape_rule
    from flowkit.spec import to_yaml
    from flowkit.spec.example import example_spec

    descriptor = found.descriptor
    rows = field_rows(descriptor.config)
    config, example = example_config(found, registry), example_spec(found, registry)
    sections = {
        "Fields": columns(FIELD_HEADS, *rows) if rows else "none",
        **{
            f"Fields of {each.__name__}": columns(FIELD_HEADS, *field_rows(each))
            for each in mappings_in(descriptor.config)
        },
        "Shapes, with the fields of the example": "\n".join(shape_rule(config)) if config else "",
        f"Target {descriptor.place}": _target(descriptor),
        "Example": to_yaml(example).rstrip() if example else "",
    }
    parts = [f"{title}\n{textwrap.indent(text, '    ')}" for title, text in sections.items() if text]
    one_way = "" if descriptor.directions == "both" else f", {descriptor.directions} only"
    capabilities = f"plugin API {descriptor.api}, {descriptor.likelihood} likelihood{one_way}"
    title = f"{found.name}: {found.kind} of {found.origin}, {capabilities}"
    return "\n\n".join([title, inspect.getdoc(descriptor.config) or "", *parts])


def _target(descriptor: "Descriptor") -> str:
    """Return the target's docstring, or why it can't be used."""
    from flowkit.plugin.description import target_doc

    try:
        return target_doc(descriptor.target) or "without a docstring"
    except PluginError as error:
        return f"can't be found: {error}"
