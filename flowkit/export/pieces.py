"""Traces calls, and returns their pieces of ONNX graphs.

Calls that differ only in the values of their tensors, such as the steps of a ``repeat``, are traced once: the tensors
of a module are inputs of its piece.
"""

from __future__ import annotations

import gc
import io
import logging
import warnings
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.func import functional_call

from flowkit.errors import ExportError
from flowkit.export.loops import fix_loops, reads, with_bodies
from flowkit.export.program import Instruction, Operation
from flowkit.export.structure import structure
from flowkit.export.translations import METHOD, Translations, methods_of, translations_of
from flowkit.plugin.failure import in_a_line
from flowkit_runtime.graph_check import DRAWING

EXAMPLES = 3
"""Rows of the examples that are traced: any number but 0 and 1, which torch.export takes for constants."""
FIXED_BATCH = "does it branch on values, or use len(x) or int(x.shape[0])?"
_ADVICE = {
    "No ONNX function": (
        "if it is of weights alone, compute it in freeze(), which makes the layer for export; or give the layer a "
        f"static method {METHOD}, which says how ONNX computes it: see docs/plugin-contracts.md"
    ),
    "FunctionalTensor": "does it index by a list, or make a tensor of one? Keep the indices in a buffer",
    "data-dependent": FIXED_BATCH,
    "Guard": FIXED_BATCH,
    "batch": FIXED_BATCH,
}
"""What is advised for an error of the exporter's whose text contains the key."""


@dataclass(frozen=True)
class Piece:
    """The graph of a call: from inputs and the tensors of its module to outputs.

    An input has the name ``PREFIX/INDEX``, a tensor ``PREFIX/NAME``.
    """

    prefix: int
    nodes: Sequence[onnx.NodeProto]
    constants: Sequence[onnx.TensorProto]
    outputs: Sequence[str]


Example = tuple[Instruction, tuple[Tensor, ...]]
"""An instruction, and values of its inputs, of EXAMPLES rows."""


def state_of(call: Operation) -> dict[str, Tensor]:
    """Return the parameters and buffers of a call's module, each once."""
    return dict(chain(call.named_parameters(), call.named_buffers()))


def trace(calls: Sequence[Example], opset: int, any_size: bool) -> list[Piece]:
    """Return the piece of each instruction, which comes with its inputs.

    Batch sizes are left open, and under ``any_size`` the heights and widths of images too. Calls that bring the same
    translations of operators are traced together, because each call of torch.onnx takes a second.

    Raises ExportError, which names the instruction that torch can't export, and what it says of it.
    """
    keys: list[Hashable] = []
    distinct: dict[Hashable, Example] = {}
    groups: dict[Hashable, list[Hashable]] = defaultdict(list)
    for instruction, values in calls:
        keys.append((structure(instruction.call), *((tuple(v.shape), v.dtype) for v in values)))
        if keys[-1] not in distinct:
            distinct[keys[-1]] = instruction, values
            groups[frozenset(methods_of(instruction.call))].append(keys[-1])
    pieces: dict[Hashable, Piece] = {}
    for group in groups.values():
        pieces |= zip(group, _trace_all([distinct[key] for key in group], opset, any_size), strict=True)
    return [pieces[key] for key in keys]


def _trace_all(calls: Sequence[Example], opset: int, any_size: bool) -> list[Piece]:
    try:
        return _trace(calls, opset, any_size)
    except ExportError as error:
        if len(calls) == 1:
            raise ExportError(f"{calls[0][0].name} can't be exported to ONNX: {error}") from error
        for call in calls:
            _trace_all([call], opset, any_size)
        raise


class _Together(nn.Module):
    """All calls as one function of all their values and tensors. It owns none of them."""

    def __init__(self, calls: Sequence[Example]) -> None:
        super().__init__()
        self.calls = calls

    def forward(self, *flat: Tensor) -> tuple[Tensor, ...]:
        given, results = iter(flat), []
        for instruction, values in self.calls:
            inputs = tuple(islice(given, len(values)))
            tensors = dict(zip(state_of(instruction.call), given, strict=False))
            placed = {place: tensors[name] for place, name in _places(instruction.call).items()}
            results += functional_call(instruction.call, placed, inputs, tie_weights=False)
        return tuple(results)


def _places(call: Operation) -> dict[str, str]:
    """Return where each tensor stands, with its name.

    Each module comes once. torch, which looks for what is tied by itself, puts a tensor twice into a module that stands
    in two places, and doesn't take it out again.
    """
    names = {id(tensor): name for name, tensor in state_of(call).items()}
    return {
        f"{prefix}.{key}".removeprefix("."): names[id(tensor)]
        for prefix, module in call.named_modules()
        for key, tensor in chain(module._parameters.items(), module._buffers.items())
        if tensor is not None
    }


