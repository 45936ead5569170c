"""Computes the answers to requests: scores, densities, samples, latents, or the events of latents."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from flowkit_runtime.columns import Column
from flowkit_runtime.errors import InputError, shortened
from flowkit_runtime.inputs import Array, as_array, class_index, integer, sample_shape, whole_as_integers
from flowkit_runtime.model import Model
from flowkit_runtime.serving.bodies import CSV, FORMS, JSON, NPY, NPZ, TABLE, Given
from flowkit_runtime.serving.limits import Limits
from flowkit_runtime.serving.tables import are_records, context_records, read_csv, read_records
from flowkit_runtime.streaming.sources import EventRows

AnswerKind = Literal["columns", "events", "latents"]


@dataclass(frozen=True)
class Answer:
    """The arrays that an endpoint returns, before they are written in some form.

    Attributes:
        kind: columns of shape [n], one array of events, or latents.
        arrays: the arrays by name. A .npy answer has the first one.
    """

    kind: AnswerKind
    arrays: Mapping[str, Array]

    @property
    def size(self) -> int:
        """The number of its values."""
        return sum(array.size for array in self.arrays.values())


@dataclass(frozen=True)
class Endpoint:
    """A computation that a bundle offers at an address.

    Attributes:
        name: the last part of its address.
        summary: what it returns, as a sentence.
        of: the kind of input that it is computed from.
        parameters: the names of the values that it takes, besides arrays.
        compute: computes the answer.
    """

    name: str
    summary: str
    of: Literal["events", "latents", "noise"]
    parameters: tuple[str, ...]
    compute: Callable[[Model, Given, Limits], Answer]

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms of its body. Events may be a table."""
        return FORMS if self.of == "events" else (JSON, NPY, NPZ)

    def takes(self, model: Model) -> tuple[str, ...]:
        """Return the names of all values that it takes from a body or a query."""
        rows = () if model.preprocessing is None else ("rows",)
        arrays = {"events": ("x", *rows), "latents": (*model.latent_names, "latents"), "noise": ()}
        context = () if model.context is None else ("context",)
        return (*arrays[self.of], *context, *self.parameters)

    def main(self, model: Model) -> str:
        """Return the name of the array in a .npy body."""
        return {"events": "x", "latents": model.latent_names[0], "noise": "context"}[self.of]

    def fits(self, model: Model) -> bool:
        """Return True if the flow has the direction that this endpoint needs."""
        return model.directions in ("both", "forward" if self.of == "events" else "inverse")


