"""Defines the fields of each section of a validated spec."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from flowkit.domains import REALS, Domains, Interval, simplified
from flowkit.plugin.config import CONTEXT_KEY, EVENT_KEY, DatasetConfig, Documented, EncoderConfig
from flowkit.plugin.domain_field import DomainField
from flowkit.plugin.reference import (
    BaseRef,
    ConditionerRef,
    DatasetRef,
    EncoderRef,
    MaskedConditionerRef,
    OrderRef,
    Reader,
    Ref,
    SplitRef,
    TransformerRef,
    Use,
)
from flowkit.plugin.spelling import block
from flowkit.shapes import Shape
from flowkit_runtime.columns import Preprocessing

VERSION = 1
"""The version of the spec language: the number behind ``flowkit:``."""

MAX_EVENT_SIZE = 2**24
"""The most values that one event may have."""

MAX_LEVELS = 65536
"""The most levels of integer data, and the most classes."""

STANDARD_NORMAL = "base/standard_normal"
"""The base of a latent for which a spec names none."""


def _check_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) not in (1, 3):
        grey = (
            f": write [1, {shape[0]}, {shape[1]}] for one channel, or [{shape[1]}] for vectors"
            if len(shape) == 2
            else ""
        )
        raise PydanticCustomError("shape", f"must be [d] for vectors or [channels, height, width] for images{grey}")
    return _check_size(shape)


def _check_context_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) not in (1, 2, 3):
        message = "must be [d] for vectors, [n, d] for sets and sequences, or [channels, height, width] for images"
        raise PydanticCustomError("shape", message)
    return _check_size(shape)


def _check_size(shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape) > MAX_EVENT_SIZE:
        raise PydanticCustomError("shape", f"has more than {MAX_EVENT_SIZE:,} values, the most that an event may have")
    return shape


TWO_ENTRIES: dict[str, Any] = {"type": "array", "minItems": 2, "maxItems": 2}
EventShape = Annotated[
    tuple[PositiveInt, ...],
    AfterValidator(_check_shape),
    Field(json_schema_extra={"minItems": 1, "maxItems": 3, "not": TWO_ENTRIES}),
]
ContextShape = Annotated[
    tuple[PositiveInt, ...],
    AfterValidator(_check_context_shape),
    Field(json_schema_extra={"minItems": 1, "maxItems": 3}),
]


class EventSpec(Documented):
    """One data point."""

    shape: EventShape
    """[d] for vectors, [channels, height, width] for images."""
    levels: Annotated[int, Field(ge=2, le=MAX_LEVELS)] | None = None
    """The number of levels of integer data, whose entries are 0 … levels - 1. Leave it out for continuous data."""
    domain: DomainField | None = None
    """The values that the data may take: real, positive, [low, high] or {circle: [low, high]}, or for vectors a list
    with one of these for each coordinate. Without it the density is one over all real numbers."""

    @field_validator("domain")
    @classmethod
    def _canonical_domain(cls, domain: Domains | None, info: ValidationInfo) -> Domains | None:
        """Return one domain for coordinates that share it, and None for the reals: a model has one canonical form."""
        shape = info.data.get("shape")
        if isinstance(domain, tuple) and shape is not None and (len(shape) > 1 or len(domain) != shape[0]):
            wanted = f", or a list of {shape[0]}" if len(shape) == 1 else ""
            raise PydanticCustomError("domain", f"{list(shape)} takes one domain for all values{wanted}")
        shared = None if domain is None else simplified(domain)
        return None if shared == REALS and info.data.get("levels") is None else shared

    @model_validator(mode="after")
    def _fitting_domain(self) -> EventSpec:
        if self.levels is not None and self.domain not in (None, Interval(0, self.levels)):
            raise PydanticCustomError("domain", f"the domain of integer data is [0, {self.levels}]")
        return self

    @property
    def domains(self) -> Domains:
        """The domain of the data. If the spec has none, it is the reals."""
        return REALS if self.domain is None else self.domain


def _given(field: str) -> dict[str, Any]:
    """Return the JSON Schema of a mapping that has the field, and not null."""
    return {"required": [field], "properties": {field: {"not": {"type": "null"}}}}


class ContextSpec(Documented):
    """The context that the density is conditioned on. It has either classes, for labels, or the shape of an array."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [_given("classes"), _given("shape")],
            "if": {"required": ["shape"], "properties": {"shape": TWO_ENTRIES}},
            "then": _given("encoder"),
        }
    )

    classes: Annotated[int, Field(ge=2, le=MAX_LEVELS)] | None = None
    """The context is a label 0 … classes - 1."""
    shape: ContextShape | None = None
    """The context is an array of this shape: [d] for vectors, [channels, height, width] for images. With an encoder it
    may be [n, d], too, for a set or a sequence of n vectors."""
    encoder: EncoderRef | None = None
    """A network that summarizes the context, and is trained with the flow. Steps and bases then read its output in the
    place of the context. It reads labels one-hot. Leave it out, and they read the context itself."""

    @model_validator(mode="after")
    def _exactly_one(self) -> ContextSpec:
        if (self.classes is None) == (self.shape is None):
            raise PydanticCustomError("context", "takes exactly one of classes and shape")
        return self

    @property
    def own_shape(self) -> Shape:
        """The shape of the context without its encoder. Labels are one-hot."""
        return (self.classes,) if self.classes is not None else self.shape or ()


