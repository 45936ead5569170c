"""Describes bundles and their endpoints to clients: `/bundles/NAME`, and OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flowkit_runtime.columns import described
from flowkit_runtime.model import Model
from flowkit_runtime.serving.bodies import CSV, JSON, NPY, NPZ, TEXTS
from flowkit_runtime.serving.endpoints import ENDPOINTS, Endpoint

JsonSchema = dict[str, Any]

_BINARY: JsonSchema = {"type": "string", "format": "binary"}
_PARAMETERS: dict[str, tuple[str, JsonSchema]] = {
    "n": (
        "The number of samples, or a list of sizes as numpy has them.",
        {
            "oneOf": [{"type": "integer", "minimum": 0}, {"type": "array", "items": {"type": "integer", "minimum": 0}}],
            "default": 1,
        },
    ),
    "seed": ("The same seed gives the same noise.", {"type": "integer", "minimum": 0}),
    "draws": ("Draws of dequantization noise to average over.", {"type": "integer", "minimum": 1, "default": 1}),
    "temperature": (
        "Scales the noise: below 1 gives likelier, less varied samples.",
        {"type": "number", "minimum": 0, "default": 1},
    ),
    "columns": ("The columns of a CSV body that make an event: a,b,…. By default, all others.", {"type": "string"}),
    "context_columns": ("The columns of a CSV body that make the context: a,b,….", {"type": "string"}),
}
_ERRORS = {
    "406": "The header Accept names no form of the answer.",
    "408": "The body comes too slowly.",
    "413": "The body is too large.",
    "415": "The body has another form, or is compressed.",
    "422": "A value can't be used; `detail` says which and why.",
    "503": "The server is busy, or the request takes too long.",
}


def described_bundle(name: str, model: Model) -> dict[str, Any]:
    """Return the description of a bundle, as JSON values."""
    context = model.context
    threshold = model.threshold
    manifest = model.manifest
    return {
        "name": name,
        "event": {"shape": model.event_shape, "levels": model.levels, "domain": manifest["event"].get("domain")},
        "context": None if context is None else asdict(context),
        "columns": None if model.preprocessing is None else described(model.preprocessing),
        "latents": model.latent_shapes,
        "score": model.printed_unit,
        "threshold": None if threshold is None else asdict(threshold),
        "endpoints": {each.name: f"/bundles/{name}/{each.name}" for each in ENDPOINTS.values() if each.fits(model)},
        "providers": model.providers,
        **{field: manifest.get(field) for field in ("model", "flowkit", "weights", "precision", "opset")},
    }


def openapi_of(model: Model, endpoint: Endpoint) -> dict[str, Any]:
    """Return the OpenAPI description of an endpoint, without its address and its summary."""
    arrays = _arrays(model, endpoint)
    parameters = {name: _PARAMETERS[name] for name in endpoint.parameters}
    in_json = {
        name: {"description": text, **schema} for name, (text, schema) in parameters.items() if name not in TEXTS
    }
    body: dict[str, JsonSchema] = {
        JSON: {"type": "object", "properties": {**arrays, **in_json}},
        NPY: {**_BINARY, "description": f"The array {endpoint.main(model)}."},
        NPZ: {**_BINARY, "description": f"Uncompressed arrays, among {', '.join(endpoint.takes(model))}."},
        CSV: {"type": "string", "description": "A table like one that `flowkit-runtime score` reads."},
    }
    return {
        "parameters": [
            {"name": name, "in": "query", "description": text, "schema": schema}
            for name, (text, schema) in parameters.items()
        ],
        "requestBody": {
            "required": endpoint.of != "noise",
            "content": {form: {"schema": body[form]} for form in endpoint.forms},
        },
        "responses": {
            "200": {"description": endpoint.summary, "content": _answers(model, endpoint)},
            **{
                status: {"description": text, "content": {JSON: {"schema": _DETAIL}}}
                for status, text in _ERRORS.items()
            },
        },
    }


_DETAIL: JsonSchema = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}


def _arrays(model: Model, endpoint: Endpoint) -> dict[str, JsonSchema]:
    """Return the schemas of the arrays, or the records, that an endpoint takes as JSON."""
    arrays: dict[str, JsonSchema] = {}
    if endpoint.of == "latents":
        arrays["latents"] = {
            "type": "array",
            "items": {"type": "array"},
            "description": "The latents, [n, *shape] each, of the shapes "
            + ", ".join(map(_sizes, model.latent_shapes)),
        }
    elif endpoint.of != "noise":
        arrays["x"] = _nested(("n", *model.event_shape), "Events, one a row.")
        if model.preprocessing is not None:
            names = ", ".join(model.preprocessing.kinds)
            arrays["rows"] = _listed({"type": "object"}, f"Instead of x, rows of the table with the columns {names}.")
    if model.context is not None:
        kind = "number" if model.context.classes is None else "string" if model.context.names else "integer"
        text = "The context, one for each row or one for all"
        text += "; a list of objects names its columns." if model.preprocessing is not None else "."
        one = _nested(model.context.shape, "", kind)
        arrays["context"] = {"oneOf": [one, _listed(one, "")], "description": text}
    return arrays


def _answers(model: Model, endpoint: Endpoint) -> dict[str, Any]:
    """Return the schemas of an answer. It has no `anomalous` if there is no threshold of its scores."""
    columns: dict[str, dict[str, JsonSchema]] = {
        "score": {"score": _nested(("n",), ""), "anomalous": _listed({"type": "boolean"}, "")},
        "log_prob": {"log_prob": _nested(("n",), "")},
        "encode": {"latents": _listed({"type": "array"}, "")},
    }
    x, rows = {"x": _nested(("n", *model.event_shape), "")}, {"rows": _listed({"type": "object"}, "")}
    found = columns.get(endpoint.name, x if model.preprocessing is None else rows)
    in_json: JsonSchema = {"type": "object", "properties": found}
    forms: dict[str, JsonSchema] = {JSON: in_json, NPY: _BINARY, NPZ: _BINARY, CSV: {"type": "string"}}
    return {form: {"schema": schema} for form, schema in forms.items()}


def _nested(shape: Sequence[int | str], description: str, kind: str = "number") -> JsonSchema:
    """Return the schema of nested lists of a shape."""
    schema: JsonSchema = {"type": kind}
    for _ in shape:
        schema = {"type": "array", "items": schema}
    return {**schema, "description": f"{description} The shape is {_sizes(shape)}.".strip()} if shape else schema


def _listed(items: JsonSchema, description: str) -> JsonSchema:
    return {"type": "array", "items": items, **({"description": description} if description else {})}


def _sizes(shape: Sequence[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]"
