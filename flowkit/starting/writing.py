"""Writes a starting spec: YAML with the reasons in comments."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from flowkit.errors import DataError
from flowkit.plugin.spelling import escaped, line
from flowkit.spec.document import MAX_BYTES, TOO_LONG
from flowkit.starting.layers import Line, layers
from flowkit.starting.look import Look
from flowkit.starting.table import TableLook, apparent_domain, names_of, written_domains
from flowkit_runtime.columns import described_column as described

STEPS = 5_000
"""The number of optimizer steps that a run aims at."""
EPOCHS = (3, 200)
"""The fewest and the most epochs."""
VALIDATIONS = 50
"""The most validations of a run."""
PATIENCE = 10
"""The validations without a new best after which a run of many epochs stops.

In 200 epochs each on eight small data sets, no new best came after such a pause.
"""
MAX_OFFERED = 20
"""The most columns for which domains are offered."""
COLUMN = 64
"""The last column in which comments begin, unless a line is longer."""


def starting_spec(look: Look | TableLook) -> str:
    """Return a spec for the data that was looked at.

    Raises DataError where no flow of ours takes such events, and if the spec is too long for so many columns.
    """
    if not isinstance(look, TableLook):
        return _written(_of_arrays(look))
    text = _written(_of_table(look))
    if len(text.encode()) > MAX_BYTES:
        raise DataError(f"{look.path}: a spec with all its columns {TOO_LONG}: name fewer with --event and --context")
    return text


def _of_arrays(look: Look) -> list[Line]:
    return [
        Line(f"# Written by `flowkit new`: {look}."),
        Line("flowkit: 1"),
        _event(look),
        *_domain(look),
        *_context(look),
        Line("flow:"),
        *([Line("  # - use: map/to_reals", "use it together with that event")] if _domain(look) else []),
        *(each.indented(1) for each in layers(look.event, look.levels, look.rows, look.context is not None)),
        Line(f"data: {line(look.data)}"),
        Line("train:"),
        *(each.indented(1) for each in _train(look.rows)),
    ]


def _of_table(look: TableLook) -> list[Line]:
    shape, context = look.preprocessing.shapes[0], look.context_section
    domain, offered = {} if look.domain is None else {"domain": look.domain}, _domain_of_table(look)
    return [
        Line(f"# Written by `flowkit new`: {look}."),
        Line("flowkit: 1"),
        Line(f"event: {line({'shape': list(shape), **domain})}", "a value for each column of data.event"),
        *offered,
        *([Line(f"context: {line(context)}", _why_context(look))] if context else []),
        Line("flow:"),
        *([Line("  - use: map/to_reals", "log and logit, by the domains")] if domain else []),
        *([Line("  # - use: map/to_reals", "use it together with that event")] if offered and not domain else []),
        *(each.indented(1) for each in layers(shape, None, look.rows, context is not None)),
        Line("data:"),
        *(each.indented(1) for each in _data(look)),
        Line("train:"),
        *(each.indented(1) for each in _train(look.rows)),
    ]


def _why_context(look: TableLook) -> str:
    return "the number of values that data.context makes" if look.label is None else f"the classes in {look.label.name}"


def _data(look: TableLook) -> Iterator[Line]:
    """Yield the section of a table, with a line for each column."""
    yield Line("use: data/table")
    yield Line(f"path: {line(look.path)}")
    if look.missing == "drop":
        yield Line("missing: drop", "rows that lack a value of the event are left out")
    for part, choices in (("event", look.event), ("context", look.context)):
        if choices:
            yield Line(f"{part}:")
        for choice in choices:
            assert choice.column is not None
            yield Line(f"  - {line(described(choice.column))}", choice.reason)
    for role, role_choice in (("label", look.label), ("weight", look.weight)):
        if role_choice is not None:
            yield Line(f"{role}: {line(role_choice.name)}", role_choice.reason)
    for choice in look.left_out:
        yield Line(f"# without {line(choice.name)}: {choice.reason}")


def _written(lines: list[Line]) -> str:
    """Return the text of lines, with comments in one column. A line that was there before has no comment again."""
    first = {each: index for index, each in reversed(list(enumerate(lines)))}
    lines = [each if first[each] == index else replace(each, comment="") for index, each in enumerate(lines)]
    column = min(COLUMN, max(len(each.text) for each in lines if each.comment) + 2)
    texts = [f"{each.text.ljust(column - 1)} # {each.comment}" if each.comment else each.text for each in lines]
    return "".join(f"{escaped(text)}\n" for text in texts)  # comments have names and texts of the data


def _event(look: Look) -> Line:
    shape = list(look.event)
    if look.levels is None:
        values = look.values
        return Line(f"event: {line({'shape': shape})}", f"continuous, {values.lowest:g} … {values.highest:g}")
    largest = int(look.values.highest)
    why = f"integers 0 … {largest}" + ("" if largest == look.levels - 1 else f"; {look.levels} levels")
    return Line(f"event: {line({'shape': shape, 'levels': look.levels})}", why)


def _domain(look: Look) -> list[Line]:
    """Offer a domain for a vector of which some columns hold positive values only: data can't tell whether it must."""
    if look.levels is not None or len(look.event) != 1:
        return []
    columns = [apparent_domain(low, high) for low, high in zip(look.values.low, look.values.high, strict=True)]
    return _offered(columns, "values")


