"""``Ref``: a config field that names another plugin, as ``{use: namespace/name, …}``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError, core_schema

from flowkit.errors import FlowkitError, PluginError
from flowkit.plugin.config import PluginConfig
from flowkit.plugin.failure import reason
from flowkit.plugin.registry import Found, Registry, UnknownPlugin


@dataclass(frozen=True)
class Use:
    """A plugin that a spec names, with its validated config."""

    plugin: Found
    config: PluginConfig

    @property
    def name(self) -> str:
        return self.plugin.name

    def dump(self) -> dict[str, Any]:
        """As a spec writes it, defaults filled in."""
        return {"use": self.name, **self.config.model_dump(mode="json")}

    def build(self, *shapes: Any) -> Any:
        """Import the target and build it. Raises PluginError if that fails."""
        fields = {name: getattr(self.config, name) for name in type(self.config).model_fields}
        target = self.plugin.load()
        try:
            return target(*shapes, **fields)
        except FlowkitError:
            raise
        except Exception as error:
            raise PluginError(f"plugin {self.plugin} can't be built: {reason(error)}") from error


@dataclass(frozen=True)
class Ref:
    """Marks a field as a reference to a plugin of ``kind``: ``Annotated[Use, Ref("transformer")]``.

    The name is looked up in the registry that the validation context carries; errors in the plugin's own
    fields come out as errors of the spec, at their place.
    """

    kind: str

    def validate(self, value: Any, info: ValidationInfo) -> Use:
        if isinstance(value, Use):
            return value
        if not isinstance(value, dict) or not isinstance(value.get("use"), str):
            raise PydanticCustomError("plugin_reference", "must name a {kind}: {use: namespace/name}", vars(self))
        assert info.context is not None, "read_spec gives the registry"
        registry: Registry = info.context["registry"]
        try:
            found = registry.look_up(self.kind, value["use"])
        except UnknownPlugin as error:
            raise PydanticCustomError(
                "unknown_plugin", "{message}", {"message": error.message, "suggestion": error.suggestion}
            ) from error
        except PluginError as error:
            raise PydanticCustomError("broken_plugin", "{message}", {"message": str(error)}) from error
        fields = {key: item for key, item in value.items() if key != "use"}
        try:
            return Use(found, found.descriptor.config.model_validate(fields, context=info.context))
        except ValidationError:
            raise
        except Exception as error:  # a validator of the plugin's own that is broken
            message = f"plugin {found} fails to read its fields: {reason(error)}"
            raise PydanticCustomError("broken_plugin", "{message}", {"message": message}) from error

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self.validate, serialization=core_schema.plain_serializer_function_ser_schema(Use.dump)
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"x-flowkit": self.kind}  # `flowkit schema` puts the plugins of this kind here


TransformerRef = Annotated[Use, Ref("transformer")]
SplitRef = Annotated[Use, Ref("split")]
ConditionerRef = Annotated[Use, Ref("conditioner")]
BaseRef = Annotated[Use, Ref("base")]
DatasetRef = Annotated[Use, Ref("dataset")]
