"""Makes the ONNX graphs of a flow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import onnx
import onnx.checker
import onnx.shape_inference
import torch
from onnx import helper
from torch import Tensor

from flowkit.errors import ExportError, InputError
from flowkit.export.loops import loop_shapes
from flowkit.export.pieces import EXAMPLES, Piece, trace
from flowkit.export.precision import Precision, in_precision
from flowkit.export.program import Program, any_context, base_noise, dequantization_noise, programs_of
from flowkit.export.stitching import initializers, make_model, stitched
from flowkit.flow import Flow
from flowkit.flow.layer_names import frozen_names
from flowkit.plugin.failure import in_a_line
from flowkit.shapes import Shape
from flowkit_runtime.bundle import BASE, DECODER, DEQUANTIZER, ENCODER

OPSETS = range(18, 25)
"""The versions of the ONNX operators that torch exports right: 17 and 27 give invalid graphs."""
OPSET = 20
OTHER_SIZE = (2, 3)
"""Times the height and width of the data: another size, of which graphs for any size are made and verified."""


class Graphs:
    """The graphs of an fp64 flow: frozen in fp64, then made fp32, or its networks 16 bits wide.

    ``models`` has them by the names of their files, and ``layers`` the names of the instructions of each. A flow
    with one direction has one graph of its layers. Raises InputError for an opset that torch doesn't export
    right, ExportError naming the layer and what can't be exported of it.
    """

    def __init__(
        self, exact: Flow, opset: int = OPSET, precision: Precision = "float32", any_size: bool = False
    ) -> None:
        if opset not in OPSETS:
            raise InputError(f"opset {opset}: choose one from {OPSETS[0]} to {OPSETS[-1]}")
        frozen = in_precision(exact.freeze().float(), precision)
        programs = programs_of(frozen, frozen_names(exact), exact.directions)
        self.layers = {file: [step.name for step in program.instructions] for file, program in programs.items()}
        given = _examples(exact, any_size)
        models = make_graphs(list(programs.values()), [given[file] for file in programs], opset, any_size)
        self.models: dict[str, onnx.ModelProto] = dict(zip(programs, models, strict=True))


def _examples(flow: Flow, any_size: bool) -> dict[str, list[Tensor]]:
    """Return inputs of each graph, by the names of their files."""
    context = any_context(flow, EXAMPLES)
    noise = [each.shape for each in base_noise(flow).values()]
    shapes = {ENCODER: [flow.event_shape], DECODER: flow.latent_shapes, BASE: noise}
    rest = [] if context is None else [context]
    examples = {file: [*(_example(shape, any_size) for shape in of_file), *rest] for file, of_file in shapes.items()}
    of_dequantizer = [flow.event_shape, *(each.shape for each in dequantization_noise(flow).values())]
    return examples | {DEQUANTIZER: [_example(shape, any_size) for shape in of_dequantizer]}


def make_graphs(
    programs: Sequence[Program], inputs: Sequence[Sequence[Tensor]], opset: int = OPSET, any_size: bool = False
) -> list[onnx.ModelProto]:
    """Return checked graphs of the standard domain, for batches of any size, and under ``any_size`` for images of any.

    ``inputs`` are those of each program, of EXAMPLES rows. Raises ExportError.
    """
    both = list(zip(programs, inputs, strict=True))
    values = [program.run(dict(zip(program.inputs, given, strict=True))) for program, given in both]
    calls = [
        (instruction, tuple(of_program[name] for name in instruction.inputs))
        for program, of_program in zip(programs, values, strict=True)
        for instruction in program.instructions
    ]
    pieces = iter(trace(calls, opset, any_size))
    return [
        _model(program, of_program, [next(pieces) for _ in program.instructions], opset, any_size)
        for program, of_program in zip(programs, values, strict=True)
    ]


def _model(
    program: Program, values: Mapping[str, Tensor], pieces: Sequence[Piece], opset: int, any_size: bool
) -> onnx.ModelProto:
    nodes, constants = stitched(program, pieces, opset)
    inputs, outputs = (
        [_value_info(name, values[name], any_size) for name in names] for names in (program.inputs, program.outputs)
    )
    graph = helper.make_graph(
        nodes, "flow", inputs, outputs, initializers(constants), value_info=loop_shapes(nodes, program.outputs)
    )
    # With the shapes of its values, onnxruntime opens a deep graph several times sooner.
    model = onnx.shape_inference.infer_shapes(make_model(graph, opset), data_prop=True)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        found = re.search(r"node name: (\d+_)", str(error))
        layer = program.instructions[instruction_of(found[1])].name if found else "the flow"
        raise ExportError(
            f"{layer} can't be exported to ONNX: torch translates it to a graph that isn't valid ({in_a_line(error)}); "
            "write it with other operators"
        ) from error
    return model


def instruction_of(node: str) -> int:
    """Return the index of the instruction that a node belongs to, which begins the node's name."""
    return int(node.partition("_")[0])


def _example(shape: Shape, any_size: bool) -> Tensor:
    """Return events of zeros, under ``any_size`` of another size than those that the flow was trained on."""
    sizes = [size * factor for size, factor in zip(shape[1:], OTHER_SIZE, strict=False)] if any_size else shape[1:]
    return torch.zeros(EXAMPLES, *shape[:1], *sizes)


def _value_info(name: str, example: Tensor, any_size: bool) -> onnx.ValueInfoProto:
    dtype = onnx.TensorProto.FLOAT if example.is_floating_point() else onnx.TensorProto.INT64
    sizes: list[int | str] = ["batch", *example.shape[1:]]
    if any_size and example.dim() == 4:
        sizes[2:] = [f"{name}_height", f"{name}_width"]
    return helper.make_tensor_value_info(name, dtype, sizes)
