"""Implements `flowkit schema`."""

from flowkit.cli.terminal import echo


def schema() -> None:
    """Print a JSON Schema of specs, with the plugins installed here, for completion in an editor.

    Example: flowkit schema > flowkit.schema.json
    """
    import json

    from flowkit.plugin import Registry
    from flowkit.spec.schema import json_schema

    registry = Registry.discover()
    echo(json.dumps(json_schema(registry), indent=2, allow_nan=False))
    for error in registry.load_all()[1].values():
        echo(f"left out: {error}", err=True)
