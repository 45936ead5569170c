"""Looks at the columns of a table: what their values are, and how they are distributed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import numpy as np

from flowkit.starting.checks import MAX_FLOAT, MIN_SPREAD
from flowkit.starting.texts import Form, form_of, has_decimal_comma
from flowkit_runtime.errors import FlowRuntimeError, shortened
from flowkit_runtime.values import EXACT, as_days, as_numbers, as_text, off_grid, plain_array

MAX_LISTED = 100
"""The most categories that a starting spec lists for a column."""
MAX_DIGITS = 6
"""The most decimals of values that are taken for steps of a grid."""
SAMPLE = 4096
"""The values that are kept of each batch, for quantiles."""


@dataclass
class Seen:
    """A column, as far as a starting spec has to know it."""

    name: str
    first_line: int | None = None
    """The line of a CSV file, where texts may stand for numbers, with the first row; None for other tables."""
    rows: int = 0
    missing: int = 0
    is_number: bool = True
    is_time: bool = True
    is_truth: bool = True
    """All values are true or false."""
    digits: int = 0
    """The most decimals of a value. The number is larger than MAX_DIGITS if a value has more."""
    low: float = math.inf
    high: float = -math.inf
    total: float = 0.0
    squares: float = 0.0
    counts_rows: bool = True
    """Each value is the one before plus 1, as of an index."""
    texts: set[str] = field(default_factory=set)
    """The different values, at most MAX_LISTED + 1 of them."""
    sample: list[np.ndarray] = field(default_factory=list)
    unusable: str = ""
    """The reason why values can't be used, whatever is made of the column."""
    too_large: str = ""
    """A number that is too large for float32."""
    no_time: str = ""
    """A text that is no time in the format that is read."""
    forms: Counter[Form] = field(default_factory=Counter)
    """The numbers of texts that have the form of numbers, of times and so on."""
    first_of: dict[Form, tuple[int, str]] = field(default_factory=dict)
    """The first row, and its text, of each form."""
    _last: float | None = None

    @property
    def kind(self) -> Literal["number", "time", "text"]:
        if self.is_truth:
            return "text"
        return "number" if self.is_number else "time" if self.is_time else "text"

    @property
    def present(self) -> int:
        """The number of values that aren't missing."""
        return self.rows - self.missing

    @property
    def mean(self) -> float:
        return self.total / max(1, self.present)

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return math.sqrt(max(0.0, self.squares / max(1, self.present)))

    @property
    def median(self) -> float:
        return float(np.median(np.concatenate(self.sample)))

    @property
    def most_common(self) -> tuple[float, float]:
        """The most common value, and its share."""
        values, counts = np.unique(np.concatenate(self.sample), return_counts=True)
        return float(values[counts.argmax()]), float(counts.max() / counts.sum())

    @property
    def step(self) -> float | None:
        """The step of the grid on which the values lie, if many of them are the same; None if they aren't."""
        sample = np.concatenate(self.sample)
        if (
            self.digits > MAX_DIGITS
            or self.high - self.low < 10.0**-self.digits
            or (self.digits and len(np.unique(sample)) > len(sample) / 2)
        ):
            return None
        return float(f"1e-{self.digits}")

    @property
    def problem(self) -> str:
        """The reason why nothing can be made of the column; empty if something can."""
        if self.unusable:
            return self.unusable
        if not self.present:
            return "all its values are missing"
        if self.kind == "text":
            return self.no_time if self._most(Form.TIME) else self._other_format()
        if self.too_large:
            return self.too_large
        spread = self.high - self.low
        if 0 < spread < MIN_SPREAD:
            return f"its values differ by {spread:g} at most, too little for float32: multiply them"
        if not spread and abs(self.high) >= EXACT and len(self.texts) > 1:
            return "its values differ too little for numbers of their size: subtract some number from them"
        return ""

    def _most(self, *forms: Form) -> bool:
        return 2 * sum(self.forms[form] for form in forms) > self.forms.total()

    def _other_format(self) -> str:
        if self.forms[Form.READABLE] and self._most(Form.READABLE, Form.NUMBER):
            row, text = self.first_of[Form.READABLE]
            comma = "; pandas.read_csv(FILE, decimal=',') reads decimal commas" if has_decimal_comma(text) else ""
            return f"{self._place(row)} has {text!r}, a number in another format: write it like 1234.5{comma}"
        return ""

    @property
    def doubt(self) -> str:
        """The reason why text may not be meant as categories; empty if it may."""
        if self.is_truth or self.kind != "text" or not self._most(Form.NUMBER):
            return ""
        if Form.OTHER not in self.first_of:
            return "its texts are numbers: convert them if they are meant as such"
        row, text = self.first_of[Form.OTHER]
        advice = "write a number there, or nothing if it is missing"
        return f"{self._place(row)} has {text!r}, and most of its values are numbers: {advice}"

    def _place(self, row: int) -> str:
        return f"row {row}" + ("" if self.first_line is None else f" (line {self.first_line + row})")

    def add(self, values: Any) -> None:
        """Look at more values, an Arrow array."""
        first, is_category = self.rows, str(values.type).startswith("dictionary")
        values = plain_array(values)
        self.rows += len(values)
        self.missing += int(values.null_count)
        try:
            self._add_texts(values)
        except (FlowRuntimeError, ValueError, NotImplementedError):  # from us, and from pyarrow
            self.unusable = f"it holds {shortened(values.type)}, which is neither numbers, times nor text"
        present = values.drop_null()
        if not len(present) or self.unusable:
            return
        where = first + np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
        numbers = _numbers(present, self.first_line is not None)
        self.is_truth = self.is_truth and str(values.type) == "bool"
        days = None
        if self.is_number and numbers is None:
            self.is_number = False
            self.is_time = not self.sample  # the values so far were numbers
        if not self.is_number and self.is_time:
            days = self._days(values, first)
            self.is_time = days is not None
        found = numbers if self.is_number else days
        if found is not None:
            self._add_numbers(found, where)
        if not is_category:  # texts that are categories by their type are meant as such
            self._add_forms(values, first, numbers)

    def _days(self, values: Any, first: int) -> np.ndarray | None:
        try:
            days = as_days(values, self.name, first)
        except FlowRuntimeError as error:
            self.no_time = self.no_time or f"it{str(error).removeprefix(f'column {self.name!r}')}"
            return None
        return days[~np.isnan(days)]

    def _add_forms(self, values: Any, first: int, numbers: np.ndarray | None) -> None:
        """Count the forms of texts."""
        if numbers is not None:
            self.forms[Form.NUMBER] += min(SAMPLE, len(numbers))
        elif str(values.type).endswith("string"):
            for text in values.unique().slice(0, SAMPLE).drop_null().to_pylist():
                form = form_of(text)
                self.forms[form] += 1
                if form not in self.first_of:
                    self.first_of[form] = first + values.index(text).as_py(), shortened(text)

    def _add_texts(self, values: Any) -> None:
        if len(self.texts) <= MAX_LISTED:
            some = values.unique().slice(0, 2 * MAX_LISTED + 2)  # more than MAX_LISTED of so many are new
            new = sorted({text for text in as_text(some, self.name) if text is not None} - self.texts)
            self.texts |= set(new[: MAX_LISTED + 1 - len(self.texts)])

    def _add_numbers(self, numbers: np.ndarray, where: np.ndarray) -> None:
        """Look at numbers, which are in the rows ``where``."""
        large = np.abs(numbers) > MAX_FLOAT
        if large.any() and not self.too_large:
            row, value = where[large.argmax()], numbers[large.argmax()]
            self.too_large = f"{self._place(row)} has {value:g}, which is too large for float32"
        finite = numbers[~large & ~np.isnan(numbers)]  # NaN in a column of floats is a missing value
        self.missing += int(np.isnan(numbers).sum())
        if not len(finite):
            return
        seen = self.present - len(finite)
        self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
        while self.digits <= MAX_DIGITS and not _have_decimals(finite, self.digits):
            self.digits += 1
        rises = np.diff(finite, prepend=finite[0] - 1 if self._last is None else self._last)
        self.counts_rows = self.counts_rows and bool((rises == 1).all())
        self._last = float(finite[-1])
        self._add_moments(finite, seen)
        self.sample.append(finite[:: max(1, len(finite) // SAMPLE)])

    def _add_moments(self, values: np.ndarray, seen: int) -> None:
        """Update the sum and the sum of squared deviations, by the formula of Chan, Golub and LeVeque (1979)."""
        own, n = float(values.sum()), len(values)
        self.squares += float(((values - own / n) ** 2).sum())
        if seen > 0:
            self.squares += (self.total / seen - own / n) ** 2 * seen * n / (seen + n)
        self.total += own


def see(batches: Iterable[Mapping[str, Any]], first_line: int | None = None) -> list[Seen]:
    """Look at all columns of a table. A batch has Arrow arrays by name.

    ``first_line`` is the line of a CSV file with the first row. In CSV texts may stand for numbers.
    """
    seen: dict[str, Seen] = {}
    for batch in batches:
        for name, values in batch.items():
            seen.setdefault(name, Seen(name, first_line)).add(values)
    return list(seen.values())


def _have_decimals(values: np.ndarray, digits: int) -> bool:
    """Return True if all values have at most so many decimals, but for rounding."""
    steps = values * 10.0**digits
    are_exact = not digits or np.abs(steps).max() < EXACT
    return bool(are_exact and not off_grid(steps, steps).any())


def _numbers(values: Any, texts_are_numbers: bool) -> np.ndarray | None:
    """Return values as numbers, None if they aren't."""
    try:
        if texts_are_numbers and str(values.type) == "string":
            values = import_module("pyarrow.compute").utf8_trim_whitespace(values).cast("float64")
        return as_numbers(values, "")
    except (ValueError, FlowRuntimeError):  # from pyarrow, and from us
        return None