def context_shape(context: ContextSpec | None) -> Shape | None:
    """Return the shape of the context that layers read: that of the encoder's output if there is an encoder.

    Without one labels are one-hot. An error of the encoder's shape rule passes through.

    Args:
        context: The context of a spec, or None.
    """
    if context is None:
        return None
    encoder = context.encoder and context.encoder.config
    return tuple(encoder.output_shape(context.own_shape)) if isinstance(encoder, EncoderConfig) else context.own_shape


def read_context(context: ContextSpec | None) -> ContextSpec | None:
    """Return the context that layers read. It is None if the encoder can't read the spec's, which `walk` reports."""
    if context is None or context.encoder is None:
        return context
    with suppress(Exception):  # whatever a plugin raises
        return ContextSpec(shape=context_shape(context))
    return None


class Repeat(Documented):
    """A flow several times over, each time with parameters of its own."""

    repeat: PositiveInt
    """The number of times."""
    flow: list[Item] = Field(min_length=1)
    """The steps that are repeated."""


Inverted = Annotated[bool | None, AfterValidator(lambda inverse: inverse or None)]
"""True or None. False is read as None, so that it changes no model's hash."""


class UseDirection(Documented):
    """The field of a plugin's step that the plugin doesn't read."""

    inverse: Inverted = None
    """true: the layer is run in the opposite direction."""


class CouplingSpec(Documented):
    """Transforms one part of the event with parameters that a network computes from the other part."""

    coupling: TransformerRef
    """The transformer: the elementwise map of the transformed part."""
    conditioner: ConditionerRef
    """The network that reads the kept part, and the context, and writes the transformer's parameters."""
    split: SplitRef = Field(default={"use": "glow/channels"}, validate_default=True)
    """The division of the event."""
    kept: TransformerRef | None = None
    """A transformer of the kept part, whose parameters are learned; leave it out, and the kept part stays as it is."""
    inverse: Inverted = None
    """true: the layer is run in the opposite direction."""

    @property
    def name(self) -> str:
        return f"{'inverse of ' if self.inverse else ''}coupling {self.coupling.name}"


class ElementwiseSpec(Documented):
    """Transforms each value of the event. The parameters are learned, or a network computes them from the context."""

    elementwise: TransformerRef
    """The transformer: the map of each value."""
    conditioner: ConditionerRef | None = None
    """The network that reads the context, and writes the transformer's parameters; leave it out to learn them."""
    inverse: Inverted = None
    """true: the layer is run in the opposite direction."""

    @property
    def name(self) -> str:
        return f"{'inverse of ' if self.inverse else ''}elementwise {self.elementwise.name}"


