"""Frozen flow -> ONNX graphs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import onnx
import torch
from onnx import helper
from torch import Tensor

from flowkit.errors import ExportError
from flowkit.export.bisection import first_deviation
from flowkit.export.pieces import EXAMPLES, trace
from flowkit.export.precision import Precision, in_precision
from flowkit.export.program import Program, decode_program, encode_program
from flowkit.export.stitching import Stitcher
from flowkit.flow import Flow
from flowkit_runtime.bundle import DECODER, ENCODER

OPSETS = range(18, 25)
"""The versions of the ONNX operators that torch exports right: 17 and 27 give invalid graphs."""
OPSET = 20
_IR_VERSION = 10
"""What onnxruntime reads since 1.18."""


class Graphs:
    """The encoder and the decoder of an fp64 flow: frozen in fp64, then made fp32, or its networks 16 bits wide.

    Raises ExportError naming the layer and what can't be exported of it.
    """

    def __init__(self, exact: Flow, opset: int = OPSET, precision: Precision = "float32") -> None:
        if opset not in OPSETS:
            raise ExportError(f"opset {opset}: choose one from {OPSETS[0]} to {OPSETS[-1]}")
        names, frozen = exact.frozen_names(), exact.freeze()
        own = in_precision(copy.deepcopy(frozen).float(), precision)
        self._encode = encode_program(frozen, names), encode_program(own, names)
        self._decode = decode_program(frozen, names), decode_program(own, names)
        context = _example_context(own)
        latents = [torch.zeros(EXAMPLES, *shape) for shape in own.latent_shapes]
        self.encoder = make_graph(self._encode[1], [torch.zeros(EXAMPLES, *own.event_shape), *context], opset)
        self.decoder = make_graph(self._decode[1], [*latents, *context], opset)

    def first_deviation(self, reference: Mapping[str, Tensor]) -> str | None:
        """Where a graph begins to deviate from the fp64 flow on these reference rows; None if no layer does."""
        rows = reference["finite"] == 1
        graphs = (ENCODER, self.encoder, self._encode), (DECODER, self.decoder, self._decode)
        for file, graph, (exact, own) in graphs:
            feed = {name: reference[name][rows] for name in exact.inputs}
            if where := first_deviation(graph, exact, own, feed):
                return f"{file} begins to deviate in {where}"
        return None


def make_graph(program: Program, inputs: Sequence[Tensor], opset: int = OPSET) -> onnx.ModelProto:
    """A checked graph of the standard domain, its batch size open. ``inputs`` have EXAMPLES rows. Or ExportError."""
    values = program.run(dict(zip(program.inputs, inputs, strict=True)))
    stitcher = Stitcher(opset)
    stitcher.stitch(program, trace(program, values, opset))
    given, results = ([_open(name, values[name]) for name in names] for names in (program.inputs, program.outputs))
    graph = helper.make_graph(stitcher.nodes, "flow", given, results, list(stitcher.constants.values()))
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR_VERSION, producer_name="flowkit"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _example_context(flow: Flow) -> list[Tensor]:
    if flow.context is None:
        return []
    if flow.context.classes is not None:
        return [torch.zeros(EXAMPLES, dtype=torch.int64)]
    return [torch.zeros(EXAMPLES, *(flow.context.shape or ()))]


def _open(name: str, example: Tensor) -> onnx.ValueInfoProto:
    kind = onnx.TensorProto.FLOAT if example.is_floating_point() else onnx.TensorProto.INT64
    return helper.make_tensor_value_info(name, kind, ["batch", *example.shape[1:]])
