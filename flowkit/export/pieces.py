"""Calls -> pieces of ONNX graphs. Calls that differ in nothing but their numbers, such as the steps of a ``repeat``,
are traced once: the tensors of a module are inputs of its piece."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import onnx
import torch
from torch import Tensor, nn
from torch.func import functional_call

from flowkit.errors import ExportError
from flowkit.export.program import Instruction, Operation
from flowkit.export.structure import structure
from flowkit.export.translations import METHOD, Translations, translations_of
from flowkit.plugin.failure import in_a_line
from flowkit_runtime.graph_check import DRAWING

EXAMPLES = 3
"""Rows of the examples that are traced: any number but 0 and 1, which torch.export takes for constants."""
IR_VERSION = 10
"""Of all graphs: what onnxruntime reads since 1.18."""
ADVICE = "does it branch on values, or use len(x) or int(x.shape[0])?"
_UNKNOWN = (
    "if it is of weights alone, compute it in freeze(), which makes the layer for export; or give the layer a static "
    f"method {METHOD}, which says how ONNX computes it: see docs/plugin-contracts.md"
)


class ValueType(NamedTuple):
    """The type of a value, by its number in ONNX, and its sizes. Those that are open have names."""

    type: int
    sizes: Sequence[int | str]


@dataclass(frozen=True)
class Piece:
    """The graph of a call: from values and the tensors of its module, by their names, to results."""

    nodes: Sequence[onnx.NodeProto]
    constants: Mapping[str, onnx.TensorProto]
    inputs: Sequence[str]
    tensors: Mapping[str, str]
    """The name of a tensor in the module -> that of its value in the piece."""
    outputs: Sequence[str]
    kinds: Mapping[str, ValueType]
    """Of its inputs and all values, as far as they are known. A size's name means the same in all of the piece."""


@dataclass(frozen=True)
class _Example:
    """A call to trace, with values that fit it."""

    call: Operation
    values: tuple[Tensor, ...]

    @property
    def tensors(self) -> dict[str, Tensor]:
        return state_of(self.call)

    @property
    def places(self) -> dict[str, str]:
        """Where a tensor stands -> its name. Each module comes once: torch, which looks for what is tied by itself,
        puts a tensor twice into one that stands in two places, and doesn't take it out again."""
        names = {id(tensor): name for name, tensor in self.tensors.items()}
        return {
            f"{prefix}.{key}".removeprefix("."): names[id(tensor)]
            for prefix, module in self.call.named_modules()
            for key, tensor in chain(module._parameters.items(), module._buffers.items())
            if tensor is not None
        }


def state_of(call: Operation) -> dict[str, Tensor]:
    """The parameters and buffers of a call's module, each once."""
    return dict(chain(call.named_parameters(), call.named_buffers()))


def trace(calls: Sequence[tuple[Instruction, tuple[Tensor, ...]]], opset: int, any_size: bool) -> list[Piece]:
    """Return the piece of each instruction, which comes with its inputs, of EXAMPLES rows.

    Batch sizes are left open, and under ``any_size`` the heights and widths of images too.

    Raises ExportError, which names the instruction that torch can't export, and what it says of it.
    """
    keys: list[Hashable] = []
    distinct: dict[Hashable, tuple[Instruction, _Example]] = {}
    for instruction, values in calls:
        keys.append((structure(instruction.call), *((tuple(v.shape), v.dtype) for v in values)))
        distinct.setdefault(keys[-1], (instruction, _Example(instruction.call, values)))
    pieces = dict(zip(distinct, _trace_all(list(distinct.values()), opset, any_size), strict=True))
    return [pieces[key] for key in keys]


def _trace_all(distinct: Sequence[tuple[Instruction, _Example]], opset: int, any_size: bool) -> list[Piece]:
    examples = [example for _, example in distinct]
    try:
        return _trace(examples, opset, any_size)
    except ExportError as error:
        for instruction, example in distinct:
            try:
                _trace([example], opset, any_size)
            except ExportError as reason:
                raise ExportError(f"{instruction.name} can't be exported to ONNX: {reason}") from error
        raise


class _Together(nn.Module):
    """All calls as one function of all their values and tensors. It owns none of them."""

    def __init__(self, examples: Sequence[_Example]) -> None:
        super().__init__()
        self.examples = examples

    def forward(self, *flat: Tensor) -> tuple[Tensor, ...]:
        given, results = iter(flat), []
        for example in self.examples:
            values = [next(given) for _ in example.values]
            tensors = {name: next(given) for name in example.tensors}
            placed = {place: tensors[name] for place, name in example.places.items()}
            results += functional_call(example.call, placed, tuple(values), tie_weights=False)
        return tuple(results)