def _domain_of_table(look: TableLook) -> list[Line]:
    """Offer a domain for a table of which some columns hold positive values only."""
    narrower = [each for each in look.event if each.apparent is not None]
    columns = [each.apparent or each.domain for each in look.event]
    return _offered(columns, f"values of {names_of(narrower)}") if narrower else []


def _offered(columns: list[Any], values: str) -> list[Line]:
    """Offer these domains of the columns, as a comment, unless all are the reals or there are too many."""
    domain = written_domains(columns)
    if domain is None or len(columns) > MAX_OFFERED:
        return []
    why = f"use it if {values} can never lie outside the domain"
    return [Line(f"# event: {line({'shape': [len(columns)], 'domain': domain})}", why)]


ORDERLESS = "as sets, without an order; for sequences take encoder/gru"
"""The comment on contexts of several vectors each."""


def _context(look: Look) -> list[Line]:
    if look.context is not None:
        return [Line(f"context: {line(look.context)}", ORDERLESS if "encoder" in look.context else "")]
    if look.offered is not None:
        kind = "labels" if "classes" in look.offered else "arrays to condition on"
        return [Line(f"# context: {line(look.offered)}", f"the data has {kind}")]
    return []


def _train(rows: int) -> list[Line]:
    settings = train_section(rows)
    epochs = settings.pop("epochs")
    first = Line(f"epochs: {epochs}", f"{epochs * _steps_an_epoch(rows, settings['batch_size']):,} steps")
    lines = [first, *(Line(f"{name}: {line(value)}") for name, value in settings.items())]
    if every := settings.get("validate_every"):
        why = f"stops after {PATIENCE * every} epochs without a better validation"
        lines.append(Line(f"patience: {PATIENCE}", why))
    return lines


def train_section(rows: int, batch_size: int | None = None, epochs: int | None = None) -> dict[str, Any]:
    """Return the section `train` for this many events. ``batch_size`` and ``epochs`` depend on it if they are None."""
    batch = batch_size or (64 if rows < 5_000 else 128 if rows < 100_000 else 256)
    steps = _steps_an_epoch(rows, batch)
    epochs = epochs or min(max(math.ceil(STEPS / steps), EPOCHS[0]), EPOCHS[1])
    tenth = min(200, epochs * steps // 10)  # of the steps
    settings = {
        "epochs": epochs,
        "batch_size": batch,
        "optimizer": {"lr": 1e-3},
        "warmup": tenth,
        "ema": round(1 - 1 / max(2, tenth), 3),  # an average over more steps would lag behind
    }
    return settings | ({"validate_every": math.ceil(epochs / VALIDATIONS)} if epochs > VALIDATIONS else {})


def _steps_an_epoch(rows: int, batch_size: int) -> int:
    return max(1, rows // batch_size)
