"""Registers the base distributions."""

from __future__ import annotations

from flowkit.plugin import BaseConfig, Descriptor, hookimpl


class StandardNormalConfig(BaseConfig):
    """N(0, I): independent standard normals."""


@hookimpl
def flowkit_register_bases() -> list[Descriptor]:
    return [Descriptor("standard_normal", StandardNormalConfig, "flowkit.bijectors.base_distribution:StandardNormal")]
