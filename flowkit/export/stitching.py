"""Pieces -> one graph."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from flowkit.export.folding import Constants, Folding
from flowkit.export.pieces import Piece, ValueType, state_of
from flowkit.export.program import Instruction, Program


class Stitcher:
    """A graph in the making.

    Nodes are named after their instruction, values as in the program; constants are there once.
    """

    def __init__(self, opset: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._opset = opset
        self._kinds: dict[str, ValueType] = {}  # of values of the graph
        self._named: dict[tuple[Any, ...], str] = {}  # dtype, shape and bytes of a constant -> its name
        self._foldings: dict[int, Folding] = {}
        self._values: dict[str, str] = {}  # of the program -> of the graph
        self._everywhere: dict[str, float] = {}  # values of the program that are one number, [batch]

    def stitch(self, program: Program, pieces: Iterable[Piece], kinds: Mapping[str, ValueType]) -> None:
        """All nodes of a program, whose outputs then have the names that the program gives them.

        ``kinds`` are those of its inputs and outputs.
        """
        self._values, self._kinds = {name: name for name in program.inputs}, dict(kinds)
        for index, (instruction, piece) in enumerate(zip(program.instructions, pieces, strict=True)):
            self._add(f"{index}_{type(instruction.call.module).__name__}", instruction, piece)
        for name, terms in program.sums.items():
            self._sum(name, terms)
        self._name_outputs(program)
        self._drop_dead(program.outputs)

    def _add(self, prefix: str, instruction: Instruction, piece: Piece) -> None:
        if id(piece) not in self._foldings:
            self._foldings[id(piece)] = Folding(piece, self._opset)
        folding = self._foldings[id(piece)]
        constants = folding.constants({name: _array(t) for name, t in state_of(instruction.call).items()})
        tensors = {value: name.removeprefix("module.") for name, value in piece.tensors.items()}
        names = {given: self._values[name] for given, name in zip(piece.inputs, instruction.inputs, strict=True)}
        names[""] = ""

        def own(name: str) -> str:
            return f"{prefix}/{tensors.get(name, name)}"

        results = dict(zip(reversed(piece.outputs), reversed(instruction.outputs), strict=True))
        for node in folding.rest:
            for name in node.input:
                if name not in names:
                    names[name] = self._constant(own(name), constants[name])
            if node.op_type == "Identity":
                names[node.output[0]] = names[node.input[0]]
                continue
            names |= {name: results.get(name) or own(name) for name in node.output if name}
            self._append(node, f"{prefix}/{len(self.nodes)}_{node.op_type}", names)
        self._describe(prefix, piece, names)
        for value, output in zip(instruction.outputs, piece.outputs, strict=True):
            if output not in names:
                names[output] = self._constant(own(output), constants[output])
            self._values[value] = names[output]
            number = _number(output, folding.rest, constants)
            if number is not None:
                self._everywhere[value] = number

    def _append(self, node: onnx.NodeProto, name: str, names: Mapping[str, str]) -> None:
        own = onnx.NodeProto()
        own.CopyFrom(node)
        own.name, own.doc_string = name, ""
        own.input[:], own.output[:] = [names[i] for i in node.input], [names[o] for o in node.output]
        del own.metadata_props[:]  # stack traces, with the paths of this machine
        self.nodes.append(own)

    def _describe(self, prefix: str, piece: Piece, names: Mapping[str, str]) -> None:
        """The kinds of a piece's values. Sizes of its inputs have the names that they have where these come from."""
        known: dict[int | str, int | str] = {}
        for name in piece.inputs:
            if name in piece.kinds and names[name] in self._kinds:
                known |= zip(piece.kinds[name].sizes, self._kinds[names[name]].sizes, strict=True)
        for name, value in names.items():  # in their order, so that each export gives the same names
            if name in piece.kinds:
                kind = piece.kinds[name]
                sizes = [known.get(size, f"{prefix}/{size}") if isinstance(size, str) else size for size in kind.sizes]
                self._kinds.setdefault(value, ValueType(kind.type, sizes))

    def shapes(self, outputs: Sequence[str]) -> list[onnx.ValueInfoProto]:
        """Of the values inside the graph. onnxruntime uses memory again for what it knows to be of the same size. For
        the rest it searches all that is free, at each node: the time to open a graph grows with its square."""
        inner = [name for node in self.nodes for name in node.output if name in self._kinds and name not in outputs]
        return [helper.make_tensor_value_info(name, *self._kinds[name]) for name in inner]

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        array = np.ascontiguousarray(array).reshape(array.shape)
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._named:
            self._named[key] = name
            self.constants[name] = numpy_helper.from_array(array, name)
        return self._named[key]

    def _sum(self, name: str, terms: Sequence[str]) -> None:
        """What is the same for every event and batch is added up here."""
        numbers = [term for term in terms if term in self._everywhere][: len(terms) - 1]  # one term has the batch size
        varying = [self._values[term] for term in terms if term not in numbers]
        if total := math.fsum(self._everywhere[term] for term in numbers):
            varying.append(self._constant(f"{name}/constant", np.array(total, np.float32)))
        self._values[name] = name
        self.nodes.append(helper.make_node("Sum", varying, [name], f"{name}/Sum"))

    def _name_outputs(self, program: Program) -> None:
        """An output that is an input or a constant as it is, or a value that has another name."""
        for output in program.outputs:
            if (value := self._values[output]) != output:
                self.nodes.append(helper.make_node("Identity", [value], [output], f"{output}/Identity"))

    def _drop_dead(self, outputs: Sequence[str]) -> None:
        used, kept = set(outputs), []
        for node in reversed(self.nodes):
            if used & set(node.output):
                used |= set(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: tensor for name, tensor in self.constants.items() if name in used}


def _array(tensor: Tensor) -> NDArray[Any]:
    if tensor.dtype is torch.bfloat16:  # numpy itself has no such type
        return tensor.detach().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.detach().numpy()


def _number(output: str, nodes: Sequence[onnx.NodeProto], constants: Constants) -> float | None:
    """The one number that a value [batch] consists of, if it is made so."""
    node = next((node for node in nodes if output in node.output), None)
    if node is None or node.op_type not in ("Expand", "ConstantOfShape"):
        return None
    if node.op_type == "ConstantOfShape":
        array = next((numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"), np.zeros(1))
    else:
        array = constants.get(node.input[0], np.empty(0))
    return float(array.reshape(())) if array.size == 1 else None
