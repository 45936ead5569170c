"""Specs that somebody or something has damaged: as data, as text, as bytes, and by overrides."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from ruamel.yaml import YAML

from tests.fuzz.data_damage import DATA, PYTHON, overrides
from tests.fuzz.pieces import Draw, several
from tests.fuzz.text_damage import BYTES, TEXT


@dataclass(frozen=True)
class Case:
    """What `read_spec` is given. Bytes are those of a file."""

    source: bytes | str | Mapping[str, Any]
    overrides: tuple[str, ...] = ()


@st.composite
def cases(draw: Draw, specs: st.SearchStrategy[Mapping[str, Any]], texts: list[str]) -> Case:
    """Damage to generated specs and to these texts."""
    text, data = draw(st.sampled_from(texts)), draw(specs)
    if draw(st.booleans()):
        data = YAML(typ="safe", pure=True).load(text)
    else:
        text = draw(st.sampled_from([_block, json.dumps]))(data)
    kind = draw(st.sampled_from(["text", "text", "bytes", "bytes", "data", "data", "python", "overrides"]))
    return Case(
        _damaged(draw, kind, text, data),
        tuple(draw(st.lists(overrides(data), min_size=kind == "overrides", max_size=2))),
    )


def _damaged(draw: Draw, kind: str, text: str, data: Any) -> Any:
    match kind:
        case "text":
            return several(draw, TEXT, text)
        case "bytes":
            return several(draw, BYTES, several(draw, TEXT, text).encode("utf-8", "surrogatepass"))
        case "data":
            return draw(st.sampled_from([_block, json.dumps]))(several(draw, DATA, copy.deepcopy(data)))
        case "python":
            return draw(st.sampled_from(PYTHON))(draw, several(draw, DATA, copy.deepcopy(data)))
    return data


def _block(data: Any) -> str:
    """As YAML, every mapping and list in block style."""
    yaml, stream = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.representer.ignore_aliases = lambda _: True
    yaml.dump(data, stream)
    return stream.getvalue()
