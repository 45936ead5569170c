"""Describes the columns of a table that make the events and contexts of a flow."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, get_args

from flowkit_runtime.errors import expect, few, shortened

ColumnKind = Literal["number", "integer", "time", "category"]
Missing = Literal["refuse", "drop"]

MAX_COLUMNS = 4096
"""The most columns of an event, and of a context."""
MAX_NAMED = 10
"""The most missing columns that a message names."""
MAX_CATEGORIES = 65536
"""The most categories of a column, as of the classes of a context."""
MAX_WIDTH = 65536
"""The most values of a context that columns make: categories are one-hot, so few bytes may ask for many."""
MAX_NUMBER = 1e300
"""The largest offset, scale or fill."""


@dataclass(frozen=True)
class Column:
    """A column of a table, and how its values become numbers.

    A number becomes (value - offset) / scale. A time is the number of days since 1970, and is treated like a number.
    For an integer the quotient is a whole number k, which becomes k + u in an event, with noise u between 0 and 1. A
    category becomes its index in ``categories`` plus u in an event, and one-hot in a context.

    Attributes:
        column: its name.
        kind: what its values are.
        offset, scale: see above. They keep float32 precise, and standardize a context.
        fill: a number that takes the place of missing values in a context. A second value of the context is then 1
            where the value was missing, and 0 elsewhere. With None, missing values aren't replaced.
        period: the length of the circle that the values lie on, such as 24 for hours. In a context the value v, after
            the offset, is then the point (cos, sin) of the angle 2π v / period.
        categories: the values of a category, as text. None among them stands for a missing value.
    """

    column: str
    kind: ColumnKind = "number"
    offset: float = 0.0
    scale: float = 1.0
    fill: float | None = None
    period: float | None = None
    categories: tuple[str | None, ...] = ()

    @property
    def width(self) -> int:
        """The number of values that it makes in a context."""
        if self.kind == "category":
            return len(self.categories)
        return (1 if self.period is None else 2) + (self.fill is not None)

    @property
    def is_dequantized(self) -> bool:
        """True if noise is added to its values in an event."""
        return self.kind in ("integer", "category")


@dataclass(frozen=True)
class Preprocessing:
    """The columns that make events, [len(event)], and contexts, [sum of widths], or a column of labels.

    Attributes:
        event, context: the columns, in the order of the values. The context may have none.
        label: a category that makes the labels of a flow whose context is a class; None if there is no such column.
            Its categories are the names of the classes. They are empty until the data is read.
        missing: "drop" leaves out rows that lack a value; "refuse" raises an error for them. Values that have a
            ``fill``, or a category None, aren't lacking.
    """

    event: tuple[Column, ...]
    context: tuple[Column, ...] = ()
    missing: Missing = "refuse"
    label: Column | None = None

    @property
    def contexts(self) -> tuple[Column, ...]:
        """The columns of the context, or that of the labels."""
        return self.context if self.label is None else (self.label,)

    @property
    def context_columns(self) -> str:
        """The columns of the context, as messages list them: `the columns a, b`."""
        names = ", ".join(column.column for column in self.contexts)
        return f"the column{'s' * (len(self.contexts) > 1)} {names}"

    @property
    def kinds(self) -> dict[str, ColumnKind]:
        """The columns that are read, by name."""
        return {column.column: column.kind for column in (*self.event, *self.contexts)}

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        """The shapes of an event and of a context: () for a label, None without a context."""
        widths = sum(column.width for column in self.context)
        return (len(self.event),), () if self.label is not None else (widths,) if self.context else None


def no_columns(names: Sequence[str], columns: Iterable[str]) -> str:
    """Return what to say of names that aren't among these columns: the names, and the columns that may be meant."""
    near = {column.strip().casefold(): column for column in columns}
    listed = [_with_likely(name, near) for name in names[:MAX_NAMED]] + list(names[MAX_NAMED:])
    return f"no column{'s' * (len(names) > 1)} {few(listed, MAX_NAMED)}"


