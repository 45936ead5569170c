"""Puts the pieces of a program together to one graph."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from flowkit.export.loops import body_of, drop_unread, names_in, reads, rename, with_bodies
from flowkit.export.pieces import Piece, state_of
from flowkit.export.program import Instruction, Program

if TYPE_CHECKING:
    import onnxruntime

IR_VERSION = 10
"""The version of the file format of all graphs. onnxruntime reads it since 1.18."""

Constants = dict[str, NDArray[Any]]

_GROWING = frozenset({"Expand", "Tile", "ConstantOfShape", "Range", "Cast"})
"""Operators whose result is much larger than their input, a Cast of bf16 to fp32 among them. A graph computes them
anew for each batch: that costs nothing, and keeping their results would make the graph larger."""


def stitched(program: Program, pieces: Iterable[Piece], opset: int) -> tuple[list[onnx.NodeProto], Constants]:
    """Return the nodes and constants of a program's graph. Values have the names that the program gives them."""
    stitcher = _Stitcher()
    for index, (instruction, piece) in enumerate(zip(program.instructions, pieces, strict=True)):
        stitcher.add(f"{index}_{type(instruction.call.module).__name__}", instruction, piece)
    stitcher.fold(opset)
    for name, terms in program.sums.items():
        stitcher.add_sum(name, terms)
    stitcher.drop_dead(program.outputs)
    return stitcher.nodes, stitcher.constants


def make_model(graph: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    """Return a graph as a model of the standard domain."""
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="flowkit")


def initializers(constants: Mapping[str, NDArray[Any]]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(array, name) for name, array in constants.items()]


class _Stitcher:
    """A graph in the making: nodes, and constants by name, of which each is there once."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: Constants = {}
        self._named: dict[tuple[Any, ...], str] = {}  # dtype, shape and bytes of a constant -> its name

    def add(self, prefix: str, instruction: Instruction, piece: Piece) -> None:
        """Add the nodes of a piece, with the tensors of the instruction's module as constants.

        Names begin with ``prefix``. Values that torch names go on with ``values``, because a tensor of the module may
        have a name that torch gives too, such as ``mean``.
        """
        names = {"": ""}  # an input or output that is left out
        for name, tensor in state_of(instruction.call).items():
            own = f"{prefix}/{name.removeprefix('module.')}"
            names[f"{piece.prefix}/{name}"] = self._constant(own, _array(tensor))
        for constant in piece.constants:
            names[constant.name] = self._constant(f"{prefix}/values/{constant.name}", numpy_helper.to_array(constant))
        names |= {f"{piece.prefix}/{index}": name for index, name in enumerate(instruction.inputs)}
        names |= zip(piece.outputs, instruction.outputs, strict=True)
        for node in piece.nodes:
            copied, body = copy.deepcopy(node), body_of(node)
            made = [*node.output, *(names_in(body) if body is not None else ())]
            names |= {name: f"{prefix}/values/{name}" for name in made if name not in names}
            rename(copied, names)
            for index, each in enumerate(with_bodies([copied])):
                each.name = f"{prefix}/{len(self.nodes)}{f'.{index}' if index else ''}_{each.op_type}"
                each.ClearField("metadata_props")  # stack traces, with paths of this machine
                each.ClearField("doc_string")
            self.nodes.append(copied)

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        """Keep a constant, and return its name, which is that of an equal constant if there is one already."""
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._named:
            self._named[key] = name
            self.constants[name] = array
        return self._named[key]

    def fold(self, opset: int) -> None:
        """Replace the nodes that depend on constants alone by what onnxruntime computes for them."""
        constant, rest, known = [], [], {"", *self.constants}
        for node in self.nodes:
            if node.op_type not in _GROWING and known.issuperset(reads(node)):
                constant.append(node)
                known |= set(node.output)
            else:
                rest.append(node)
        read = {name for node in rest for name in reads(node)}
        results = sorted(read.intersection(name for node in constant for name in node.output))
        values = _computed(constant, results, self.constants, opset) if results else {}
        kept = {name: self._constant(name, array) for name, array in values.items()}
        for node in rest:
            rename(node, kept)
        self.nodes = rest

    def add_sum(self, name: str, terms: Sequence[str]) -> None:
        """Add a sum of values [batch]. Terms that are the same number for each event and batch are added up here."""
        made_by = {output: node for node in self.nodes for output in node.output}
        numbers = {term: number for term in terms if (number := _number(made_by[term], self.constants)) is not None}
        varying = [term for term in terms if term not in numbers] or [terms[-1]]  # one term has the batch's size
        if total := math.fsum(number for term, number in numbers.items() if term not in varying):
            varying.append(self._constant(f"{name}/constant", np.array(total, np.float32)))
        self.nodes.append(helper.make_node("Sum", varying, [name], f"{name}/Sum"))

    def drop_dead(self, outputs: Sequence[str]) -> None:
        """Drop the nodes and constants that the outputs don't depend on."""
        used, kept = set(outputs), []
        for node in reversed(self.nodes):
            if used & set(node.output):
                drop_unread(node, used)
                used |= reads(node)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in used}


def _computed(nodes: Sequence[onnx.NodeProto], results: list[str], constants: Constants, opset: int) -> Constants:
    """Return these results of the nodes, by onnxruntime."""
    read = {name for node in nodes for name in reads(node)}
    given = initializers({name: array for name, array in constants.items() if name in read})
    outputs = [helper.make_empty_tensor_value_info(name) for name in results]
    content = make_model(helper.make_graph(nodes, "constants", [], outputs, given), opset).SerializeToString()
    session = cpu_session(content)
    return dict(zip(results, session.run(results, {}), strict=True))


def cpu_session(content: bytes) -> onnxruntime.InferenceSession:
    """Return a session of a graph on the CPU, without warnings about optimizations that were left out."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _array(tensor: Tensor) -> NDArray[Any]:
    if tensor.dtype is torch.bfloat16:  # numpy itself has no such type
        return tensor.detach().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.detach().numpy()


def _number(node: onnx.NodeProto, constants: Constants) -> float | None:
    """Return the one number that the value [batch] of this node consists of, or None if it isn't made so."""
    if node.op_type == "ConstantOfShape":
        array = next((numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"), np.zeros(1))
    elif node.op_type == "Expand":
        array = constants.get(node.input[0], np.empty(0))
    else:
        return None
    return float(array.item()) if array.size == 1 else None