def _score(model: Model, given: Given, limits: Limits) -> Answer:
    draws = integer("draws", given.get("draws", 1), 1)
    seed = _seed(given) or 0
    events, context = _events(model, given, limits.rows // draws, seed)
    _check_classes(model, events, context, limits.rows // draws)
    scores = model.score(events, context, draws, seed, batch_size=limits.batch)
    if model.threshold_for(context) is None:
        return Answer("columns", {"score": scores})
    return Answer("columns", {"score": scores, "anomalous": model.anomalous(scores)})


def _log_prob(model: Model, given: Given, limits: Limits) -> Answer:
    events, context = _events(model, given, limits.rows, _seed(given) or 0)
    _check_classes(model, events, context, limits.rows)
    return Answer("columns", {"log_prob": model.log_prob(events, context, batch_size=limits.batch)})


def _encode(model: Model, given: Given, limits: Limits) -> Answer:
    events, context = _events(model, given, limits.rows, _seed(given) or 0)
    latents = model.encode(events, context, batch_size=limits.batch)
    return Answer("latents", dict(zip(model.latent_names, latents, strict=True)))


def _decode(model: Model, given: Given, limits: Limits) -> Answer:
    names = model.latent_names
    if "latents" in given:
        latents = given["latents"]
    elif missing := [name for name in names if name not in given]:
        raise InputError(f"there is no {missing[0]}: give latents, a list of {', '.join(names)}, or these arrays")
    else:
        latents = [given[name] for name in names]
    for each in latents if isinstance(latents, list) else ():
        _check_length(each, limits.rows)
    return Answer("events", {"x": model.decode(latents, _context(model, given), batch_size=limits.batch)})


def _sample(model: Model, given: Given, limits: Limits) -> Answer:
    n = given.get("n", 1)
    shape = sample_shape(tuple(n) if isinstance(n, list) else n, model.event_shape, model.context)
    most = min(limits.rows, limits.body // (4 * math.prod(model.event_shape)))
    _check_rows(math.prod(shape), most, "samples")
    temperature = given.get("temperature", 1.0)
    x = model.sample(shape, _context(model, given), temperature, _seed(given), batch_size=limits.batch)
    return Answer("events", {"x": x})


_OF_TABLES = ("seed", "columns", "context_columns")
ENDPOINTS = {
    each.name: each
    for each in (
        Endpoint("score", "How unlikely events are; lower is likelier.", "events", ("draws", *_OF_TABLES), _score),
        Endpoint("log_prob", "The log-density at points, in nats.", "events", _OF_TABLES, _log_prob),
        Endpoint("encode", "The latents of events.", "events", _OF_TABLES, _encode),
        Endpoint("decode", "The events of latents.", "latents", (), _decode),
        Endpoint("sample", "Events drawn from the flow.", "noise", ("n", "seed", "temperature"), _sample),
    )
}
"""All endpoints by name."""


def _seed(given: Given) -> int | None:
    return integer("seed", given["seed"], 0, 1 << 64) if "seed" in given else None


def _events(model: Model, given: Given, most: int, seed: int) -> EventRows:
    """Return the events and contexts of a request, given as arrays or as a table. Takes up to `most` rows."""
    if (both := [name for name in ("x", "rows", TABLE) if name in given]) != both[:1] or not both:
        raise InputError("give events: x, an array" + (", or rows" if model.preprocessing else ""))
    if "x" in given:
        _no_columns(given)
        _check_length(given["x"], most)
        events = as_array("x", given["x"])
        if isinstance(given["x"], list):
            events = whole_as_integers(events, model.levels)
        return events, _context(model, given)
    if "rows" in given:
        _no_columns(given)
        _check_length(given["rows"], most)
        events, found = read_records(model, given["rows"], seed)
    else:
        columns, of_context = given.get("columns", ""), given.get("context_columns", "")
        events, found = read_csv(model, given[TABLE], columns, of_context, seed, most)
        events = whole_as_integers(events, model.levels)
    if found is not None and "context" in given:
        raise InputError("the table has its context in columns: give no other")
    return events, _context(model, given) if found is None else found


def _no_columns(given: Given) -> None:
    if chosen := [name for name in ("columns", "context_columns") if name in given]:
        raise InputError(f"{chosen[0]} chooses among those of a {CSV} body")


def _context(model: Model, given: Given) -> Any:
    context, table = given.get("context"), model.preprocessing
    if table is not None and table.context and (context is None or isinstance(context, str)):
        example = {column.column: _example(column) for column in table.context}
        names, shown = ", ".join(example), json.dumps(example, ensure_ascii=False)
        raise InputError(f"this flow needs a context: an object with {shortened(names)}, such as {shortened(shown)}")
    if isinstance(context, str) and model.context is not None:
        if model.context.classes is None:
            raise InputError(f"context must hold numbers, {model.context}, and holds text")
        return class_index(context, model.context)
    return context_records(model, context) if are_records(context) else context


def _example(column: Column) -> str | float | None:
    """Return a value of a column for a message."""
    if column.kind == "category":
        return column.categories[0]
    return "2024-12-31" if column.kind == "time" else 1


def _check_classes(model: Model, events: Array, context: Any, most: int) -> None:
    """Raise InputError if there are too many events whose densities are summed over all classes."""
    if context is None and model.context is not None and model.marginalizes and events.ndim:
        _check_rows(len(events), most // len(model.context.probabilities), "rows without a class")


def _check_length(array: Any, most: int) -> None:
    """Raise InputError if an array or a list has too many rows."""
    if isinstance(array, list) or (isinstance(array, np.ndarray) and array.ndim):
        _check_rows(len(array), most)


def _check_rows(rows: int, most: int, what: str = "rows") -> None:
    if rows > most:
        raise InputError(f"there are {rows} {what}; the most that this server takes at once is {most}")
