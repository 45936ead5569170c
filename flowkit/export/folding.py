"""What a piece makes of its module's tensors alone is computed once, at export: it holds for every batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from flowkit.export.pieces import IR_VERSION, Piece

_GROWING = frozenset({"Expand", "Tile", "ConstantOfShape", "Range", "Cast"})
"""Operators that make much of little, at no cost, fp32 of bf16 too: what they give is better made anew than kept."""

Constants = dict[str, NDArray[Any]]


class Folding:
    """A piece divided into what depends on its module's tensors alone, and ``rest``, the nodes to run on each batch."""

    def __init__(self, piece: Piece, opset: int) -> None:
        self.piece = piece
        self.rest: list[onnx.NodeProto] = []
        nodes: list[onnx.NodeProto] = []
        known = {*piece.tensors.values(), *piece.constants}
        for node in piece.nodes:
            if node.op_type not in _GROWING and all(name in known for name in node.input if name):
                nodes.append(node)
                known |= set(node.output)
            else:
                self.rest.append(node)
        read = {*piece.outputs, *(name for node in self.rest for name in node.input)}
        made = sorted(read & {name for node in nodes for name in node.output})
        self._constant = _Constant(nodes, made, opset) if made else None

    def constants(self, tensors: Mapping[str, NDArray[Any]]) -> Constants:
        """All that the rest reads besides the batch, by its names in the piece."""
        given = {value: tensors[name] for name, value in self.piece.tensors.items()}
        given |= {name: numpy_helper.to_array(tensor) for name, tensor in self.piece.constants.items()}
        return given | (self._constant.run(given) if self._constant else {})


class _Constant:
    """Nodes as a graph of their own, in onnxruntime."""

    def __init__(self, nodes: list[onnx.NodeProto], outputs: list[str], opset: int) -> None:
        self._nodes, self._outputs, self._opset = nodes, outputs, opset
        made = {name for node in nodes for name in node.output}
        self._inputs = sorted({name for node in nodes for name in node.input if name} - made)
        self._session: Any = None

    def run(self, given: Constants) -> Constants:
        fed = {name: given[name] for name in self._inputs}
        if self._session is None:  # here, where types and shapes are known
            self._session = self._start(fed)
        return dict(zip(self._outputs, self._session.run(self._outputs, fed), strict=True))

    def _start(self, fed: Constants) -> Any:
        import onnxruntime

        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in fed.items()
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in self._outputs]
        graph = helper.make_graph(self._nodes, "constants", inputs, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self._opset)], ir_version=IR_VERSION)
        return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
