"""Defines the types of fields of specs and configs that hold the domain of an event."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from flowkit.domains import POSITIVE, REALS, Circle, Domain, Domains, Interval
from flowkit.plugin.config import event_of

NAMED: dict[str, Domain] = {"real": REALS, "positive": POSITIVE}


def read_domain(value: Any) -> Domains:
    """Return the domain that a spec spells: of all coordinates, or a tuple with one for each coordinate."""
    if isinstance(value, list | tuple) and value and not _is_interval(value):
        return tuple(map(_one, value))
    return _one(value)


def written_domain(domains: Domains) -> Any:
    """Return the domain as a spec spells it."""
    if isinstance(domains, tuple):
        return [written_domain(domain) for domain in domains]
    for name, domain in NAMED.items():
        if domain == domains:
            return name
    ends = [None if math.isinf(end) else end for end in (domains.low, domains.high)]
    return {"circle": ends} if isinstance(domains, Circle) else ends


def _is_interval(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_end, value))


def _is_end(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))


def _one(value: Any) -> Domain:
    if isinstance(value, Interval | Circle):
        return value
    if isinstance(value, str) and value in NAMED:
        return NAMED[value]
    circle = value.get("circle") if isinstance(value, dict) and len(value) == 1 else None
    ends = value if circle is None else circle
    if not _is_interval(ends) or (circle is not None and None in ends):
        raise PydanticCustomError(
            "domain",
            "a domain is real, positive, [low, high] (null for an infinite end) or a mapping circle: [low, high]; for "
            "a vector it may be a list with one of these for each coordinate",
        )
    low, high = (math.inf if end is None else float(end) for end in ends)
    low = -math.inf if ends[0] is None else low
    if not low < high:
        raise PydanticCustomError("domain", "begins at {low} and ends at {high}", {"low": ends[0], "high": ends[1]})
    return Interval(low, high) if circle is None else Circle(low, high)


def _or_of_the_event(value: Any, info: ValidationInfo) -> Any:
    if value is not None:
        return value
    event = event_of(info)
    if event is None or event.domains == REALS:
        example = "[0, 1], for example" if event is None or event.levels is None else f"[0, {event.levels}]"
        message = "is needed, because the event has no `domain`: {example}"
        raise PydanticCustomError("missing_domain", message, {"example": example})
    return event.domains


def _circle(domains: Domains) -> Circle:
    if not isinstance(domains, Circle):
        raise PydanticCustomError(
            "circle", "must be a circle: declare it as event: {domain: {circle: [low, high]}}, or here"
        )
    return domains


_END = {"anyOf": [{"type": "number"}, {"type": "null"}]}
_PAIR = {"type": "array", "items": _END, "minItems": 2, "maxItems": 2}
_CIRCLE = {
    "type": "object",
    "properties": {"circle": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}},
    "required": ["circle"],
    "additionalProperties": False,
}
_ONE = [{"enum": list(NAMED)}, _PAIR, _CIRCLE]

_DOMAIN = (
    PlainValidator(read_domain),
    PlainSerializer(written_domain),
    WithJsonSchema({"format": "domain", "anyOf": [*_ONE, {"type": "array", "items": {"anyOf": _ONE}, "minItems": 1}]}),
)

DomainField = Annotated[Domains, *_DOMAIN]
"""A domain as a spec spells it: ``real``, ``positive``, ``[low, high]`` or ``{circle: [low, high]}``.

It is that of all coordinates of an event. For a vector, a list has one for each coordinate. A ``null`` end is infinite.
"""

DomainOfEvent = Annotated[Domains, *_DOMAIN, BeforeValidator(_or_of_the_event)]
"""The same, by default the domain of the spec's event.

It is declared as ``bounds: DomainOfEvent = Field(default=None, validate_default=True)``.
"""

CircleOfEvent = Annotated[Circle, *_DOMAIN, BeforeValidator(_or_of_the_event), AfterValidator(_circle)]
"""The same for a circle."""
