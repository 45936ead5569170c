"""Computes what a request asks of a flow: scores, densities, samples, latents, or events of latents."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flowkit_runtime.bundle import DECODER, ENCODER
from flowkit_runtime.errors import InputError
from flowkit_runtime.inputs import Array, as_array, integer
from flowkit_runtime.model import Model
from flowkit_runtime.serving.bodies import CSV, FORMS, JSON, NPY, NPZ, TABLE, Given
from flowkit_runtime.serving.limits import Limits
from flowkit_runtime.serving.tables import are_records, context_records, read_csv, read_records
from flowkit_runtime.streaming.sources import EventRows

AnswerKind = Literal["columns", "events", "latents"]


@dataclass(frozen=True)
class Answer:
    """What an endpoint returns.

    Attributes:
        kind: columns [n] each, one array of events, or latents.
        arrays: the arrays by name, of which the first is that of a .npy answer.
    """

    kind: AnswerKind
    arrays: Mapping[str, Array]


@dataclass(frozen=True)
class Endpoint:
    """Something that a bundle can be asked for.

    Attributes:
        name: the last part of its address.
        summary: what it returns, as a sentence.
        graph: the graph that it runs; a flow without that direction doesn't have the endpoint.
        parameters: the names of the values that it takes, besides arrays.
        forms: the forms of its body.
        compute: computes it.
    """

    name: str
    summary: str
    graph: str
    parameters: tuple[str, ...]
    forms: tuple[str, ...]
    compute: Callable[[Model, Given, Limits], Answer]

    def takes(self, model: Model) -> tuple[str, ...]:
        """Return the names of all values that it takes from a body or a query."""
        arrays = {"decode": tuple(names_of_latents(model)), "sample": ()}.get(self.name, ("x",))
        lists = {"decode": ("latents",), "sample": ()}.get(self.name, ("rows",) if model.preprocessing else ())
        context = () if model.context is None else ("context",)
        return (*arrays, *lists, *context, *self.parameters)

    def main(self, model: Model) -> str:
        """Return the name of the array in a .npy body."""
        return {"decode": names_of_latents(model)[0], "sample": "context"}.get(self.name, "x")

    def fits(self, model: Model) -> bool:
        """Return True if the flow has the direction that this needs."""
        return model.directions in ("both", {ENCODER: "forward", DECODER: "inverse"}[self.graph])


def names_of_latents(model: Model) -> list[str]:
    """Return the names of the latents in the graphs, and so in .npz files."""
    return [f"z_{i}" for i in range(1, len(model.latent_shapes) + 1)]


def _score(model: Model, given: Given, limits: Limits) -> Answer:
    draws = integer("draws", given.get("draws", 1), 1)
    seed = _seed(given) or 0
    events, context = _events(model, given, limits.rows // draws, seed)
    scores = model.score(events, context, draws, seed, batch_size=limits.batch)
    if model.threshold is None:
        return Answer("columns", {"score": scores})
    return Answer("columns", {"score": scores, "anomalous": model.anomalous(scores)})


def _log_prob(model: Model, given: Given, limits: Limits) -> Answer:
    events, context = _events(model, given, limits.rows, _seed(given) or 0)
    return Answer("columns", {"log_prob": model.log_prob(events, context, batch_size=limits.batch)})


def _encode(model: Model, given: Given, limits: Limits) -> Answer:
    events, context = _events(model, given, limits.rows, _seed(given) or 0)
    latents = model.encode(events, context, batch_size=limits.batch)
    return Answer("latents", dict(zip(names_of_latents(model), latents, strict=True)))


def _decode(model: Model, given: Given, limits: Limits) -> Answer:
    names = names_of_latents(model)
    if "latents" in given:
        latents = given["latents"]
    elif missing := [name for name in names if name not in given]:
        raise InputError(f"there is no {missing[0]}: give latents, a list of {', '.join(names)}, or these arrays")
    else:
        latents = [given[name] for name in names]
    if isinstance(latents, list) and latents and hasattr(latents[0], "__len__"):
        _check_rows(len(latents[0]), limits.rows)
    return Answer("events", {"x": model.decode(latents, _context(model, given), batch_size=limits.batch)})


def _sample(model: Model, given: Given, limits: Limits) -> Answer:
    n = given.get("n", 1)
    shape = tuple(n) if isinstance(n, list) else (n,)
    rows = math.prod(integer("n", size, 0) for size in shape)
    _check_rows(rows, min(limits.rows, limits.body // (4 * math.prod(model.event_shape))), "samples")
    temperature = given.get("temperature", 1.0)
    x = model.sample(shape, _seed(given), temperature, _context(model, given), batch_size=limits.batch)
    return Answer("events", {"x": x})


ENDPOINTS = {
    each.name: each
    for each in (
        Endpoint(
            "score",
            "How unlikely each event is; lower is likelier.",
            ENCODER,
            ("draws", "seed", "columns", "context_columns"),
            FORMS,
            _score,
        ),
        Endpoint(
            "log_prob",
            "The log-density at each point, in nats.",
            ENCODER,
            ("seed", "columns", "context_columns"),
            FORMS,
            _log_prob,
        ),
        Endpoint("encode", "The latents of events.", ENCODER, ("seed", "columns", "context_columns"), FORMS, _encode),
        Endpoint("decode", "The events of latents.", DECODER, (), (JSON, NPY, NPZ), _decode),
        Endpoint(
            "sample", "Events drawn from the flow.", DECODER, ("n", "seed", "temperature"), (JSON, NPY, NPZ), _sample
        ),
    )
}
"""All endpoints by name."""


def _seed(given: Given) -> int | None:
    return integer("seed", given["seed"], 0, 1 << 64) if "seed" in given else None


def _events(model: Model, given: Given, most: int, seed: int) -> EventRows:
    """Return the events of a request, which come as arrays or as a table, and their contexts. `most` rows are taken."""
    if (both := [name for name in ("x", "rows", TABLE) if name in given]) != both[:1] or not both:
        raise InputError("give events: x, an array" + (", or rows" if model.preprocessing else ""))
    if "x" in given:
        _no_columns(given)
        events = as_array("x", given["x"])
        _check_rows(len(events) if events.ndim else 0, most)
        return events, _context(model, given)
    if model.preprocessing is not None and "context" in given:
        raise InputError("the rows of a table have their context in columns: give no other")
    if "rows" in given:
        _no_columns(given)
        if isinstance(given["rows"], list):
            _check_rows(len(given["rows"]), most)
        return read_records(model, given["rows"], seed)
    columns, of_context = given.get("columns", ""), given.get("context_columns", "")
    events, context = read_csv(model, given[TABLE], columns, of_context, seed, most)
    return events, _context(model, given) if context is None else context


def _no_columns(given: Given) -> None:
    if chosen := [name for name in ("columns", "context_columns") if name in given]:
        raise InputError(f"{chosen[0]} chooses among those of a {CSV} body")


def _context(model: Model, given: Given) -> Any:
    context = given.get("context")
    return context_records(model, context) if are_records(context) else context


def _check_rows(rows: int, most: int, what: str = "rows") -> None:
    if rows > most:
        raise InputError(f"there are {rows} {what}; the most that this server takes at once is {most}")
