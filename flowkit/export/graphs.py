"""Frozen flow -> ONNX graphs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import onnx
import torch
from onnx import helper
from torch import Tensor

from flowkit.errors import ExportError
from flowkit.export.pieces import EXAMPLES, trace
from flowkit.export.program import Program, decode_program, encode_program
from flowkit.export.stitching import Stitcher
from flowkit.flow import Flow

OPSETS = range(18, 25)
"""The versions of the ONNX operators that torch exports right: 17 and 27 give invalid graphs."""
OPSET = 20
_IR_VERSION = 10
"""What onnxruntime reads since 1.18."""


def make_graphs(flow: Flow, opset: int = OPSET) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The encoder and the decoder of a flow, frozen in fp64, in fp32.

    Raises ExportError naming the layer and what can't be exported of it.
    """
    if opset not in OPSETS:
        raise ExportError(f"opset {opset}: choose one from {OPSETS[0]} to {OPSETS[-1]}")
    names = flow.frozen_names()
    flow = copy.deepcopy(flow).cpu().double().eval().freeze().float()
    context = _example_context(flow)
    latents = [torch.zeros(EXAMPLES, *shape) for shape in flow.latent_shapes]
    encode, decode = encode_program(flow, names), decode_program(flow, names)
    return (
        make_graph(encode, _feed(encode, [torch.zeros(EXAMPLES, *flow.event_shape), *context]), opset),
        make_graph(decode, _feed(decode, [*latents, *context]), opset),
    )


def make_graph(program: Program, feed: Mapping[str, Tensor], opset: int = OPSET) -> onnx.ModelProto:
    """A checked graph of the standard domain, its batch size open. ``feed`` has EXAMPLES rows. Raises ExportError."""
    values = program.run(feed)
    stitcher = Stitcher(opset)
    stitcher.stitch(program, trace(program, values, opset))
    inputs, outputs = ([_open(name, values[name]) for name in names] for names in (program.inputs, program.outputs))
    graph = helper.make_graph(stitcher.nodes, "flow", inputs, outputs, list(stitcher.constants.values()))
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR_VERSION, producer_name="flowkit"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _feed(program: Program, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    return dict(zip(program.inputs, tensors, strict=True))


def _example_context(flow: Flow) -> list[Tensor]:
    if flow.context is None:
        return []
    if flow.context.classes is not None:
        return [torch.zeros(EXAMPLES, dtype=torch.int64)]
    return [torch.zeros(EXAMPLES, *(flow.context.shape or ()))]


def _open(name: str, example: Tensor) -> onnx.ValueInfoProto:
    kind = onnx.TensorProto.FLOAT if example.is_floating_point() else onnx.TensorProto.INT64
    return helper.make_tensor_value_info(name, kind, ["batch", *example.shape[1:]])
