"""The event of the spec that a config is read for, as its validators see it."""

from __future__ import annotations

from typing import Protocol

from pydantic import ValidationInfo

from flowkit.shapes import Shape

KEY = "event"
"""Where pydantic's validation context holds the event."""


class Event(Protocol):
    """One data point, as the spec's `event` section says."""

    @property
    def shape(self) -> Shape:
        """(d,) for vectors, (channels, height, width) for images."""

    @property
    def levels(self) -> int | None:
        """Integer data takes the values 0 … levels - 1; None for continuous data."""


def event_of(info: ValidationInfo) -> Event | None:
    """The spec's event, in a validator of a config, for defaults and checks that depend on it::

        @field_validator("high", mode="before")
        @classmethod
        def _levels(cls, high: Any, info: ValidationInfo) -> Any:
            event = event_of(info)
            return event.levels if high is None and event else high

    It is the event that enters the flow, whatever reaches this layer: shapes are the business of ``output_shape``.
    None if the config is made on its own, or if the spec's event isn't valid.
    """
    return (info.context or {}).get(KEY)
