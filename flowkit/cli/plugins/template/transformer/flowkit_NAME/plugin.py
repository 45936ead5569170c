"""Registers the transformer of this package, with the fields that a spec may give it. It imports no torch."""

from typing import Annotated

from flowkit.plugin import Descriptor, TransformerConfig, hookimpl
from pydantic import Field


class NameTransformerConfig(TransformerConfig):
    """A line with one smooth bend: one slope far to the left, another far to the right."""

    max_slope: Annotated[float, Field(gt=1, le=100)] = 4.0
    """Both slopes stay between 1/max_slope and max_slope."""


@hookimpl
def flowkit_register_transformers() -> list[Descriptor]:
    return [
        Descriptor("transformer", NameTransformerConfig, "flowkit_NAME.transformer:NameTransformer"),
    ]
