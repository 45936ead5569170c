"""Chooses which columns of a table make events and contexts, and how: the data section of a starting spec."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.errors import DataError
from flowkit.plugin.dataset import FRACTIONS
from flowkit.plugin.spelling import line
from flowkit.starting.checks import MIN_ROWS
from flowkit.starting.columns import MAX_LISTED, Seen, see
from flowkit.starting.roles import (
    MOSTLY_MISSING,
    OWN,
    Choice,
    ambiguous_weights,
    is_named_label,
    label_choice,
    named_weight,
    period_of,
    weight_choice,
)
from flowkit_runtime.columns import MAX_COLUMNS, Column, Missing, Preprocessing, no_columns
from flowkit_runtime.errors import FlowRuntimeError, few, shortened
from flowkit_runtime.preprocessing import WITH_NOISE
from flowkit_runtime.streaming.sources import MOST_AT_ONCE, Wanted
from flowkit_runtime.streaming.table_sources import PreprocessedTable, columns_of, in_parts
from flowkit_runtime.streaming.tables import Csv, TableFile, Type, open_table
from flowkit_runtime.values import EXACT

FAR = 4096
"""A column whose mean is as many standard deviations from 0 gets an offset: float32 has 24 bits."""
FINE = 2**22
"""The largest spread of whole numbers that float32 tells apart after noise is added."""
HEAVY = 10
"""Positive values whose largest is as many times the median are taken for values that can't be negative."""
REPEATED = 0.1
"""The share of one value above which a column of real numbers is doubted."""
MOST_NAMED = 8
"""The most columns that are named in a line."""
DROPPED = "rows that lack a value are left out"
KEEP = "To keep them, name such columns as the context, where `fill` takes the place of a missing value"
"""What is said of rows that lack a value."""


@dataclass(frozen=True)
class TableLook:
    """The facts behind a starting spec for a table."""

    path: str
    rows: int
    """The approximate number of rows to train on."""
    event: tuple[Choice, ...]
    context: tuple[Choice, ...]
    left_out: tuple[Choice, ...]
    missing: Missing
    """The treatment of rows that lack a value."""
    lacking: str = ""
    """The rows that are left out, if they are known, as in `of 1,032 rows, 26 without age`."""
    notes: tuple[str, ...] = ()
    """Other choices that may not be meant."""
    label: Choice | None = None
    """The column of the classes, if the context is a class."""
    weight: Choice | None = None
    """The column of the weights of rows."""

    @classmethod
    def of(cls, listed: Preprocessing) -> TableLook:
        """Return a look in which nothing is left to choose: the columns are listed."""
        event, context = (
            tuple(Choice(each.column, "listed", each) for each in part) for part in (listed.event, listed.context)
        )
        label = None if listed.label is None else Choice(listed.label.column, "listed", listed.label)
        return cls("", 0, event, context, (), listed.missing, label=label)

    @property
    def preprocessing(self) -> Preprocessing:
        event, context = (tuple(each.column for each in part if each.column) for part in (self.event, self.context))
        return Preprocessing(event, context, self.missing, None if self.label is None else self.label.column)

    @property
    def context_section(self) -> dict[str, Any] | None:
        """The section `context` of a spec."""
        if self.label is not None and self.label.column is not None:
            return {"classes": len(self.label.column.categories)}
        shape = self.preprocessing.shapes[1]
        return None if shape is None else {"shape": list(shape)}

    @property
    def domain(self) -> Any:
        """The domain of the event as specs write it; None for the reals."""
        return written_domains([each.domain for each in self.event])

    @property
    def doubts(self) -> tuple[str, ...]:
        """The choices that may not be meant: columns and rows that are left out, and values that repeat."""
        repeated = [f"column {each.name}: {each.doubt}" for each in (*self.event, *self.context) if each.doubt]
        return (
            *self.notes,
            *_left_out(self.left_out),
            *repeated,
            *([f"{DROPPED}: {self.lacking}. {KEEP}" if self.lacking else DROPPED] if self.missing == "drop" else []),
        )

    @property
    def density(self) -> str:
        """The density with the names of the columns: p(area, price | city)."""
        names, given = names_of(self.event), names_of(self.context if self.label is None else (self.label,))
        return f"p({names}{f' | {given}' if given else ''})"

    def __str__(self) -> str:
        return f"about {self.rows:,} rows to train on, {self.density}"


def names_of(choices: Sequence[Choice]) -> str:
    """Return names on one line, whatever characters they have."""
    return few([_name(each) for each in choices], MOST_NAMED)


def _name(column: Choice | Seen) -> str:
    return column.name if column.name.strip() and column.name.isprintable() else line(column.name)


