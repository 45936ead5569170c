"""A spec that uses a plugin, as short as it gets, and valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowkit.plugin import Found, Registry

EVENTS: tuple[dict[str, Any], ...] = (
    {"shape": [2]},
    {"shape": [4, 8, 8]},
    {"shape": [2], "levels": 256},
    {"shape": [4, 8, 8], "levels": 256},
)
"""Tried in turn until one is taken."""


def example_spec(found: Found, registry: Registry) -> dict[str, Any] | None:
    """The spec as plain data, for a dataset only its section; None if the fields that it needs can't be guessed."""
    from flowkit.plugin.example import example_fields
    from flowkit.spec import SpecError, read_spec

    use = {"use": found.name, **example_fields(found.descriptor.config)}
    for event in EVENTS:
        spec = {"flowkit": 1, "event": event, **_sections(found.kind, use)}
        try:
            read_spec(spec, registry=registry)
        except SpecError:
            continue
        return {"data": use} if found.kind == "dataset" else spec
    return None


def _sections(kind: str, use: dict[str, Any]) -> dict[str, Any]:
    affine, network, plain = {"use": "glow/affine"}, {"use": "glow/mlp"}, [{"use": "glow/actnorm"}]
    match kind:
        case "bijector":
            return {"flow": [use]}
        case "transformer":
            return {"flow": [{"coupling": use, "conditioner": network}]}
        case "split":
            return {"flow": [{"coupling": affine, "conditioner": network, "split": use}]}
        case "conditioner":
            return {"flow": [{"coupling": affine, "conditioner": use}]}
        case "base":
            return {"flow": plain, "base": use}
    return {"flow": plain, "data": use}
