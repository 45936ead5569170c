"""Computes the identity of a model: its canonical form and hash, the code that built it, and its spec as text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from flowkit.plugin.failure import guarded
from flowkit.plugin.reference import Use
from flowkit.plugin.spelling import block
from flowkit.spec.document import MAX_BYTES, TOO_LONG, Document, Place
from flowkit.spec.model import Spec
from flowkit.version import __version__

MODEL_FIELDS = ("flowkit", "event", "context", "flow", "base", "dequantization")
"""The part of a spec that makes the model. `data` and `train` only decide its weights."""


def canonical(spec: Spec) -> dict[str, Any]:
    """Return the model part of a spec as plain data, defaults filled in. Absent optional fields stay absent.

    Args:
        spec: The spec.
    """
    return spec.model_dump(mode="json", include=set(MODEL_FIELDS))


def model_hash(spec: Spec) -> str:
    """Return the SHA-256, in hex, of the canonical form as compact JSON with sorted keys.

    Args:
        spec: The spec.
    """
    text = json.dumps(canonical(spec), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def lock(spec: Spec) -> dict[str, Any]:
    """Return flowkit's version, {distribution: version} of the model's plugins, and the model's hash.

    Args:
        spec: The spec.
    """
    plugins = {use.plugin.distribution: use.plugin.version for use in uses(spec)}
    return {"flowkit": __version__, "model": model_hash(spec), "plugins": dict(sorted(plugins.items()))}


def to_yaml(spec: Spec | dict[str, Any]) -> str:
    """Return a spec, or its canonical form, as text with defaults filled in. `read_spec` reads an equal one from it.

    Args:
        spec: The spec, or plain data.

    Raises:
        SpecError: If the text is longer, or has more values or levels, than a spec may have.
    """
    data = spec.model_dump(mode="json") if isinstance(spec, Spec) else spec
    Document.from_python(data)  # counts its values and levels
    text = "\n".join(block(data)) + "\n"
    if len(text.encode()) > MAX_BYTES:
        Place("<spec>").fail(TOO_LONG)
    return text


def declared(use: Use, name: str, known: Sequence[str]) -> Any:
    """Return what a plugin declares, such as its ``directions``: one of the known words.

    Raises PluginError if a declaration that depends on the fields fails, or gives another word.
    """
    with guarded(f"plugin {use.plugin}: its declaration of {name} fails"):
        value = getattr(use.config, name)
        if value not in known:
            raise ValueError(f"it is {value!r}, not one of {', '.join(known)}")
        return value


def uses(value: Any) -> Iterator[Use]:
    """Yield every plugin that a spec, or a part of one, names, however deep in another's fields.

    Args:
        value: The spec or the part.
    """
    if isinstance(value, Use):
        yield value
        value = value.config
    if isinstance(value, BaseModel):
        value = vars(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from uses(item)