def _left_out(choices: Sequence[Choice]) -> Iterator[str]:
    """Yield a line for each reason why columns are left out."""
    for reason in dict.fromkeys(each.reason for each in choices):
        alike = [each for each in choices if each.reason == reason]
        names, many = names_of(alike), len(alike) > 1
        yield f"column{'s' * many} {names} {'are' if many else 'is'} left out: {reason}"


def look_at_table(
    path: str,
    event: Sequence[str] = (),
    context: Sequence[str] = (),
    label: str | None = None,
    weight: str | None = None,
) -> TableLook:
    """Look at a file with a table. Without names, numbers make the event, and categories and times the context.

    With ``event`` only the columns that are named are read. Blanks around a name don't count where no column has
    exactly this name. Without ``event`` and ``context``, ``label`` and ``weight`` are looked for by their names, unless
    they are "".

    Raises DataError if it can't be read, if a name isn't that of a column, or if no event is left.
    """
    try:
        table = open_table(Path(path))
        if len(table.columns) > MAX_COLUMNS and not event:
            many = f"{path} has {len(table.columns):,} columns, and an event at most {MAX_COLUMNS:,}"
            raise DataError(f"{many}: name some with --event")
        event, context = (_meant(names, table.columns) for names in (event, context))
        label, weight = (each and _meant([each], table.columns)[0] for each in (label, weight))
        names = [*event, *context, *filter(None, (label, weight))] if event else table.columns
        seen = _seen(table, names)
    except FlowRuntimeError as error:
        raise DataError(str(error)) from error
    found = choose(seen, path, event, context, label, weight)
    if event:
        others = dict.fromkeys(name for name in table.columns if name not in names)
        found = replace(found, left_out=tuple(Choice(name, "not named") for name in others))
    chosen = found.preprocessing.kinds
    most_lacking = sum(column.missing for column in seen if column.name in chosen)
    if found.missing == "drop" and most_lacking > seen[0].rows - MIN_ROWS:
        _check_complete(table, found)
    if isinstance(table, Csv) and table.is_headless:
        note = "the first line holds numbers, so the columns are called f0, f1 and so on"
        return replace(found, notes=(note, *found.notes))
    return found


