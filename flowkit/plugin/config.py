"""Defines the configs of plugins: pydantic models of their fields, and rules for the shapes they take and give.

A plugin's config class derives from the base of its kind below. Its fields are the keyword arguments of the class
that the plugin's ``target`` names, kept there as attributes of the same names, so that a flow built in Python can be
written back as a spec. This module doesn't import torch.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar, Literal, Protocol

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretBytes,
    SecretStr,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
)
from pydantic_core import core_schema

from flowkit.directions import Directions
from flowkit.domains import REALS, Domain, Domains
from flowkit.plugin.strict import make_strict, parts_of
from flowkit.shapes import Shape
from flowkit_runtime.columns import Preprocessing

EVENT_KEY, CONTEXT_KEY = "event", "context"
"""The keys of the event and of the flow's context in pydantic's validation context."""


class Event(Protocol):
    """The event, one data point, as the spec's `event` section describes it.

    A validator of a config gets it by ``event_of``.
    """

    shape: Shape
    """(d,) for vectors, (channels, height, width) for images."""
    levels: int | None
    """Integer data takes the values 0 … levels - 1; None for continuous data."""

    @property
    def domains(self) -> Domains:
        """The domain of the data: what values each coordinate may take."""


class FlowContext(Protocol):
    """The context that layers read. One of the two fields is None.

    With an encoder, ``shape`` is that of the encoder's output. A validator of a config gets the context by
    ``context_of``.
    """

    classes: int | None
    """The context is a label 0 … classes - 1; layers receive it one-hot, [batch, classes]."""
    shape: Shape | None
    """The context is an array of this shape."""


def event_of(info: ValidationInfo) -> Event | None:
    """Return the spec's event to a validator of a config whose defaults or checks depend on it.

    It is the event that enters the flow, whatever reaches this layer: a config checks shapes in ``output_shape``.

    Args:
        info: The argument that pydantic gives to the validator.

    Returns:
        The event. None if the config is made on its own, or if the spec's event isn't valid.

    Examples:
        >>> from pydantic import ValidationInfo, field_validator
        >>> from flowkit.plugin import BijectorConfig, event_of
        >>> class ScaleConfig(BijectorConfig):
        ...     high: float | None = None
        ...     @field_validator("high", mode="before")
        ...     @classmethod
        ...     def _levels(cls, high, info: ValidationInfo):
        ...         event = event_of(info)
        ...         return event.levels if high is None and event else high
        >>> ScaleConfig(high=2)
        ScaleConfig(high=2.0)
    """
    return (info.context or {}).get(EVENT_KEY)


def context_of(info: ValidationInfo) -> FlowContext | None:
    """Return the context that layers read to a validator of a config that doesn't work with every context.

    Args:
        info: The argument that pydantic gives to the validator.

    Returns:
        The context. None if there is none, if the config is made on its own, or if the spec's context isn't valid.
    """
    return (info.context or {}).get(CONTEXT_KEY)


ReadsContext = Literal["no", "optional", "required"]
"""The use that a plugin's layer makes of the flow's context. "optional" layers work in a flow without one, too."""

NULL = {"type": "null"}
"""The JSON Schema of null."""


class Documented(BaseModel):
    """A mapping in a spec. Unknown fields, NaN and infinity are errors, and so are '3' or true where a number belongs.

    A field is documented by the string below it. The strings are read from the source when they are asked for, on
    the way to an error or a schema: pydantic's own ``use_attribute_docstrings`` would read it at each import.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Raise TypeError for a field that holds a model with rules of its own, or wouldn't be read back as it is."""
        if cls.model_config.get("extra") != "forbid":
            raise TypeError(f"{cls.__name__}: unknown fields would be dropped without a word: no extra in model_config")
        for name in cls.model_computed_fields:
            raise TypeError(f"{cls.__name__}.{name}: a spec can't set a computed field: make it a property")
        for name, field in cls.model_fields.items():
            if field.alias or field.validation_alias or field.serialization_alias or field.exclude:
                raise TypeError(
                    f"{cls.__name__}.{name}: specs read and write a field by its name: no alias, no exclude"
                )
            for part in parts_of(field.annotation):
                if isinstance(part, type) and issubclass(part, BaseModel) and not issubclass(part, Documented):
                    raise TypeError(f"{cls.__name__}.{name}: derive {part.__name__} from flowkit.plugin.PluginConfig")
                if isinstance(part, type) and issubclass(part, SecretStr | SecretBytes):
                    raise TypeError(f"{cls.__name__}.{name}: a spec holds no secrets: read an environment variable")

    @classmethod
    def field_docs(cls) -> dict[str, str]:
        """Return what each field is for, in one line; it is empty for a field that isn't documented."""
        docs: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            docs |= _strings_below_fields(base) if issubclass(base, Documented) else {}
        fields = cls.model_fields.items()
        return {name: " ".join((field.description or docs.get(name, "")).split()) for name, field in fields}

    @model_serializer(mode="wrap")
    def _as_a_spec(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out fields that are None by default and still None: a new optional field changes no model's hash."""
        dumped = serialize(self)
        for name in list(dumped):
            value = getattr(self, name)
            if value is None and type(self).model_fields[name].default is None:
                del dumped[name]
            if isinstance(value, set | frozenset):
                dumped[name] = sorted(dumped[name], key=str)  # Python shuffles text from run to run
        return dumped

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        schema = handler(source)
        make_strict(schema)
        return schema

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        generated = handler(schema)
        properties = handler.resolve_ref_schema(generated).get("properties", {})
        for name in filter(cls.is_computed, properties):  # its validator takes null for leaving it out
            if NULL not in properties[name].get("anyOf", []):
                properties[name] = {"anyOf": [properties[name], NULL]}
        for name, text in cls.field_docs().items():
            if text and name in properties:
                properties[name]["description"] = text
        return generated

    @classmethod
    def is_computed(cls, name: str) -> bool:
        """Return True if a validator computes the field's default from None."""
        field = cls.model_fields[name]
        return field.default is None and field.validate_default is True


@cache
def _strings_below_fields(cls: type) -> dict[str, str]:
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError, ValueError):  # a class without source, as in a notebook's cell
        return {}
    return {
        field.target.id: below.value.value
        for field, below in pairwise(getattr(tree, "body", []))
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


class PluginConfig(Documented):
    """Fields that a spec may set.

    ``reads_context`` declares what the layer does with the flow's context, by default nothing. A spec with a context
    that nothing in its flow reads is refused, and so is one without a context for a layer that requires it.

    ``directions`` declares which directions a bijector or a transformer can compute: "both", "forward" (data -> latent)
    or "inverse" (latent -> data). A spec that needs a missing direction is refused.

    Where a declaration depends on the fields, make it a property.
    """

    reads_context: ClassVar[ReadsContext] = "no"
    directions: ClassVar[Directions] = "both"


class BijectorConfig(PluginConfig):
    """A layer on its own: ``{use: namespace/name, …}`` in a flow.  Built as ``Target(event_shape, **fields)``.

    If the layer reads the ``context`` that its methods are given, declare ``reads_context = "optional"``, or
    ``"required"`` if it can't do without. Then it is built as ``Target(event_shape, context_shape, **fields)``, where
    context_shape is None for a flow without a context.

    Examples:
        >>> from flowkit.plugin import BijectorConfig, ShapeError
        >>> class HalveConfig(BijectorConfig):
        ...     def output_shape(self, event):
        ...         if event[-1] % 2:
        ...             raise ShapeError("needs an even width: pad the data")
        ...         return event
        >>> HalveConfig().output_shape((4,))
        (4,)
    """

    def output_shape(self, event: Shape) -> Shape:
        """Return the event shape that leaves the layer, without the batch.

        Args:
            event: The event shape that reaches the layer.

        Raises:
            ShapeError: If the layer can't take it. The message says what to do instead.
        """
        return event

    def domain(self, event: Shape) -> Domains | None:
        """Return the domain that the layer takes. None stands for any that all values of the event share.

        A layer that takes any domain only moves values, so it gives the same domain.

        Args:
            event: The event shape that reaches the layer.
        """
        return REALS

    def codomain(self, event: Shape) -> Domains:
        """Return the domain that leaves the layer. It isn't read if ``domain`` is None.

        Args:
            event: The event shape that reaches the layer.
        """
        return REALS


class SplitConfig(PluginConfig):
    """Divides an event for a coupling.  Built as ``Target(event_shape, **fields)``."""

    def split_shapes(self, event: Shape) -> tuple[Shape, Shape]:
        """Return the shapes (kept, transformed) of the two parts.

        Args:
            event: The event shape that reaches the coupling.

        Raises:
            ShapeError: If such an event can't be divided.
        """
        raise NotImplementedError


class ConditionerConfig(PluginConfig):
    """A network from the kept part, and the context if the flow has one, to parameters.

    Built as ``Target(kept_shape, params_shape, context_shape, **fields)``, params_shape being
    [n_params, *transformed]. If it never reads the context, declare ``reads_context = "no"``. In an elementwise step
    the context takes the place of the kept part, and ``context_shape`` is None.
    """

    reads_context: ClassVar[ReadsContext] = "optional"

    def check_shapes(self, kept: Shape, transformed: Shape) -> None:
        """Check that the network can read the kept part and write parameters of the transformed part.

        Args:
            kept: The shape of the kept part.
            transformed: The shape of the transformed part.

        Raises:
            ShapeError: If it can't.
        """


class MaskedConditionerConfig(PluginConfig):
    """A network for an autoregressive layer: the parameters of each value from the values before it, and the context.

    Built as ``Target(order, params_shape, context_shape, **fields)``, order being the layer's
    ``flowkit.bijectors.Order``, and params_shape [n_params, *event]. If it never reads the context, declare
    ``reads_context = "no"``.
    """

    reads_context: ClassVar[ReadsContext] = "optional"

    def check_shape(self, event: Shape) -> None:
        """Check that the network can read events of this shape.

        Args:
            event: The event shape that reaches the layer.

        Raises:
            ShapeError: If it can't.
        """


class OrderConfig(PluginConfig):
    """A sequence of an event's values for an autoregressive layer.  Built as ``Target(event_shape, **fields)``."""

    def check_shape(self, event: Shape) -> None:
        """Check that this is a sequence of the values of such events.

        Args:
            event: The event shape that reaches the layer.

        Raises:
            ShapeError: If it isn't.
        """


class TransformerConfig(PluginConfig):
    """An elementwise invertible map of a domain to itself.  Built as ``Target(**fields)``."""

    def domain(self) -> Domain:
        """Return the domain that the transformer maps to itself."""
        return REALS


class BaseConfig(PluginConfig):
    """A base distribution of a latent.  Built as ``Target(event_shape, **fields)``.

    If its density depends on the context, declare ``reads_context``. Then it is built as
    ``Target(event_shape, context_shape, **fields)``, as a bijector is.
    """

    def check_shapes(self, event: Shape, context: Shape | None) -> None:
        """Check that there is such a base over a latent, for this context.

        Args:
            event: The shape of the latent.
            context: The shape of the context that layers read, or None without one.

        Raises:
            ShapeError: If there is none.
        """

    def support(self, event: Shape) -> Domains:
        """Return the domain on which the density is positive.

        Args:
            event: The shape of the latent.
        """
        return REALS


class EncoderConfig(PluginConfig):
    """A network that summarizes the context for the layers of a flow.  Built as ``Target(context_shape, **fields)``.

    ``context_shape`` is that of the spec's context: (d,) for vectors and one-hot labels, (n, d) for sets and sequences,
    (c, h, w) for images. The layers are built for the output's shape, and know nothing of the encoder.
    """

    def output_shape(self, context: Shape) -> Shape:
        """Return the shape of the summary, without the batch: (d,) or (c, h, w).

        Args:
            context: The shape of the spec's context.

        Raises:
            ShapeError: If the network can't read such contexts.
        """
        raise NotImplementedError


class DatasetConfig(PluginConfig):
    """A source of data.  Built as ``Target(**fields)``.

    Values of type pathlib.Path, however deep in fields, are made absolute when a run begins, so that it can be
    resumed from anywhere.
    """

    def preprocessing(self) -> Preprocessing | None:
        """Return how the columns of a table become events and contexts, which bundles carry.

        None stands for a dataset that reads no table.
        """
        return None
