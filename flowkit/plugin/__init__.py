"""Provides what a plugin author imports in ``plugin.py``: descriptors, hooks and config bases. It needs no torch."""

from typing import TYPE_CHECKING, Any

from flowkit.directions import Directions
from flowkit.domains import POSITIVE, REALS, Circle, Domain, Domains, Interval, by_coordinate
from flowkit.errors import DataError, ShapeError
from flowkit.plugin.config import (
    BaseConfig,
    BijectorConfig,
    ConditionerConfig,
    DatasetConfig,
    EncoderConfig,
    Event,
    FlowContext,
    MaskedConditionerConfig,
    OrderConfig,
    PluginConfig,
    ReadsContext,
    SplitConfig,
    TransformerConfig,
    context_of,
    event_of,
)
from flowkit.plugin.dataset import FRACTIONS, PARTS, Arrays, Dataset, PartName
from flowkit.plugin.descriptor import Descriptor
from flowkit.plugin.domain_field import CircleOfEvent, DomainField, DomainOfEvent
from flowkit.plugin.found import Found
from flowkit.plugin.loading import hookimpl
from flowkit.plugin.policy import Policy
from flowkit.plugin.reference import (
    BaseRef,
    ConditionerRef,
    DatasetRef,
    EncoderRef,
    MaskedConditionerRef,
    OrderRef,
    Ref,
    SplitRef,
    TransformerRef,
    Use,
)
from flowkit.plugin.registration import register
from flowkit.plugin.registry import Registry
from flowkit.plugin.scale_bounds import ScaleBounds
from flowkit.shapes import Shape, halve

if TYPE_CHECKING:
    from flowkit.plugin.rows import Rows as Rows

__all__ = [
    "FRACTIONS",
    "PARTS",
    "POSITIVE",
    "REALS",
    "Arrays",
    "BaseConfig",
    "BaseRef",
    "BijectorConfig",
    "Circle",
    "CircleOfEvent",
    "ConditionerConfig",
    "ConditionerRef",
    "DataError",
    "Dataset",
    "DatasetConfig",
    "DatasetRef",
    "Descriptor",
    "Directions",
    "Domain",
    "DomainField",
    "DomainOfEvent",
    "Domains",
    "EncoderConfig",
    "EncoderRef",
    "Event",
    "FlowContext",
    "Found",
    "Interval",
    "MaskedConditionerConfig",
    "MaskedConditionerRef",
    "OrderConfig",
    "OrderRef",
    "PartName",
    "PluginConfig",
    "Policy",
    "ReadsContext",
    "Ref",
    "Registry",
    "Rows",
    "ScaleBounds",
    "Shape",
    "ShapeError",
    "SplitConfig",
    "SplitRef",
    "TransformerConfig",
    "TransformerRef",
    "Use",
    "by_coordinate",
    "context_of",
    "event_of",
    "halve",
    "hookimpl",
    "register",
]


def __getattr__(name: str) -> Any:
    if name == "Rows":  # which imports numpy
        from flowkit.plugin.rows import Rows

        return Rows
    raise AttributeError(f"module 'flowkit.plugin' has no attribute {name!r}")