def _with_likely(name: str, near: Mapping[str, str]) -> str:
    """Return a name and the column, by its name in lower case, that may be meant."""
    key = name.strip().casefold()
    likely = [key] if key in near else difflib.get_close_matches(key, list(near)[:MAX_COLUMNS], 1, 0.8)
    return shortened(repr(name)) + (f" (did you mean {shortened(repr(near[likely[0]]))}?)" if likely else "")


def described(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the preprocessing as JSON values, without the defaults. The classes of a label aren't among them."""
    columns = {part: [described_column(each) for each in getattr(preprocessing, part)] for part in ("event", "context")}
    label = {} if preprocessing.label is None else {"label": preprocessing.label.column}
    return {**columns, **label, "missing": preprocessing.missing}


def described_column(column: Column) -> dict[str, Any]:
    """Return a column as JSON values, without the defaults."""
    values = ((field, getattr(column, field.name)) for field in fields(column))
    return {
        field.name: list(value) if isinstance(value, tuple) else value
        for field, value in values
        if field.default is MISSING or value != field.default
    }


def parsed(value: Any, classes: tuple[str, ...] = ()) -> Preprocessing:
    """Return the preprocessing that JSON values from an untrusted file describe. Raises TypeError.

    ``classes`` are the names of the context's classes, if there are any.
    """
    is_object = isinstance(value, dict) and set(value) - {"label"} == {"event", "context", "missing"}
    expect(is_object, "preprocessing", value, "an object of event, context and missing")
    missing = value["missing"]
    expect(missing in get_args(Missing), "preprocessing.missing", missing, f"one of {', '.join(get_args(Missing))}")
    event, context = (_columns(f"preprocessing.{part}", value[part]) for part in ("event", "context"))
    expect(len(event) > 0, "preprocessing.event", [], "a list of columns")
    made = Preprocessing(event, context, missing, _label(value, classes))
    if len(made.kinds) < len(event) + len(made.contexts):
        raise TypeError("preprocessing names a column twice")
    if (width := sum(column.width for column in context)) > MAX_WIDTH:
        raise TypeError(f"preprocessing makes contexts of {width} values; the most is {MAX_WIDTH}")
    return made


def _label(value: dict[str, Any], classes: tuple[str, ...]) -> Column | None:
    if "label" not in value:
        return None
    expect(isinstance(value["label"], str), "preprocessing.label", value["label"], "the name of a column")
    if value["context"] or not classes:
        raise TypeError("preprocessing has a label, which needs a context of named classes, and no columns beside it")
    return Column(value["label"], "category", categories=classes)


def _columns(where: str, value: Any) -> tuple[Column, ...]:
    is_list = isinstance(value, list) and len(value) <= MAX_COLUMNS
    expect(is_list, where, value, f"a list of at most {MAX_COLUMNS} columns")
    return tuple(_column(where, each) for each in value)


def _column(where: str, value: Any) -> Column:
    is_named = isinstance(value, dict) and isinstance(value.get("column"), str)
    expect(is_named and set(value) <= {field.name for field in fields(Column)}, where, value, "a column")
    categories = value.get("categories", [])
    is_list = isinstance(categories, list) and len(categories) <= MAX_CATEGORIES
    are_texts = is_list and all(each is None or (isinstance(each, str) and each) for each in categories)
    is_set = are_texts and len(set(categories)) == len(categories)
    expect(is_set, where, value, "a column whose categories are different texts")
    column = Column(**{**value, "categories": tuple(categories)})
    optional = [number for number in (column.fill, column.period) if number is not None]
    numbers = [column.offset, column.scale, *optional]
    usable = all(type(number) in (int, float) and abs(number) < MAX_NUMBER for number in numbers)
    usable = usable and column.scale > 0 and (column.period is None or (column.period > 0 and column.scale == 1))
    expect(usable, where, value, "a column whose numbers can be used")
    fits = column.kind in get_args(ColumnKind) and bool(column.categories) == (column.kind == "category")
    expect(fits, where, value, "a column of such a kind")
    return column