def _meant(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the columns of these names. For a name that no column has, blanks around names don't count."""
    exact, stripped = set(columns), Counter(column.strip() for column in columns)
    alike = {column.strip(): column for column in columns if stripped[column.strip()] == 1}
    return [name if name in exact else alike.get(name.strip(), name) for name in names]


def _seen(table: TableFile, names: Sequence[str]) -> list[Seen]:
    """Look at columns of a file. Raises FlowRuntimeError if one isn't there, or can't be read."""
    table.check_columns(names)
    types: dict[str, Type] = dict.fromkeys(names, "text")
    first_line = 2 - table.is_headless if isinstance(table, Csv) else None
    return see(map(columns_of, in_parts(table, types)), first_line)


def _check_complete(table: TableFile, look: TableLook) -> None:
    """Raise DataError if nearly all rows lack a value, though each column has some."""
    source = PreprocessedTable(table.path, look.preprocessing, Wanted((len(look.event),), None, None))
    complete = rows = 0
    for events, _ in source.batches(0, MOST_AT_ONCE):
        complete += int((~np.isnan(events[:, 0])).sum())
        rows += len(events)
    if complete < MIN_ROWS:
        raise DataError(
            f"{look.path}: {rows - complete:,} of {rows:,} rows lack a value, so fewer than {MIN_ROWS} are left: "
            "name columns with fewer missing values, with --event and --context"
        )


def choose(
    seen: Sequence[Seen],
    where: str,
    event: Sequence[str] = (),
    context: Sequence[str] = (),
    label: str | None = None,
    weight: str | None = None,
) -> TableLook:
    """Choose among the columns of a table. ``where`` names it in messages. Raises DataError as above."""
    if not seen or max(column.rows for column in seen) < MIN_ROWS:
        raise DataError(f"{where} has fewer than {MIN_ROWS} rows: it takes {MIN_ROWS} to train, validate and test")
    if label and context:
        raise DataError("the context is a class or other columns: give a label, or name it among the context")
    known = {column.name: column for column in seen}
    _check_names(known, where, [*event, *context, *filter(None, (label, weight))])
    notes: list[str] = []
    if not (event or context):
        weight, label, notes = _named_roles(seen, weight, label)
    weights = weight_choice(known[weight], where) if weight else None
    labels = label_choice(known[label], where) if label else None
    roles = [role for role in (weight, label) if role]
    events, contexts, left_out = _divided([each for each in seen if each.name not in roles], event, context, labels)
    unusable = [each for each in (*events, *contexts) if each.column is None]
    if unusable and (event or context):
        raise DataError(f"{where}: column {unusable[0].name!r} can't be used: {unusable[0].reason}")
    if not events:
        problem = f"{where} has no column of numbers that vary, of which an event could be made"
        raise DataError("; ".join([problem, *_left_out(left_out)]))
    needed = [*events, *([labels] if labels else [])]
    needed += [each for each in contexts if each.column and not _stands_for_missing(each.column)]
    lacking = max(known[each.name].missing for each in needed)
    return TableLook(
        path=where,
        rows=int((max(column.rows for column in seen) - lacking) * FRACTIONS[0]),
        event=tuple(events),
        context=tuple(contexts),
        left_out=tuple(left_out),
        missing="drop" if lacking else "refuse",
        lacking=_lacking([known[each.name] for each in needed]),
        notes=tuple(notes),
        label=labels,
        weight=weights,
    )


def _lacking(columns: Sequence[Seen]) -> str:
    """Return how many rows lack which columns, as in `of 1,032 rows, 26 without age, 3 without mass`."""
    texts = [f"{each.missing:,} without {_name(each)}" for each in columns if each.missing]
    return f"of {columns[0].rows:,} rows, {few(texts, MOST_NAMED)}" if texts else ""


def _named_roles(seen: Sequence[Seen], weight: str | None, label: str | None) -> tuple[str, str, list[str]]:
    """Return the weight, the label, and notes. They are looked for by name if they are None, and "" is none."""
    notes = []
    if weight is None:
        weight = named_weight(seen)
        by_name = f"column {weight} weights the rows, by its name: it is no value of the event"
        notes = [by_name] if weight else ambiguous_weights(seen)
    if label is None:
        label = _named_label([column for column in seen if not weight or column.name != weight])
    return weight, label, notes


def _divided(
    columns: Sequence[Seen], event: Sequence[str] = (), context: Sequence[str] = (), label: Choice | None = None
) -> tuple[list[Choice], list[Choice], list[Choice]]:
    """Return what makes the event, the context, and nothing. ``event`` and ``context`` are columns that were named."""
    known = {column.name: column for column in columns}
    events, contexts = [_in_event(known[name]) for name in event], [_in_context(known[name]) for name in context]
    if event:
        return events, contexts, [Choice(name, "not named") for name in known if name not in (*event, *context)]
    others: list[Choice] = []
    left_out: list[Choice] = []
    for column in columns:
        if column.name not in context:
            _place(column, events, others, left_out)
    if not (context or label):
        return events, others, left_out
    reason = "not named" if label is None else f"the context is the class, {label.name}"
    return events, contexts, left_out + [Choice(each.name, reason) for each in others]


def _named_label(seen: Sequence[Seen]) -> str:
    """Return the column whose name says that it is the class of a row; "" if others make a context, too."""
    found = [column for column in seen if is_named_label(column)]
    if len(found) != 1 or _divided([column for column in seen if column is not found[0]])[1]:
        return ""
    return found[0].name


def _check_names(known: Mapping[str, Seen], where: str, names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in known]:
        raise DataError(f"{where} has {no_columns(missing, known)}; its columns are {shortened(', '.join(known))}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"column {twice[0]!r} is named twice")


def _place(column: Seen, events: list[Choice], contexts: list[Choice], left_out: list[Choice]) -> None:
    """Put a column where it belongs if nothing is said about it."""
    if column.missing > MOSTLY_MISSING * column.rows:
        left_out.append(Choice(column.name, f"{column.missing:,} of {column.rows:,} values are missing"))
    elif column.problem:
        left_out.append(Choice(column.name, column.problem))
    elif column.kind == "text" and MAX_LISTED >= len(column.texts) > OWN * column.present:
        left_out.append(Choice(column.name, column.doubt or "most rows have a category of their own"))
    elif column.kind == "number" and column.counts_rows and column.rows > 1:
        left_out.append(Choice(column.name, "it numbers the rows"))
    else:
        choice = _in_event(column) if column.kind == "number" else _in_context(column)
        place = left_out if choice.column is None else events if column.kind == "number" else contexts
        place.append(choice)


def _in_event(column: Seen) -> Choice:
    """Return how a column makes a value of the event."""
    if (choice := _anywhere(column, "their index, with noise")) is not None:
        return choice
    seen = f"{column.low:g} … {column.high:g}"
    if column.kind == "time":
        return Choice(column.name, "days since 1970", Column(column.name, "time", math.floor(column.low)))
    if (step := column.step) is not None and column.high - column.low <= FINE * step:
        return _integer(column, step)
    offset = _rounded(column.mean, column.deviation, 0) if _is_far(column) else 0.0
    choice = Choice(column.name, seen, Column(column.name, "number", offset), doubt=_doubt(column))
    low, high = np.float32(column.low), np.float32(column.high)  # the ends of a domain are excluded in float32
    if offset or not low > 0:
        return choice
    if high < 1 and low < 0.1 and high > 0.9:
        return replace(choice, domain=[0, 1], reason=f"{seen}, taken for shares: others are refused")
    if column.high > HEAVY * column.median:
        return replace(choice, domain="positive", reason=f"{seen}, taken for positive: others are refused")
    return replace(choice, apparent=apparent_domain(column.low, column.high))


def _integer(column: Seen, step: float) -> Choice:
    """Return how whole numbers, or multiples of a step, make a value of the event."""
    largest = max(-column.low, column.high)
    if largest >= EXACT:
        return Choice(column.name, "whole numbers from 2^53 on aren't exact: subtract some number from them")
    offset = round(column.mean, column.digits) if _is_far(column) or largest > WITH_NOISE * step else 0.0
    what = "integers" if step == 1 else f"multiples of {step:g},"
    seen = f"{column.low:g} … {column.high:g}"
    choice = Choice(column.name, f"{what} {seen}, with noise", Column(column.name, "integer", offset, step))
    is_heavy = column.low >= step and column.high > HEAVY * column.median
    if offset or not (is_heavy or (step == 1 and column.low == 0)):
        return choice if offset or not column.low > 0 else replace(choice, apparent="positive")
    return replace(choice, domain="positive", reason=f"{choice.reason}; taken for counts: negatives are refused")


def _doubt(column: Seen) -> str:
    value, share = column.most_common
    if share <= REPEATED or share * column.present < 2:
        return ""
    return f"{100 * share:.0f}% of its values are {value:g}: its density grows there without bound; condition on it"


def _is_far(column: Seen) -> bool:
    return abs(column.mean) > FAR * column.deviation


def _rounded(value: float, deviation: float, digits: int = 2) -> float:
    """Return a value of a column to about a hundredth of its standard deviation, or to so many digits of it."""
    return round(value, digits - math.floor(math.log10(deviation))) if deviation else value


def _in_context(column: Seen) -> Choice:
    """Return how a column makes values of the context."""
    if (choice := _anywhere(column, "one-hot")) is not None:
        return choice
    if (period := period_of(column)) is not None:
        return _on_circle(column, period)
    offset, fill = (_rounded(each, column.deviation) for each in (column.mean, column.median))
    scale = float(f"{column.deviation:.4g}")
    made = Column(column.name, "time" if column.kind == "time" else "number", offset, scale or 1.0)
    if not column.missing:
        return Choice(column.name, "standardized", made)
    lacking = f"standardized; {column.missing:,} missing values become the median"
    return Choice(column.name, lacking, replace(made, fill=fill))


def _on_circle(column: Seen, period: float) -> Choice:
    made = Column(column.name, "number", period=period, fill=float(f"{column.median:.4g}") if column.missing else None)
    lacking = f"; {column.missing:,} missing values become the median" if column.missing else ""
    return Choice(column.name, f"on a circle of {period:g}, by its name{lacking}", made)


def _anywhere(column: Seen, how: str) -> Choice | None:
    """Return the choice for a column that makes nothing, or a category, in an event and in a context alike."""
    if column.problem:
        return Choice(column.name, column.problem)
    if column.kind == "text":
        return _category(column, how)
    return None if column.low < column.high else Choice(column.name, "it never changes")


def apparent_domain(low: float, high: float) -> Any:
    """Return the domain that a column with this least and largest value may have."""
    if not np.float32(low) > 0:  # the ends of a domain are excluded in float32
        return "real"
    return [0, 1] if np.float32(high) < 1 else "positive"


def written_domains(domains: Sequence[Any]) -> Any:
    """Return the domains of an event's values as a spec writes them: one if all are equal, None for the reals."""
    if any(domain != domains[0] for domain in domains):
        return list(domains)
    return None if domains[0] == "real" else domains[0]


def _category(column: Seen, how: str) -> Choice:
    if len(column.texts) > MAX_LISTED:
        return Choice(column.name, column.doubt or f"it has more than {MAX_LISTED} categories")
    lacking = how == "one-hot" and column.missing > 0
    categories = (*sorted(column.texts), *([None] if lacking else []))
    if len(categories) < 2:
        return Choice(column.name, "it never changes")
    reason = f"{len(column.texts)} categories, {how}" + ("; null stands for a missing value" if lacking else "")
    return Choice(column.name, reason, Column(column.name, "category", categories=categories), doubt=column.doubt)


def _stands_for_missing(column: Column) -> bool:
    return column.fill is not None or None in column.categories
