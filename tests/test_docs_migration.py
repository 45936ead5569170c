"""docs/migration/: every step that its tables name is valid in some spec."""

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from flowkit.errors import FlowkitError
from flowkit.spec import read_spec, walk
from tests.pages import ROOT, blocks, python
from tests.thirdparty.place import Place

CIRCLE = {"circle": [-3.1416, 3.1416]}
PLACES: list[dict[str, Any]] = [
    {"event": {"shape": [4]}},
    {"event": {"shape": [4, 8, 8]}},
    {"event": {"shape": [4]}, "context": {"classes": 3}},
    {"event": {"shape": [4]}, "context": {"shape": [20, 3]}},
    {"event": {"shape": [4], "domain": [0, 1]}},
    {"event": {"shape": [4], "domain": "positive"}},
    {"event": {"shape": [4]}, "base": {"use": "base/uniform", "bounds": [0, 1]}},
    {"event": {"shape": [4], "domain": [0, 1]}, "base": {"use": "base/uniform"}},
    {"event": {"shape": [4], "domain": CIRCLE}, "base": {"use": "base/uniform", "bounds": CIRCLE}},
]
"""Where a step may stand."""


def shown() -> list[str]:
    """Return what the pages write in braces, once each."""
    pages = (ROOT / "docs/migration").glob("*.md")
    rows = [line for page in pages for line in page.read_text("utf-8").splitlines() if line.startswith("|")]
    return sorted({code for row in rows for code in re.findall(r"`(\{.*?\})`", row)})


@pytest.mark.parametrize("code", shown())
def test_a_step_that_is_named_is_valid_somewhere(code):
    failures = []
    for place in PLACES:
        try:
            walk(read_spec({"flowkit": 1, **spec_with(YAML(typ="safe").load(code), place)}))
            return
        except FlowkitError as error:
            failures.append(str(error))
    pytest.fail("\n".join(failures))


def spec_with(part: dict[str, Any], place: dict[str, Any]) -> dict[str, Any]:
    """Return the place with this step, base or encoder in it."""
    kind = part.get("use", "").split("/")[0]
    if kind == "base":
        return {**place, "flow": [{"use": "glow/permute"}], "base": part}
    if kind == "encoder":
        coupling = {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp"}}
        return {**place, "context": {**place.get("context", {}), "encoder": part}, "flow": [coupling]}
    return {**place, "flow": [part]}


@pytest.mark.slow
def test_the_flow_that_replaces_one_of_flowjax_is_fitted_as_written(tmp_path):
    for kind, text in blocks("docs/migration/flowjax.md"):
        if kind == "yaml":
            (tmp_path / text.split()[1]).write_text(text, "utf-8")
        else:
            python(Place(tmp_path), text)
