"""What makes two specs the same model, which code built it, and how a spec is written back as text."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from flowkit.plugin.reference import Use
from flowkit.spec.model import Spec
from flowkit.version import __version__

MODEL_FIELDS = ("flowkit", "event", "context", "flow", "base")
"""The part of a spec that makes the model. `data` and `train` only decide its weights."""

WIDTH = 100
"""Mappings and lists that fit are written on one line."""

PLAIN = re.compile(r"[\w./-]+", re.ASCII)
"""Text that needs no quotes. Of the rest ruamel writes some plain, or in single quotes, that it can't read again."""


def canonical(spec: Spec) -> dict[str, Any]:
    """The model part of a spec, as plain data, defaults filled in. Optional fields that are absent stay absent."""
    return spec.model_dump(mode="json", include=set(MODEL_FIELDS))


def model_hash(spec: Spec) -> str:
    """The sha256, in hex, of the canonical form as compact JSON with sorted keys."""
    text = json.dumps(canonical(spec), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def lock(spec: Spec) -> dict[str, Any]:
    """What built the model: flowkit's version, and {distribution: version} of the plugins; and its hash."""
    plugins = {use.plugin.distribution: use.plugin.version for use in uses(spec)}
    return {"flowkit": __version__, "model": model_hash(spec), "plugins": dict(sorted(plugins.items()))}


class _Representer(RoundTripRepresenter):
    """Writes null as null, where ruamel would write nothing."""


_Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


def to_yaml(spec: Spec | dict[str, Any]) -> str:
    """A spec, or its canonical form, as text, defaults filled in, so that `read_spec` gives an equal one."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = 2**16  # never folds a long string
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(_styled(spec.model_dump(mode="json") if isinstance(spec, Spec) else spec, top=True), stream)
    return stream.getvalue()


def uses(value: Any) -> Iterator[Use]:
    """Yield every plugin that a spec, or a part of one, names, however deep in another's fields."""
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


def _styled(value: Any, top: bool = False) -> Any:
    """ruamel's nodes: one line for what fits and holds no flow, a line for each entry else."""
    if isinstance(value, str) and not PLAIN.fullmatch(value):
        return DoubleQuotedScalarString(value)
    if not isinstance(value, dict | list):
        return value
    node: CommentedMap | CommentedSeq
    if isinstance(value, dict):
        node = CommentedMap((_styled(name), _styled(item)) for name, item in value.items())
        block = top or "flow" in value
    else:
        node = CommentedSeq(map(_styled, value))
        block = any(isinstance(item, dict) for item in value)
    if not block and len(json.dumps(value)) <= WIDTH:
        node.fa.set_flow_style()
    return node


BARE = re.compile(r"(?!(null|true|false)$)(\.{0,2}/)?[^\W\d][\w./-]*", re.IGNORECASE)
"""Text that needs no quotes."""


def line(value: Any) -> str:
    """As a spec would write it, numbers without trailing zeros: ``{use: glow/affine, scale: [0.25, 4]}``.

    Characters that can't be seen are escapes: some end a line, some turn what stands behind them, and
    XML has no place for some.
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{line(key)}: {line(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(line, value))}]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, str) and BARE.fullmatch(value):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
