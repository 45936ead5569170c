"""Plugins to write specs with, for the tests of this directory. Their targets don't exist."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, field_validator
from typing_extensions import TypedDict

from flowkit.plugin import (
    BijectorConfig,
    ConditionerConfig,
    DatasetConfig,
    Descriptor,
    PluginConfig,
    Shape,
    ShapeError,
    TransformerConfig,
    TransformerRef,
    hookimpl,
)


class Scale(BijectorConfig):
    """y = factor x."""

    factor: PositiveFloat = 2.0
    """What x is multiplied with."""
    even: Annotated[int, Field(multiple_of=2)] = 2
    """Any even number."""
    bias: bool = False
    """Whether something is added."""
    note: str | None = None
    """Any text."""


class Squeeze(BijectorConfig):
    """[c, h, w] -> [4c, h/2, w/2]: "[c" is no markup."""

    def output_shape(self, event: Shape) -> Shape:
        if len(event) != 3:
            raise ShapeError("squeeze needs an image")
        c, h, w = event
        if h % 2 or w % 2:
            raise ShapeError("squeeze needs even sides")
        return (4 * c, h // 2, w // 2)


class Buggy(BijectorConfig):
    """Fails in ways that no plugin should."""

    fail: bool = False
    """In the validator instead of the shape rule."""

    @field_validator("fail")
    @classmethod
    def _fail(cls, fail: bool) -> bool:
        return fail and {}["nothing"]

    def output_shape(self, event: Shape) -> Shape:
        return event[7]  # type: ignore[return-value]


class Part(PluginConfig):
    """A mapping in a plugin's fields."""

    n: int = 0
    """Any number."""


class Disc(PluginConfig):
    kind: Literal["disc"]
    radius: float = 1


class Square(PluginConfig):
    kind: Literal["square"]
    side: float = 1


class Pair(TypedDict, total=False):
    first: int


class Typed(BijectorConfig):
    """A field of each type, as a plugin's author would write it."""

    whole: int = 0
    number: float = 0
    truth: bool = False
    text: str = ""
    path: Path = Path()
    pair: tuple[float, float] = (0, 0)
    wholes: list[int] = []  # noqa: RUF012
    names: frozenset[str] = frozenset()
    counts: dict[str, int] = {}  # noqa: RUF012
    choice: Literal[0, 1, 2] = 0
    either: int | Literal["auto"] = 0
    both: int | float = 0
    maybe: Annotated[int, Field(ge=0)] | None = None
    part: Part = Part()
    parts: list[Part] = []  # noqa: RUF012
    by: dict[str, Part] = {}  # noqa: RUF012
    region: Annotated[Disc | Square, Field(discriminator="kind")] = Disc(kind="disc")
    typed: Pair = {}  # noqa: RUF012
    class_: int = 0
    maps: list[TransformerRef] = []  # noqa: RUF012
    sides: tuple[int, ...] = ()

    @field_validator("sides", mode="before")
    @classmethod
    def _one_or_more(cls, sides: Any) -> Any:
        return sides if isinstance(sides, list | tuple) else [sides]


class Elementwise(BijectorConfig):
    """Applies a transformer without a network."""

    map: TransformerRef
    """The transformer."""


class Affine(TransformerConfig):
    """y = s x + b."""

    scale: tuple[float, float] | Literal["sigmoid"] = (0.25, 4.0)
    """Bounds of s."""

    @field_validator("scale")
    @classmethod
    def _bounds(cls, scale: tuple[float, float] | str) -> tuple[float, float] | str:
        if not isinstance(scale, str) and not scale[0] < scale[1]:
            raise ValueError("needs lo < hi")
        return scale


class Net(ConditionerConfig):
    """A network."""

    hidden: NonNegativeInt = 8
    """Units."""
    widths: list[int] = Field(default=[1], min_length=1, max_length=2)
    """One or two widths."""


class Points(DatasetConfig):
    """Points in the plane."""

    path: str
    """Where they are."""


@hookimpl
def flowkit_register_bijectors() -> list[Descriptor]:
    configs = {"typed": Typed, "scale": Scale, "squeeze": Squeeze, "buggy": Buggy, "elementwise": Elementwise}
    return [Descriptor(name, config, f"nowhere:{config.__name__}") for name, config in configs.items()]


@hookimpl
def flowkit_register_transformers() -> list[Descriptor]:
    return [Descriptor("affine", Affine, "nowhere:Affine")]


@hookimpl
def flowkit_register_conditioners() -> list[Descriptor]:
    return [Descriptor("net", Net, "nowhere:Net")]


@hookimpl
def flowkit_register_datasets() -> list[Descriptor]:
    return [Descriptor("points", Points, "nowhere:Points")]