class AutoregressiveSpec(Documented):
    """Transforms each value of the event with parameters that a network computes from the values before it."""

    autoregressive: TransformerRef
    """The transformer: the map of each value."""
    conditioner: MaskedConditionerRef = Field(default={"use": "autoregressive/made"}, validate_default=True)
    """The network that reads the values before each value, and the context, and writes the transformer's parameters."""
    order: OrderRef = Field(default={"use": "autoregressive/natural"}, validate_default=True)
    """The sequence of the values."""
    inverse: Inverted = None
    """true: the layer is run in the opposite direction. It then samples in one pass, and its density takes as many
    passes as the event has values."""

    @property
    def name(self) -> str:
        return f"{'inverse of ' if self.inverse else ''}autoregressive {self.autoregressive.name}"


def _unless_standard_normal(base: Use | None) -> Use | None:
    """Return None for the base that a latent has without one, so that a model has one canonical form."""
    return None if base is not None and base.name == STANDARD_NORMAL else base


class FactorOutSpec(Documented):
    """The second half of the channels leaves the flow as a latent of its own; the first half goes on."""

    factor_out: Literal["channels"]
    """The axis that is divided."""
    base: Annotated[BaseRef | None, AfterValidator(_unless_standard_normal)] = None
    """The distribution of the latent that leaves; leave it out for base/standard_normal."""

    @property
    def name(self) -> str:
        return "factor_out"


LayerSpec = Use | CouplingSpec | ElementwiseSpec | AutoregressiveSpec | FactorOutSpec
"""A step of a flow that is one layer."""

KEYS: dict[str, Any] = {
    "use": Ref("bijector"),
    "repeat": Repeat,
    "coupling": CouplingSpec,
    "elementwise": ElementwiseSpec,
    "autoregressive": AutoregressiveSpec,
    "factor_out": FactorOutSpec,
}
"""The key that tells what a step of a flow is, and what reads it."""


class StepReader(Reader):
    """Reads one step of a flow by the key that it has, so that errors have the step's own path."""

    @staticmethod
    def choose(value: Any) -> Any:
        """Return the reader of this step, an entry of KEYS, or None if it doesn't have exactly one of the keys."""
        found = [key for key in KEYS if isinstance(value, dict) and key in value]
        return KEYS[found[0]] if len(found) == 1 else None

    def validate(self, value: Any, info: ValidationInfo) -> LayerSpec | Repeat:
        if isinstance(value, LayerSpec | Repeat):
            return value
        reader = self.choose(value)
        if reader is None:
            raise PydanticCustomError("step", f"a step has exactly one of the keys {', '.join(KEYS)}")
        if isinstance(reader, Ref):
            return _read_use(reader, value, info)
        return reader.model_validate(value, context=info.context)


def _read_use(reader: Ref, value: dict[str, Any], info: ValidationInfo) -> Use:
    """Read a plugin of a step. Its field ``inverse`` is that of the step, whatever the plugin's fields are."""
    use = reader.validate({key: field for key, field in value.items() if key != "inverse"}, info)
    return replace(use, inverse=UseDirection.model_validate({"inverse": value.get("inverse")}).inverse)


Item = Annotated[LayerSpec | Repeat, StepReader("step")]


class DequantizationSpec(Documented):
    """A flow of the dequantization noise, which is learned with the density. Without it, the noise is uniform."""

    flow: list[Item] = Field(min_length=1)
    """The steps from the noise, whose values are in [0, 1], to its latent. Their context is the event."""
    base: BaseRef = Field(default={"use": "base/standard_normal"}, validate_default=True)
    """The distribution of the last latent."""


