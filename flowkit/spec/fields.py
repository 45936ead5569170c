"""Finds the fields that belong at a path of a spec. It is imported only on the way to an error."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel

from flowkit.errors import Path, PluginError
from flowkit.plugin.config import Documented
from flowkit.plugin.reference import Reader, Ref
from flowkit.plugin.registry import Registry
from flowkit.spec.document import enter
from flowkit.spec.model import KEYS, Spec, StepReader, UseDirection


def fields_at(path: Path, data: Any, registry: Registry) -> dict[str, str]:
    """Return the fields of the mapping at ``path``, each with its purpose; none if the mapping can't be told."""
    reader, mapping = _reader_at(path, data, registry)
    use = {"use": "The plugin's name"} if isinstance(reader, Ref) else {}
    inverse = UseDirection.field_docs() if reader is KEYS["use"] else {}
    model = _model(reader, mapping, registry)
    return use | ({} if model is None else model.field_docs()) | inverse


def required_at(path: Path, data: Any, registry: Registry) -> list[str]:
    """Return the fields that the mapping at ``path`` must have."""
    model = _model(*_reader_at(path, data, registry), registry)
    return [name for name, field in model.model_fields.items() if field.is_required()] if model else []


def _reader_at(path: Path, data: Any, registry: Registry) -> tuple[Any, Any]:
    """Return what reads the value at ``path``, and the value."""
    reader: Any = Spec
    for part in path:
        if isinstance(part, str):  # an entry of a list is read by what reads the list
            model = _model(reader, data, registry)
            field = model.model_fields.get(part) if model else None
            reader = _reader(field.metadata, field.annotation) if field else None
        data = enter(data, part)
        if isinstance(reader, StepReader) and isinstance(part, int):
            reader = StepReader.choose(data)
    return reader, data


def _model(reader: Any, data: Any, registry: Registry) -> type[Documented] | None:
    """Return the model that reads the mapping ``data``. For a reference it is the config of the named plugin."""
    if not isinstance(reader, Ref):
        return reader if isinstance(reader, type) and issubclass(reader, Documented) else None
    try:
        return registry.look_up(reader.kind, data["use"]).descriptor.config
    except (PluginError, LookupError, TypeError, AttributeError):
        return None


def _reader(metadata: list[Any], annotation: Any) -> Any:
    """Return the Ref, StepReader or model that a field's type names, also within a list or a union."""
    for marker in (*metadata, annotation):
        if isinstance(marker, Reader) or (isinstance(marker, type) and issubclass(marker, BaseModel)):
            return marker
    for argument in reversed(get_args(annotation)):  # Annotated has the markers behind the type
        if found := _reader([], argument):
            return found
    return None