def _trace(calls: Sequence[Example], opset: int, any_size: bool) -> list[Piece]:
    """Return the piece of each call. All of them bring the same translations."""
    args: list[Tensor] = []
    inputs: list[str] = []
    dynamic: list[dict[int, Any] | None] = []
    for index, (instruction, values) in enumerate(calls):
        state = state_of(instruction.call)
        # Copies: torch takes a tensor that two calls have for a single input.
        args += [tensor.detach().clone() for tensor in (*values, *state.values())]
        inputs += [f"{index}/{name}" for name in (*range(len(values)), *state)]
        # Each call has a batch size of its own: with a common one, a piece might read it off another's input.
        batch = torch.export.Dim(f"batch_{index}")
        sizes = [dict.fromkeys(_open_sizes(value.shape, any_size), torch.export.Dim.AUTO) for value in values]
        dynamic += [{0: batch, **size} for size in sizes] + [None] * len(state)
    translations = translations_of(calls[0][0].call)  # all calls have the same
    model = _export(_Together(calls), tuple(args), inputs, tuple(dynamic), opset, translations)
    return list(_apart(model, calls, any_size))


def _open_sizes(shape: Sequence[int], any_size: bool) -> tuple[int, ...]:
    """Return the dimensions of an image's height and width, if they are left open."""
    return (2, 3) if any_size and len(shape) == 4 else ()


def _export(
    module: nn.Module,
    args: tuple[Tensor, ...],
    inputs: list[str],
    dynamic: tuple[Any, ...],
    opset: int,
    translations: Translations,
) -> onnx.ModelProto:
    try:
        with _quiet(), _without_garbage_collection():
            program = torch.onnx.export(
                module.eval(), args, dynamo=True, opset_version=opset, input_names=inputs,
                dynamic_shapes=(dynamic,), external_data=False, verbose=False,
                custom_translation_table=translations,
            )  # fmt: skip
    except Exception as error:  # the exporter's errors share no narrower base
        if (stopped := _stopped_by(error)) is not None:
            raise stopped from error
        raise ExportError(_first_cause(error)) from error
    assert program is not None
    model = program.model_proto
    nodes = list(with_bodies(model.graph.node))
    foreign = {node.domain for node in nodes} - {"", "ai.onnx"}
    if foreign or model.functions:
        raise ExportError(f"needs operators outside the standard domain: {', '.join(sorted(foreign))}")
    if drawing := DRAWING & {node.op_type for node in nodes}:
        raise ExportError(f"it draws random numbers ({', '.join(sorted(drawing))}), but must give the same each time")
    fix_loops(model.graph)
    return model


def _apart(model: onnx.ModelProto, calls: Sequence[Example], any_size: bool) -> Iterator[Piece]:
    """Yield the piece of each call: the nodes that its results come from, and their constants."""
    outputs = iter(model.graph.output)
    for index, (instruction, _) in enumerate(calls):
        results = list(islice(outputs, len(instruction.outputs)))
        for value in results:
            _check_open(value, any_size)
        names = [value.name for value in results]
        needed, nodes = set(names), []
        for node in reversed(model.graph.node):
            if needed & set(node.output):
                nodes.append(node)
                needed |= reads(node)
        yield Piece(index, nodes[::-1], [each for each in model.graph.initializer if each.name in needed], names)


def _check_open(value: onnx.ValueInfoProto, any_size: bool) -> None:
    """Raise ExportError if a size that must be open is the example's, whatever the input's."""
    sizes = [size.dim_value for size in value.type.tensor_type.shape.dim] or [EXAMPLES]  # 0 where it was left open
    for dimension, of in {0: "batch", **dict.fromkeys(_open_sizes(sizes, any_size), "image")}.items():
        if sizes[dimension]:
            raise ExportError(f"it gives a size of {sizes[dimension]} whatever the size of the {of} ({FIXED_BATCH})")


def _stopped_by(error: BaseException | None) -> type[BaseException] | None:
    """Return KeyboardInterrupt or MemoryError if an error arose from one, otherwise None.

    Both may stop torch from importing a module that it then needs, so that another attempt fails in another way.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt | MemoryError):
        error = error.__cause__ or error.__context__
    return None if error is None else type(error)


def _first_cause(error: BaseException) -> str:
    """Return what lies at the bottom of an error of the exporter's, with advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = in_a_line(error)
    advice = next((advice for fragment, advice in _ADVICE.items() if fragment in text), None)
    return text if advice is None else f"{text} ({advice})"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter. Warnings from flowkit and its plugins get through."""
    threshold = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            for module in ("torch", "onnxscript", "onnx_ir", "copyreg"):
                warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
            yield
    finally:
        logging.disable(threshold)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keep Python from looking for reference cycles, which takes a fifth of the time of a trace."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