class Optimizer(Documented):
    """The optimizer and its step size."""

    name: Literal["adam", "adamw", "adamax", "sgd"] = "adamw"
    """The optimizer of torch.optim."""
    lr: PositiveFloat = 1e-3
    """The learning rate at its peak, after the warm-up."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay."""


class Train(Documented):
    """The settings of training."""

    epochs: PositiveInt | None = 10
    """The number of passes over the training data; null, the default with minutes: as many as fit into these."""
    minutes: PositiveFloat | None = None
    """The minutes of training and validation after which the run finishes, without interruptions; null: no limit."""
    batch_size: PositiveInt = 128
    """The number of events in a training step, on all devices together."""
    optimizer: Optimizer = Optimizer()
    """The optimizer."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """The learning rate after the warm-up: constant, or falling to 0 along half a cosine."""
    warmup: NonNegativeInt = 0
    """The number of steps in which the learning rate rises from 0."""
    clip_norm: PositiveFloat | None = 50.0
    """Gradients with a larger global norm are scaled down to this norm; null: they never are."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = 0.999
    """The decay per step of the average of the weights, which validation and the finished run use; null: no average."""
    validate_every: PositiveInt = 1
    """The number of epochs from one validation to the next."""
    patience: PositiveInt | None = None
    """Early stopping: the number of validations without a new best after which training stops; null: it never does.
    With validate_every: 4 a patience of 3 is 12 epochs."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Decides the initial weights, the order of the data and the noise."""
    memory: Literal["store", "checkpoint", "reversible"] = "store"
    """store keeps what the backward pass needs. checkpoint and reversible compute it again, which takes about 1.5 times
    the time. Their memory grows slowly with depth, or not at all."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: conditioners are trained in bfloat16, faster where the hardware has it; maps, log-dets, weights, validation
    and the finished run's figures stay in fp32."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """The number of CPU threads of each process; null: the number in OMP_NUM_THREADS, or one if that isn't set. More
    threads help large flows on an idle machine, and make steps many times slower on a busy one."""
    devices: Annotated[int, Field(ge=1, le=4096)] = 1
    """The number of devices of a machine: GPUs, or processes on the CPU. Each computes a share of every batch."""
    num_nodes: Annotated[int, Field(ge=1, le=4096)] = 1
    """The number of machines, each with as many devices. The command is started on each machine."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """ddp: each of several devices keeps all weights. fsdp: the weights, their average, the gradients and the state of
    the optimizer are divided among the devices, for less memory."""
    accumulate: PositiveInt = 1
    """The number of micro-batches of a step, for less memory. The gradients are those of the whole batch."""
    logger: Literal["csv", "tensorboard", "wandb", "mlflow"] = "csv"
    """The experiment tracker to which the metrics are sent, beside metrics.csv; csv sends them to none."""
    compile: bool | Literal["step"] = False
    """true: torch.compile makes code of the flow for its training steps, which are then faster, after a minute or more
    at the start. step: it makes code of one step of each kind, so that deep flows start much sooner and run a little
    slower. Both need a C++ compiler, and neither can be combined with memory: reversible or strategy: fsdp."""

    @model_validator(mode="before")
    @classmethod
    def _minutes_alone(cls, value: Any) -> Any:
        """Return the section with ``epochs: null`` if it has minutes and no epochs. Their number is then open."""
        return {"epochs": None, **value} if isinstance(value, dict) and value.get("minutes") is not None else value

    @model_validator(mode="after")
    def _an_end(self) -> Train:
        if self.epochs is None and self.minutes is None:
            raise PydanticCustomError("epochs", "never ends with epochs: null; give epochs, minutes or both")
        return self

    @field_validator("devices", "num_nodes", "accumulate")
    @classmethod
    def _an_event_each(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("batch_size", value):
            raise ValueError(f"is more than batch_size: {info.data['batch_size']}, the events of a step")
        return value

    @field_validator("compile")
    @classmethod
    def _compilable(cls, value: bool | str, info: ValidationInfo) -> bool | str:
        if value and info.data.get("memory") == "reversible":
            raise ValueError(
                "can't be combined with memory: reversible; use memory: checkpoint or store, or leave compile out"
            )
        if value and info.data.get("strategy") == "fsdp":
            raise ValueError("can't be combined with strategy: fsdp; use strategy: ddp, or leave compile out")
        return value


class Spec(Documented):
    """A flow, and how to train it."""

    flowkit: Literal[1]
    """The version of the spec language."""
    event: EventSpec
    """One data point."""
    context: ContextSpec | None = None
    """The context that the density is conditioned on. Leave it out for none."""
    flow: list[Item] = Field(min_length=1)
    """The steps from data to latent."""
    base: BaseRef = Field(default={"use": STANDARD_NORMAL}, validate_default=True)
    """The distribution of the last latent. A latent that leaves at a factor_out has the base of this step."""
    dequantization: DequantizationSpec | None = None
    """The distribution of the noise that makes integer data continuous; leave it out for uniform noise."""
    data: DatasetRef | None = None
    """The source of the data. Training needs it."""
    train: Train = Train()
    """The settings of training."""

    def __str__(self) -> str:
        """Return the spec as text with defaults filled in, except in `train`, of which it has only what was set.

        So `flowkit.fit` chooses the other settings for the text as for the spec. `flowkit.spec.to_yaml` fills in all.
        """
        train = self.model_dump(mode="json", include={"train"}, exclude_unset=True)
        return "\n".join(block(self.model_dump(mode="json", exclude={"train"}) | train))

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The way in which columns of the table that `data` names become events and contexts. None without a table."""
        config = self.data and self.data.config
        return config.preprocessing() if isinstance(config, DatasetConfig) else None

    @field_validator("event")
    @classmethod
    def _show_event_to_plugins(cls, event: EventSpec, info: ValidationInfo) -> EventSpec:
        """Put the event into the validation context, in which the configs of plugins find it."""
        if info.context is not None:
            info.context[EVENT_KEY] = event
        return event

    @field_validator("context")
    @classmethod
    def _show_context_to_plugins(cls, context: ContextSpec | None, info: ValidationInfo) -> ContextSpec | None:
        """Put the context that layers read into the validation context."""
        if info.context is not None:
            info.context[CONTEXT_KEY] = read_context(context)
        return context

    @field_validator("dequantization", mode="wrap")
    @classmethod
    def _of_integers(cls, value: Any, read: Any, info: ValidationInfo) -> Any:
        """Read the flow of the noise. Its plugins find the noise as the event in the validation context."""
        event = info.data.get("event")
        if value is None or event is None:
            return read(value)
        if event.levels is None:
            raise PydanticCustomError("levels", "continuous data isn't dequantized: leave it out, or give event.levels")
        return read(value) if info.context is None else _reading_noise(value, read, info.context, event)


def noise_event(event: EventSpec) -> EventSpec:
    """Return the event of the flow of dequantization noise: a value in [0, 1] for each value of the data."""
    return EventSpec(shape=event.shape, domain=Interval(0, 1))


def noise_context(event: EventSpec) -> ContextSpec:
    """Return the context of the flow of dequantization noise: the event."""
    return ContextSpec(shape=event.shape)


def _reading_noise(value: Any, read: Any, context: dict[str, Any], event: EventSpec) -> Any:
    before = dict(context)
    context |= {EVENT_KEY: noise_event(event), CONTEXT_KEY: noise_context(event)}
    try:
        return read(value)
    finally:
        context.update(before)


def dequantizer(spec: Spec) -> Spec | None:
    """Return the flow of the dequantization noise as a spec of its own, or None. Its context is the event.

    Args:
        spec: The spec.
    """
    own = spec.dequantization
    if own is None:
        return None
    event, context = noise_event(spec.event), noise_context(spec.event)
    return Spec(flowkit=VERSION, event=event, context=context, flow=own.flow, base=own.base)
