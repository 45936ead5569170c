"""Configs in plain words, and the page that is made of them."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveInt

from flowkit.errors import PluginError
from flowkit.plugin import (
    BaseConfig,
    BijectorConfig,
    ConditionerConfig,
    DatasetConfig,
    Descriptor,
    Found,
    PluginConfig,
    Policy,
    Registry,
    Shape,
    ShapeError,
    SplitConfig,
    TransformerRef,
)
from flowkit.plugin.description import FieldRow, example_fields, field_rows, mappings_in, target_doc
from flowkit.plugin.descriptor import MODULE_NAMES, STEP_KEYS
from flowkit.plugin.found import IN_PROCESS
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.shape_rules import shape_rule
from flowkit.spec import Optimizer, model, read_spec
from flowkit.spec.example import example_spec

DOCS = Path(__file__).parents[2] / "docs"


class Side(Enum):
    LEFT = "left"
    RIGHT = "right"


class Everything(BijectorConfig):
    """Fields of all types."""

    whole: PositiveInt
    """Two
    lines."""
    between: Annotated[int, Field(ge=2, lt=64, multiple_of=2)]
    real: NonNegativeFloat = 0.5
    small: float = 1e-5
    flag: bool = False
    text: Annotated[str, Field(min_length=1, pattern="a+")] = "a"
    choice: Literal["lu", "plain", 3]
    one: Literal["only"] = "only"
    side: Side
    sides: frozenset[Side] = frozenset(Side)
    path: Path | None = None
    pair: tuple[float, float] | Literal["sigmoid"] = (0.25, 4.0)
    numbers: Annotated[list[int], Field(min_length=2)]
    names: list[str | None] | None = None
    mapping: dict[str, int] = Field(default_factory=dict)
    map: TransformerRef
    maps: list[TransformerRef] = Field(default=[])
    optimizer: Optimizer = Optimizer()
    high: float = Field(default=None, validate_default=True)
    low: float | None = Field(default=None, validate_default=True)
    anything: Any = None


ROWS = """\
whole | whole number (greater than 0) | required | Two lines.
between | whole number (at least 2, less than 64, a multiple of 2) | required |
real | number (at least 0) | 0.5 |
small | number | 1e-05 |
flag | true or false | false |
text | text (1 or more characters, matching a+) | a |
choice | lu, plain or 3 | required |
one | only | only |
side | left or right | required |
sides | list of: left or right | [left, right] |
path | path or null | null |
pair | [number, number] or sigmoid | [0.25, 4] |
numbers | list (2 or more) of: whole number | required |
names | list of: (text or null) or null | null |
mapping | mapping | {} |
map | a transformer: {use: …} | required |
maps | list of: a transformer: {use: …} | [] |
optimizer | Optimizer | its defaults |
high | number or null | computed |
low | number or null | computed |
anything | anything | null |
"""


def test_fields_in_plain_words() -> None:
    rows = [" | ".join((row.name, row.type, row.default, row.meaning)).rstrip() for row in field_rows(Everything)]
    assert "\n".join(rows) == ROWS.rstrip()


class Tree(PluginConfig):
    """A mapping that holds itself."""

    leaf: Side = Side.LEFT
    branches: tuple[Tree, ...] = ()


def test_a_mapping_that_holds_itself_is_listed_once() -> None:
    class Recursive(BijectorConfig):
        tree: Tree = Tree()
        optimizer: Optimizer = Optimizer()

    assert mappings_in(Recursive) == [Tree, Optimizer]


def test_one_of_several_mappings_in_words() -> None:
    class Disc(PluginConfig):
        kind: Literal["disc"]

    class Square(PluginConfig):
        kind: Literal["square"]

    class Region(BijectorConfig):
        region: Annotated[Disc | Square, Field(discriminator="kind")]

    (row,) = field_rows(Region)
    assert row.type == "Disc or Square"


def test_unknown_fields_cannot_be_allowed() -> None:
    with pytest.raises(TypeError, match="unknown fields would be dropped without a word"):

        class Lax(BijectorConfig):
            model_config = ConfigDict(extra="ignore")


def test_a_field_without_a_json_schema() -> None:
    class Odd(BijectorConfig):
        f: Callable[[], int]

    assert field_rows(Odd) == [FieldRow("f", "anything", "required", "")]


def test_values_for_required_fields() -> None:
    assert example_fields(Everything) == {
        "whole": 1,
        "between": 2,
        "choice": "lu",
        "side": "left",
        "numbers": [1, 1],
        "map": {"use": "glow/affine"},
    }


@pytest.mark.parametrize(
    ("bounds", "value"),
    [
        ({}, 1),
        ({"ge": 0}, 0),
        ({"gt": 0}, 1),
        ({"ge": 3, "multiple_of": 4}, 4),
        ({"le": -5}, -5),
        ({"lt": -5}, -6),
    ],
)
def test_whole_numbers_within_bounds(bounds: dict[str, int], value: int) -> None:
    config = type("C", (BijectorConfig,), {"__annotations__": {"n": Annotated[int, Field(**bounds)]}})  # type: ignore[pydantic-field]
    assert example_fields(config) == {"n": value}
    config(**example_fields(config))


@pytest.mark.parametrize("bounds", [{}, {"gt": 0}, {"lt": 0}, {"gt": 0, "lt": 1}, {"ge": 5, "le": 5}, {"lt": -7}])
def test_numbers_within_bounds(bounds: dict[str, float]) -> None:
    config = type("C", (BijectorConfig,), {"__annotations__": {"x": Annotated[float, Field(**bounds)]}})  # type: ignore[pydantic-field]
    config(**example_fields(config))


class Half(SplitConfig):
    """In the middle."""

    def split_shapes(self, event: Shape) -> tuple[Shape, Shape]:
        if event[0] % 2:
            raise ShapeError("odd")
        return (event[0] // 2,), (event[0] // 2,)


class Broken(BijectorConfig):
    """Forgets vectors."""

    def output_shape(self, event: Shape) -> Shape:
        if len(event) < 3:
            raise IndexError("no")
        return event[::-1]


class Images(ConditionerConfig):
    """Images only."""

    def check_shapes(self, kept: Shape, transformed: Shape) -> None:
        if len(kept) != 3:
            raise ShapeError("reads images")


class Vectors(BaseConfig):
    """Vectors only."""

    def check_shapes(self, event: Shape, context: Shape | None) -> None:
        if len(event) != 1 or context is not None:
            raise ShapeError("is over vectors")


class OfSets(BaseConfig):
    """Depends on a set."""

    reads_context = "required"

    def check_shapes(self, event: Shape, context: Shape | None) -> None:
        if context is None or len(context) != 2:
            raise ShapeError("reads sets")


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        (BijectorConfig(), ["any event; its shape stays"]),
        (ConditionerConfig(), ["any event"]),
        (BaseConfig(), ["any event"]),
        (DatasetConfig(), []),
        (Vectors(), ["[2]: accepted", "[3, 8, 8]: refused: is over vectors", "[3, 7, 7]: refused: is over vectors"]),
        (OfSets(), [f"{event} with a context [2]: refused: reads sets" for event in ("[2]", "[3, 8, 8]", "[3, 7, 7]")]),
        (
            Half(),
            ["[2] -> kept [1], transformed [1]", "[3, 8, 8]: refused: odd", "[3, 7, 7]: refused: odd"],
        ),
        (Images(), ["[2]: refused: reads images", "[3, 8, 8]: accepted", "[3, 7, 7]: accepted"]),
        (Broken(), ["[2]: its rule fails: IndexError: no", "[3, 8, 8] -> [8, 8, 3]", "[3, 7, 7] -> [7, 7, 3]"]),
    ],
)
def test_shape_rules(config: PluginConfig, rule: list[str]) -> None:
    assert shape_rule(config) == rule


@pytest.mark.parametrize(
    ("code", "doc"),
    [
        ('raise SystemExit\nclass Shift:\n    """y = x + b.\n\n    More."""\n', "y = x + b.\n\nMore."),
        ("class Shift: ...", ""),
        ("Shift = dict", ""),
        ("from elsewhere import *", ""),
    ],
)
def test_the_docstring_of_a_target_is_read_and_not_run(code: str, doc: str, site: Path) -> None:
    (site / "flowkit_far" / "deep").mkdir(parents=True)
    (site / "flowkit_far" / "__init__.py").write_text("raise SystemExit")
    for path in ("flowkit_near.py", "flowkit_far/deep/layer.py", "flowkit_far/deep/__init__.py"):
        (site / path).write_text(code)
    for module in ("flowkit_near", "flowkit_far.deep.layer", "flowkit_far.deep"):
        assert target_doc(f"{module}:Shift") == doc
    assert not {"flowkit_near", "flowkit_far"} & set(sys.modules)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("flowkit_near:Shfit", "flowkit_near defines no Shfit"),
        ("flowkit_bad:Shift", "flowkit_bad can't be imported: .* line 1"),
        ("flowkit_nowhere:Shift", "there is no module flowkit_nowhere"),
        ("flowkit_nowhere.layer:Shift", "there is no module flowkit_nowhere.layer"),
    ],
)
def test_a_target_that_is_not_there(target: str, words: str, site: Path) -> None:
    (site / "flowkit_near.py").write_text("class Shift: ...")
    (site / "flowkit_bad.py").write_text("class Shift(:")
    with pytest.raises(PluginError, match=words):
        target_doc(target)


def test_every_plugin_of_our_own_has_an_example_that_is_valid() -> None:
    registry = Registry.discover(Policy(no_plugins=True))
    for found in registry.load_all()[0]:
        spec = example_spec(found, registry)
        assert spec is not None and found.name in str(spec)
        if found.kind != "dataset":
            read_spec(spec, registry=registry)


def test_the_plugins_that_examples_are_made_of() -> None:
    registry = Registry.discover(Policy(no_plugins=True))
    for kind in KINDS.values():
        assert not example_fields(registry.look_up(kind.name, kind.example).descriptor.config)


def test_no_example_where_none_is_valid() -> None:
    class Never(BijectorConfig):
        """Takes nothing."""

        def output_shape(self, event: Shape) -> Shape:
            raise ShapeError("no")

    found = Found("mine/never", "bijector", Descriptor("never", Never, "a:B"), IN_PROCESS)
    assert example_spec(found, Registry(registered={"mine/never": found})) is None


def test_the_keys_of_steps_are_reserved() -> None:
    assert set(model.KEYS) <= STEP_KEYS


def test_torch_has_the_names_that_fields_would_hide() -> None:
    assert all(hasattr(torch.nn.Linear(1, 1), name) for name in MODULE_NAMES)

    class Mine(DatasetConfig):
        """Is no module."""

        train: str = "x.npy"

    Descriptor("mine", Mine, "a:B").check("dataset")


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "reference.py"))


def test_the_reference_is_up_to_date(reference: dict[str, Any]) -> None:
    page = reference["page"](Registry.discover(Policy(no_plugins=True)))
    assert (DOCS / "reference.md").read_text("utf-8") == page, "run `make docs`"


def test_the_reference_has_every_section_and_plugin(reference: dict[str, Any]) -> None:
    names = {reference["key"](each) for each in reference["sections"]()}
    assert {"spec", "event", "context", "repeat", "use", "coupling", "factor_out", "optimizer", "train"} <= names
    page = (DOCS / "reference.md").read_text("utf-8")
    names |= {found.name for found in Registry.discover(Policy(no_plugins=True)).load_all()[0]}
    assert all(f"\n### {name}\n" in page for name in names)
