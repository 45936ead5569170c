"""Registers the base distribution of this package, with the fields that a spec may give it. It imports no torch."""

from flowkit.plugin import BaseConfig, Descriptor, hookimpl
from pydantic import PositiveFloat


class NameBaseConfig(BaseConfig):
    """Independent, symmetric distributions. Tails are heavier than normal ones for `tail` > 1, and lighter for < 1."""

    tail: PositiveFloat = 1.5
    """The weight of the tails. 1 is the standard normal distribution."""


@hookimpl
def flowkit_register_bases() -> list[Descriptor]:
    return [
        Descriptor("base", NameBaseConfig, "flowkit_NAME.base:NameBase"),
    ]
