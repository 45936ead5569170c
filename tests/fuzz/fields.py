"""Hypothesis strategies for what a spec may write into the fields of a config, read off the config itself.

Values are small, and numbers lie on coarse grids: the flows that they make stay small and well conditioned. A validator
of the config's own may still refuse what its types allow; who draws tries again.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Len, Lt, MaxLen, MinLen, MultipleOf
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict

from flowkit.domains import Circle, Domains
from flowkit.plugin import Registry
from flowkit.plugin.reference import Ref

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["null", "1e3", "yes", "- a", "a: b", "#", "~", "0x1f", "=", "<<", "*a", "&a", "!a", "|", "'", '"', "{", "on", "."]
)
"""Text, and text that YAML would read as something else if it were not quoted."""

DOMAINS = st.sampled_from(
    ["real", "positive", [0, 1], [-1.5, 2], [0, None], [None, 3.5], {"circle": [0, 1]}, {"circle": [-3.14, 3.14]}]
)

PERMUTATIONS = st.integers(1, 12).flatmap(lambda size: st.permutations(range(size)))
"""Of as many indices as a vector may have values."""

Fields = st.SearchStrategy[dict[str, Any]]


@dataclass(frozen=True)
class Bounds:
    """What a field's metadata says of a number, or of the length of a list."""

    low: float | None = None
    high: float | None = None
    strict_low: bool = False
    strict_high: bool = False
    step: float = 1
    least: int = 0
    most: int | None = None

    @classmethod
    def read(cls, metadata: Iterable[Any]) -> Bounds:
        found: dict[str, Any] = {}
        for mark in _flat(metadata):
            match mark:
                case Gt():
                    found |= {"low": mark.gt, "strict_low": True}
                case Ge():
                    found["low"] = mark.ge
                case Lt():
                    found |= {"high": mark.lt, "strict_high": True}
                case Le():
                    found["high"] = mark.le
                case MultipleOf():
                    found["step"] = mark.multiple_of
                case MinLen():
                    found["least"] = mark.min_length
                case MaxLen():
                    found["most"] = mark.max_length
                case Len():
                    found |= {"least": mark.min_length, "most": mark.max_length}
        return cls(**found)

    def integers(self) -> st.SearchStrategy[int]:
        """The seven that are nearest to the lower bound, or to 0."""
        start = -3 if self.low is None and self.high is None else self.low if self.low is not None else self.high - 6
        numbers = (int(-(-start // self.step) + k) * self.step for k in itertools.count())
        return st.sampled_from(self._within(itertools.islice(numbers, 8)))

    def floats(self) -> st.SearchStrategy[float]:
        """Sixteenths of the range; powers of 2 from a single bound; quarters without bounds."""
        if self.low is not None and self.high is not None:
            grid = [self.low + (self.high - self.low) * k / 16 for k in range(17)]
        elif self.low is not None or self.high is not None:
            bound, sign = (self.low, 1) if self.low is not None else (self.high, -1)
            grid = [bound, *(bound + sign * 2.0**k for k in range(-4, 5))]
        else:
            grid = [k / 4 for k in range(-12, 13)]
        return st.sampled_from([float(number) for number in self._within(grid)])

    def _within(self, numbers: Iterable[Any]) -> list[Any]:
        return [number for number in numbers if self._holds(number)]

    def _holds(self, number: float) -> bool:
        above = self.low is None or number > self.low or (number == self.low and not self.strict_low)
        below = self.high is None or number < self.high or (number == self.high and not self.strict_high)
        return above and below


def _flat(metadata: Iterable[Any]) -> Iterable[Any]:
    for mark in metadata:
        yield from _flat(mark.metadata) if isinstance(mark, FieldInfo) else [mark]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Strategies over everything that ``registry`` has installed."""

    registry: Registry

    @cache  # noqa: B019  (one registry for the whole run)
    def use(self, kind: str) -> Fields:
        """``{use: namespace/name, …}`` for any plugin of the kind."""
        installed, _ = self.registry.load_all()
        found = sorted((each for each in installed if each.kind == kind), key=lambda each: each.name)
        return st.one_of([self._plugin(each.name, each.descriptor.config) for each in found])

    def has(self, kind: str) -> bool:
        """Whether a plugin of the kind is installed."""
        return any(each.kind == kind for each in self.registry.load_all()[0])

    def _plugin(self, name: str, config: type[BaseModel]) -> Fields:
        return self.model(config).map(lambda fields: {"use": name, **fields})

    @cache  # noqa: B019
    def model(self, model: type[BaseModel]) -> Fields:
        """The fields of a mapping; those that have a default are left out every other time."""
        fields = {info.alias or name: info for name, info in model.model_fields.items()}
        values = {name: self._field(info) for name, info in fields.items()}
        required = {name: value for name, value in values.items() if fields[name].is_required()}
        optional = {name: value for name, value in values.items() if name not in required}
        return st.fixed_dictionaries(required, optional=optional)

    def _field(self, info: FieldInfo) -> st.SearchStrategy[Any]:
        typed = self._value(info.annotation, info.metadata)
        near = None if info.is_required() else _near(info.get_default(call_default_factory=True))
        return typed if near is None else near | typed

    def _value(self, annotation: Any, metadata: Sequence[Any]) -> st.SearchStrategy[Any]:
        kinds = [mark.kind for mark in metadata if isinstance(mark, Ref)]
        if kinds:
            return st.deferred(lambda: self.use(kinds[0]))
        if annotation in (Domains, Circle):
            return DOMAINS | st.lists(DOMAINS, min_size=1, max_size=4)
        match get_origin(annotation):
            case None:
                return self._plain(annotation, Bounds.read(metadata))
            case origin if origin is Annotated:
                inner, *more = get_args(annotation)
                return self._value(inner, [*more, *metadata])
            case origin if origin is Literal:
                return st.sampled_from(get_args(annotation))
            case origin if origin in (Union, types.UnionType):
                return st.one_of([self._value(each, metadata) for each in get_args(annotation)])
            case origin if origin is tuple and get_args(annotation)[-1] is not ...:
                return st.tuples(*(self._value(each, []) for each in get_args(annotation))).map(list)
            case origin if origin in (list, tuple, set, frozenset):
                bounds = Bounds.read(metadata)
                most = bounds.least + 3 if bounds.most is None else bounds.most
                item = get_args(annotation)[0]
                lists = st.lists(self._value(item, []), min_size=bounds.least, max_size=most)
                return lists | PERMUTATIONS if _is_index(item) else lists
            case origin if origin is dict:
                return st.dictionaries(TEXT.filter(str.isprintable), self._value(get_args(annotation)[1], []))
        raise NotImplementedError(f"no strategy for a field of type {annotation}: write one here")

    def _plain(self, annotation: Any, bounds: Bounds) -> st.SearchStrategy[Any]:
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            return st.sampled_from([member.value for member in annotation])
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return self.model(annotation)
        if is_typeddict(annotation):
            values = {name: self._value(each, []) for name, each in get_type_hints(annotation).items()}
            required = {name: values.pop(name) for name in annotation.__required_keys__}
            return st.fixed_dictionaries(required, optional=values)
        plain = {bool: st.booleans, int: bounds.integers, float: bounds.floats, type(None): st.none}
        if annotation in plain:
            return plain[annotation]()
        if annotation in (str, Path):
            return TEXT
        raise NotImplementedError(f"no strategy for a field of type {annotation}: write one here")


def _is_index(annotation: Any) -> bool:
    """Whether a type is that of the integers from 0 on."""
    kind, *metadata = get_args(annotation) or (annotation,)
    return kind is int and Bounds.read(metadata) == Bounds(low=0)


def _near(default: Any) -> st.SearchStrategy[Any] | None:
    """A number halved or doubled, a tuple of numbers in another order too: what may pass a validator that no type
    tells of, such as lo < 1 < hi or a sum of 1. None for other defaults."""
    match default:
        case float():
            return st.sampled_from([default, default / 2, default * 2])
        case tuple() if default and all(isinstance(number, float) for number in default):
            scaled = st.tuples(*(_near(number) for number in default))
            return (scaled | st.permutations(default)).map(list)
    return None