def _trace(examples: Sequence[_Example], opset: int, any_size: bool) -> list[Piece]:
    args: list[Tensor] = []
    inputs: list[str] = []
    dynamic: list[dict[int, Any] | None] = []
    for index, example in enumerate(examples):
        # Copies: torch takes a tensor that two calls have for a single input.
        args += [tensor.detach().clone() for tensor in (*example.values, *example.tensors.values())]
        inputs += [f"{index}/{i}" for i in range(len(example.values))]
        inputs += [f"{index}/{name}" for name in example.tensors]
        # Each call has a batch size of its own: with a common one, a piece might read it off another's input.
        batch = torch.export.Dim(f"batch_{index}")
        sizes = [dict.fromkeys(_open_sizes(value, any_size), torch.export.Dim.AUTO) for value in example.values]
        dynamic += [{0: batch, **size} for size in sizes] + [None] * len(example.tensors)
    translations = translations_of(chain.from_iterable(example.call.modules() for example in examples))
    model = _export(_Together(examples), tuple(args), inputs, tuple(dynamic), opset, translations)
    return list(_apart(model, examples, any_size))


def _open_sizes(value: Tensor, any_size: bool) -> tuple[int, ...]:
    """The dimensions of an image's height and width, if they are left open."""
    return (2, 3) if any_size and value.dim() == 4 else ()


def _export(
    module: nn.Module,
    args: tuple[Tensor, ...],
    inputs: list[str],
    dynamic: tuple[Any, ...],
    opset: int,
    translations: Translations,
) -> onnx.ModelProto:
    try:
        with _quiet():
            program = torch.onnx.export(
                module.eval(), args, dynamo=True, opset_version=opset, input_names=inputs,
                dynamic_shapes=(dynamic,), external_data=False, verbose=False,
                custom_translation_table=translations,
            )  # fmt: skip
    except Exception as error:  # the exporter's errors share no narrower base
        if _is_interrupt(error):
            raise KeyboardInterrupt from error
        raise ExportError(_first_cause(error)) from error
    assert program is not None
    model = program.model_proto
    foreign = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if foreign or model.functions:
        raise ExportError(f"needs operators outside the standard domain: {', '.join(sorted(foreign))}")
    if drawing := DRAWING & {node.op_type for node in model.graph.node}:
        raise ExportError(f"it draws random numbers ({', '.join(sorted(drawing))}), but must give the same each time")
    return model


def _apart(model: onnx.ModelProto, examples: Sequence[_Example], any_size: bool) -> Iterator[Piece]:
    """The piece of each call: the nodes that its results come from, and their constants."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    kinds = dict(_kinds(chain(model.graph.input, model.graph.value_info, model.graph.output)))
    outputs = iter(model.graph.output)
    for index, example in enumerate(examples):
        with torch.no_grad():
            values = [(next(outputs), result) for result in example.call(*example.values)]
        for value, result in values:
            _check_open(value, (0, *_open_sizes(result, any_size)))
        results = [value.name for value, _ in values]
        needed, nodes = set(results), []
        for node in reversed(model.graph.node):
            if needed & set(node.output):
                nodes.append(node)
                needed |= set(node.input)
        inputs = [f"{index}/{i}" for i in range(len(example.values))]
        tensors = {name: f"{index}/{name}" for name in example.tensors}
        own_constants = {name: tensor for name, tensor in constants.items() if name in needed}
        yield Piece(nodes[::-1], own_constants, inputs, tensors, results, kinds)


def _kinds(infos: Iterable[onnx.ValueInfoProto]) -> Iterator[tuple[str, ValueType]]:
    for info in infos:
        tensor = info.type.tensor_type
        sizes = [size.dim_param or size.dim_value for size in tensor.shape.dim]
        if tensor.elem_type and 0 not in sizes:  # 0 where it is open and has no name
            yield info.name, ValueType(tensor.elem_type, sizes)


def _check_open(value: onnx.ValueInfoProto, dimensions: Sequence[int]) -> None:
    """Raises ExportError if one of these sizes is the example's, whatever the input's."""
    sizes = [size.dim_value for size in value.type.tensor_type.shape.dim] or [EXAMPLES]  # 0 where it was left open
    fixed = {"batch" if dimension == 0 else "image": sizes[dimension] for dimension in dimensions if sizes[dimension]}
    for of, size in fixed.items():
        raise ExportError(f"it gives a size of {size} whatever the size of the {of} ({ADVICE})")


def _is_interrupt(error: BaseException | None) -> bool:
    """Return whether an error arose from Ctrl-C, which may stop torch from importing a module that it then needs."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _first_cause(error: BaseException) -> str:
    """What lies at the bottom of an error of the exporter's."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = in_a_line(error)
    if "No ONNX function" in text:
        return f"{text} ({_UNKNOWN})"
    return f"{text} ({ADVICE})" if "data-dependent" in text or "Guard" in text or "batch" in text else text


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own chatter. Warnings from flowkit and its plugins get through."""
    threshold = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            for module in ("torch", "onnxscript", "onnx_ir", "copyreg"):
                warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
            yield
    finally:
        logging.disable(threshold)
