"""Which fields may stand at a place of a spec. Only asked on the way to an error."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flowkit.errors import Path, PluginError
from flowkit.plugin.reference import Ref
from flowkit.plugin.registry import Registry
from flowkit.spec.model import Spec, StepReader


def fields_at(path: Path, data: Any, registry: Registry) -> dict[str, str]:
    """The fields of the mapping at ``path``, each with what it is for; none if that can't be told."""
    reader: Any = Spec
    for part in path:
        if isinstance(part, str):  # an entry of a list is read by what reads the list
            field = _fields(reader, data, registry).get(part)
            reader = _reader(field.metadata, field.annotation) if field else None
        data = enter(data, part)
        if reader is StepReader and isinstance(part, int):
            reader = StepReader.choose(data)
    use = {"use": "The plugin's name"} if isinstance(reader, Ref) else {}
    return use | {
        name: " ".join((field.description or "").split()) for name, field in _fields(reader, data, registry).items()
    }


def enter(data: Any, part: str | int) -> Any:
    """One level down; None where there is none."""
    try:
        return data[part]
    except (LookupError, TypeError):
        return None


def _fields(reader: Any, data: Any, registry: Registry) -> dict[str, FieldInfo]:
    if isinstance(reader, Ref):
        try:
            return registry.look_up(reader.kind, data["use"]).descriptor.config.model_fields
        except (PluginError, LookupError, TypeError, AttributeError):
            return {}
    return reader.model_fields if reader is not None else {}


def _reader(metadata: list[Any], annotation: Any) -> Any:
    """The Ref, StepReader or model that a field's type names, however deep: in a list, in a union."""
    for marker in (*metadata, annotation):
        if isinstance(marker, Ref) or marker is StepReader:
            return marker
        if isinstance(marker, type) and issubclass(marker, BaseModel):
            return marker
    for argument in reversed(get_args(annotation)):  # Annotated has the markers behind the type
        if found := _reader([], argument):
            return found
    return None
