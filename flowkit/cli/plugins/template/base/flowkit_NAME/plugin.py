"""What a spec may say of the base distribution in this package. Imports no torch."""

from flowkit.plugin import BaseConfig, Descriptor, hookimpl
from pydantic import PositiveFloat


class NameBaseConfig(BaseConfig):
    """Independent, symmetric, with heavier tails than the normal distribution for `tail` > 1, lighter for < 1."""

    tail: PositiveFloat = 1.5
    """1 is the standard normal distribution."""


@hookimpl
def flowkit_register_bases() -> list[Descriptor]:
    return [
        Descriptor("base", NameBaseConfig, "flowkit_NAME.base:NameBase"),
    ]
