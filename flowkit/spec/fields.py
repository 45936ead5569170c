"""Which fields may stand at a place of a spec. Only asked on the way to an error."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel

from flowkit.errors import Path, PluginError
from flowkit.plugin.config import Documented
from flowkit.plugin.reference import Ref
from flowkit.plugin.registry import Registry
from flowkit.spec.model import Spec, StepReader


def fields_at(path: Path, data: Any, registry: Registry) -> dict[str, str]:
    """The fields of the mapping at ``path``, each with what it is for; none if that can't be told."""
    reader: Any = Spec
    for part in path:
        if isinstance(part, str):  # an entry of a list is read by what reads the list
            model = _model(reader, data, registry)
            field = model.model_fields.get(part) if model else None
            reader = _reader(field.metadata, field.annotation) if field else None
        data = enter(data, part)
        if reader is StepReader and isinstance(part, int):
            reader = StepReader.choose(data)
    use = {"use": "The plugin's name"} if isinstance(reader, Ref) else {}
    model = _model(reader, data, registry)
    if model is None:
        return use
    docs = model.field_docs()
    return use | {name: " ".join(docs.get(name, "").split()) for name in model.model_fields}


def enter(data: Any, part: str | int) -> Any:
    """One level down; None where there is none."""
    try:
        return data[part]
    except (LookupError, TypeError):
        return None


def _model(reader: Any, data: Any, registry: Registry) -> type[Documented] | None:
    """The model that reads the mapping ``data``: of a reference, the config of the plugin that it names."""
    if not isinstance(reader, Ref):
        return reader if isinstance(reader, type) and issubclass(reader, Documented) else None
    try:
        return registry.look_up(reader.kind, data["use"]).descriptor.config
    except (PluginError, LookupError, TypeError, AttributeError):
        return None


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
