"""Finds the fields that belong at a path of a spec. It is imported only on the way to an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

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
        if isinstance(reader, _Values):
            reader = reader.reader
        elif isinstance(part, str):  # an entry of a list is read by what reads the list
            model = _model(reader, data, registry)
            field = model.model_fields.get(part) if model else None
            reader = _reader(field.metadata, field.annotation) if field else None
        data = enter(data, part)
        if isinstance(reader, StepReader) and isinstance(part, int):
            reader = StepReader.choose(data)
    return reader, data


@dataclass
class _Values:
    """Stands for a mapping with any keys, whose values ``reader`` reads."""

    reader: Any


@dataclass
class _Either:
    """Stands for several models, of which a mapping is one."""

    models: list[type[BaseModel]]

    def choose(self, data: Any) -> type[BaseModel]:
        """Return the model whose constants the mapping has, such as kind: circle, or else the last one."""
        given = data if isinstance(data, dict) else {}
        return next((each for each in self.models if _has_constants(each, given)), self.models[-1])


def _has_constants(model: type[BaseModel], data: dict[str, Any]) -> bool:
    constants = {name: f.annotation for name, f in model.model_fields.items() if get_origin(f.annotation) is Literal}
    return bool(constants) and all(data.get(name) in get_args(each) for name, each in constants.items())


def _model(reader: Any, data: Any, registry: Registry) -> type[Documented] | None:
    """Return the model that reads the mapping ``data``. For a reference it is the config of the named plugin."""
    if isinstance(reader, _Either):
        reader = reader.choose(data)
    if not isinstance(reader, Ref):
        return reader if isinstance(reader, type) and issubclass(reader, Documented) else None
    try:
        return registry.look_up(reader.kind, data["use"]).descriptor.config
    except (PluginError, LookupError, TypeError, AttributeError):
        return None


def _reader(metadata: list[Any], annotation: Any) -> Any:
    """Return the Ref, StepReader or model that a field's type names, also within a list, a mapping or a union."""
    for marker in (*metadata, annotation):
        if isinstance(marker, Reader) or (isinstance(marker, type) and issubclass(marker, BaseModel)):
            return marker
    arguments = get_args(annotation)
    if isinstance(origin := get_origin(annotation), type) and issubclass(origin, Mapping):
        return _Values(_reader([], arguments[1]))
    models = [each for each in arguments if isinstance(each, type) and issubclass(each, BaseModel)]
    if len(models) > 1:
        return _Either(models)
    for argument in reversed(arguments):  # Annotated has the markers behind the type
        if found := _reader([], argument):
            return found
    return None
