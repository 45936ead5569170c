"""Defines ``Ref``, which marks a config field that names another plugin, as ``{use: namespace/name, …}``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError, core_schema

from flowkit.errors import FlowkitError, PluginError
from flowkit.plugin.config import PluginConfig
from flowkit.plugin.failure import guarded
from flowkit.plugin.found import Found
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.policy import FIRST_PARTY
from flowkit.plugin.registry import UnknownPlugin
from flowkit.plugin.spelling import line, with_article
from flowkit_runtime.errors import shortened

MAX_NAME = 200
"""The most characters of a plugin's full name."""


@dataclass(frozen=True)
class Use:
    """A plugin that a spec names, with its validated config.

    Attributes:
        plugin: The plugin that was found under the name.
        config: Its fields.
        inverse: True for a step of a flow that is run in the opposite direction.
    """

    plugin: Found
    config: PluginConfig
    inverse: bool | None = None

    @property
    def name(self) -> str:
        return self.plugin.name

    @property
    def title(self) -> str:
        """The plugin's name, and for a step whether it is inverted: ``inverse of map/logit``."""
        return f"inverse of {self.name}" if self.inverse else self.name

    def dump(self) -> dict[str, Any]:
        """Return the plugin and its fields as a spec writes them, defaults filled in."""
        inverse = {} if self.inverse is None else {"inverse": True}
        return {"use": self.name, **self.config.model_dump(mode="json"), **inverse}

    def build(self, *shapes: Any) -> Any:
        """Import the target and build it.

        Args:
            *shapes: The positional arguments of the plugin's kind, such as the event shape.

        Returns:
            An instance of the target, whose keyword arguments are the fields of the config.

        Raises:
            PluginError: If the import or the constructor fails, or the target is of another kind.
        """
        fields = {name: getattr(self.config, name) for name in type(self.config).model_fields}
        target, kind = self.plugin.load(), KINDS[self.plugin.kind]
        with guarded(f"plugin {self.plugin} can't be built", FlowkitError):
            built = target(*shapes, **fields)
        if not isinstance(built, kind.target_base()):
            raise PluginError(f"plugin {self.plugin}: its target must derive from {kind.target.replace(':', '.')}")
        if kind.in_flow and not hasattr(built, "_parameters"):  # else torch fails at the first look at its parameters
            raise PluginError(f"plugin {self.plugin} can't be built: its __init__ must call super().__init__ first")
        return built


@dataclass(frozen=True)
class Reader:
    """Marks a field that is read by code of our own, as ``Ref`` does. ``kind`` says what stands there."""

    kind: str

    def validate(self, value: Any, info: ValidationInfo) -> Any:
        """Return the value of the field for the value that a spec has there."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self.validate, serialization=core_schema.plain_serializer_function_ser_schema(_dumped)
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"x-flowkit": self.kind}  # `flowkit schema` puts the plugins of this kind here


def _dumped(value: Any) -> dict[str, Any]:
    return value.dump() if isinstance(value, Use) else value.model_dump(mode="json")


class Ref(Reader):
    """Marks a field as a reference to a plugin of a kind: ``Annotated[Use, Ref("transformer")]``.

    The name is looked up in the registry that the validation context carries; errors in the plugin's own fields become
    errors of the spec, at their place.

    Args:
        kind: The name of the kind.
    """

    def validate(self, value: Any, info: ValidationInfo) -> Use:
        if isinstance(value, Use):
            return value
        name = value.get("use") if isinstance(value, dict) else None
        if not isinstance(name, str) or len(name) > MAX_NAME:
            details = {"kind": self.kind, "one": with_article(self.kind)}
            raise PydanticCustomError("plugin_reference", "must name {one}: {use: namespace/name}", details)
        assert info.context is not None, "read_spec gives the registry"
        fields = {key: item for key, item in value.items() if key != "use"}
        try:
            found = info.context["registry"].look_up(self.kind, name)
            with guarded(f"plugin {found} fails to read its fields", ValidationError):
                config = found.descriptor.config.model_validate(fields, context=info.context)
            if found.distribution != FIRST_PARTY:  # tests read the fields of flowkit's own plugins back
                _check_written(found, config, info)
            return Use(found, config)
        except UnknownPlugin as error:
            # not the error itself, of which pydantic would call str()
            context: dict[str, Any] = {"kind": self.kind, "message": error.message, "suggestion": error.suggestion}
            raise PydanticCustomError("unknown_plugin", "{message}", context) from error
        except PluginError as error:  # the plugin can't be imported, or a validator of its own is broken
            raise PydanticCustomError("broken_plugin", "{message}", {"message": str(error)}) from error


def _check_written(found: Found, config: PluginConfig, info: ValidationInfo) -> None:
    """Raise PluginError for fields that a run's spec, in which they are written, would not give back."""
    with guarded(f"plugin {found} can't write its fields into a spec"):
        written = _written(config)
        try:
            again = _written(type(config).model_validate(written, context=info.context))
        except ValidationError as error:
            (name, *_), why = error.errors()[0]["loc"] or ("",), error.errors()[0]["msg"]
            value = shortened(line(written.get(str(name), written)))
            raise PluginError(f"{name} is written as {value}, which can't be read: {why}") from None
        for name, value in written.items():
            if again[name] != value:
                given, read = shortened(line(value)), shortened(line(again[name]))
                raise PluginError(f"{name} is written as {given}, and what reads that makes it {read}")


def _written(config: PluginConfig) -> dict[str, Any]:
    """Return the fields of a config as a spec has them. Raise PluginError, with its name, for one that can't be."""
    written: dict[str, Any] = {}
    for name in type(config).model_fields:
        try:
            written |= config.model_dump(mode="json", include={name}, warnings=False)
        except Exception as error:  # whatever the serializer of a stranger's type raises
            value = getattr(config, name)
            unread = isinstance(value, dict | list) and name not in config.model_fields_set
            advice = UNREAD if unread else "take a type that pydantic writes as JSON, or give it a serializer"
            raise PluginError(f"{name} is {shortened(repr(value))}: {advice}") from error
    return written


UNREAD = "a default that is written as in a spec must be read: Field(default=…, validate_default=True)"


TransformerRef = Annotated[Use, Ref("transformer")]
"""The type of a config's field that names a transformer."""
SplitRef = Annotated[Use, Ref("split")]
"""The type of a config's field that names a split."""
ConditionerRef = Annotated[Use, Ref("conditioner")]
"""The type of a config's field that names a conditioner."""
MaskedConditionerRef = Annotated[Use, Ref("masked-conditioner")]
"""The type of a config's field that names a masked conditioner."""
OrderRef = Annotated[Use, Ref("order")]
"""The type of a config's field that names an order."""
BaseRef = Annotated[Use, Ref("base")]
"""The type of a config's field that names a base distribution."""
EncoderRef = Annotated[Use, Ref("encoder")]
"""The type of a config's field that names an encoder."""
DatasetRef = Annotated[Use, Ref("dataset")]
"""The type of a config's field that names a dataset."""
