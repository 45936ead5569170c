"""Writes answers in the form that a client accepts."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from flowkit_runtime.errors import InputError
from flowkit_runtime.inputs import Array
from flowkit_runtime.model import Model
from flowkit_runtime.serving.bodies import CSV, FORMS, JSON, NPY, NPZ
from flowkit_runtime.serving.endpoints import Answer
from flowkit_runtime.serving.limits import MOST_AS_TEXT, RefusedError
from flowkit_runtime.streaming.outputs import event_columns, with_none, without_lacking, write_rows


def accepted_form(accept: str | None) -> str:
    """Return the form that the header Accept prefers, which is JSON if the client takes any form.

    Raises RefusedError if the client takes none of FORMS.
    """
    best, best_quality = None, 0.0
    for entry in (accept or "*/*").split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = _quality(parameters)
        form = JSON if kind in ("*/*", "application/*") else CSV if kind == "text/*" else kind
        if form in FORMS and quality > best_quality:
            best, best_quality = form, quality
    if best is None:
        raise RefusedError(406, f"answers are {', '.join(FORMS)}; the header Accept has none of them")
    return best


def _quality(parameters: list[str]) -> float:
    text = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def written(answer: Answer, form: str, model: Model) -> bytes:
    """Return an answer in one of FORMS. Raises RefusedError if it can't be written in this form."""
    if form in (JSON, CSV) and answer.size > MOST_AS_TEXT:
        raise InputError(
            f"the answer has {answer.size} values, and {form} takes {MOST_AS_TEXT} at most: accept {NPY} or {NPZ}"
        )
    if form == JSON:
        return as_json(_json(answer, model))
    if form == CSV:
        return _csv(_table(answer, model))
    buffer = io.BytesIO()
    if form == NPZ:
        np.savez(buffer, **answer.arrays)  # type: ignore[arg-type]  # numpy's stub takes them for its option
        return buffer.getvalue()
    if answer.kind == "latents" and len(answer.arrays) > 1:
        raise RefusedError(406, f"the answer is {', '.join(answer.arrays)}: accept {NPZ} or {JSON}")
    np.save(buffer, next(iter(answer.arrays.values())), allow_pickle=False)
    return buffer.getvalue()


def as_json(value: Any) -> bytes:
    """Return the JSON text of a value, in one line."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _json(answer: Answer, model: Model) -> Any:
    if answer.kind == "latents":
        return {"latents": [_listed(array) for array in answer.arrays.values()]}
    if answer.kind == "events" and model.preprocessing is None:
        return {"x": _listed(answer.arrays["x"])}
    columns = {name: _listed(column) for name, column in _table(answer, model).items()}
    if answer.kind == "columns":
        return columns
    return {"rows": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def _csv(table: Mapping[str, Array]) -> bytes:
    text = io.StringIO()
    write_rows(text, table, [table.values()])
    return text.getvalue().encode()


def _table(answer: Answer, model: Model) -> dict[str, Array]:
    """Return the columns of an answer. Raises RefusedError if it has none."""
    if answer.kind == "columns":
        drops_rows = model.preprocessing is not None and model.preprocessing.missing == "drop"
        columns = without_lacking(list(answer.arrays.values()), drops_rows)
        return dict(zip(answer.arrays, columns, strict=True))
    if answer.kind == "latents" or len(model.event_shape) != 1:
        raise RefusedError(406, f"the answer is no table: accept {JSON}, {NPY} or {NPZ}")
    return event_columns(answer.arrays["x"].reshape(-1, *model.event_shape), model)


def _listed(array: Array) -> list[Any]:
    """Return an array as lists for JSON. Times become texts. NaN and infinities, which JSON lacks, become None."""
    if array.dtype.kind == "M":
        array = np.datetime_as_string(array)
    elif array.dtype == object:  # columns, of which some values are None
        return [None if isinstance(each, float) and not math.isfinite(each) else each for each in array.tolist()]
    elif array.dtype.kind == "f" and not (good := np.isfinite(array)).all():
        array = with_none(array, ~good)
    return list(array.tolist())
