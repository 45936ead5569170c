"""Look through an ONNX file, before onnxruntime does, for what would crash or block the process that loads it.

A graph may have the operators of `operators.RULES`, each run once or in a Loop of a fixed number of steps: none of
them reads a file, runs code or draws random numbers. Sizes are followed through the graph, so that what it computes of
its own constants, which onnxruntime does while it loads, and for each event stays within bounds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from flowkit_runtime.errors import shortened
from flowkit_runtime.graph_check.known import kind, known, work
from flowkit_runtime.graph_check.operators import RULES
from flowkit_runtime.graph_check.reading import BOOL, FLOAT, FLOATS, INT64, Node, ParsedGraph, Tensor, read_graph
from flowkit_runtime.graph_check.sizes import NodeCall, PerRow, SizedShape, Value, each, elements, of_constant

MAX_STEPS = 65_536
"""The most steps of a Loop."""
MAX_READERS, MAX_CONSTANTS, MAX_FOLDED = 1_000, 20_000, 10_000
"""The most operators that read one value, the most constants, and the most operators on constants alone. The time that
onnxruntime takes to load a graph grows with the square of each."""
MADE, MADE_FOR_BYTE = 2**22, 1
"""The most values that may be made of constants alone: a number, and more for each byte of the files."""
FOLDED, FOLDED_FOR_BYTE = 2**28, 8
"""The most multiplications for them: a number, about half a second, and more for each byte of the files."""
SIZE_FOR_VALUE, WORK_FOR_VALUE, SMALL_EVENT = 2**12, 2**28, 2**10
"""The most values of a tensor, and multiplications of the graph, for each value of an event; small events count as
1,024 values. specs/glow-cifar10.yaml takes 43 values and 1.3 million multiplications."""

DRAWING = frozenset(
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"]
)
"""Operators that draw random numbers; Dropout does so in training, and otherwise has nothing to do in a graph."""

_WINDOWS = "dilations", "group", "kernel_shape", "output_shape", "strides"
_POSITIVE = frozenset([*_WINDOWS, "blocksize", "kv_num_heads", "num_groups", "num_outputs", "q_num_heads"])
"""Attributes that onnxruntime divides by, or that count what there is at least one of."""

_WITH_OPTIONAL = frozenset(["Attention", "Clip", "DFT", "GRU", "LSTM", "Loop", "Pad", "RNN", "Resize", "Slice"])
"""Operators of which an input may be left out, if another follows: some others read what isn't there, and crash."""

Inputs = Mapping[str, tuple[int, SizedShape]]
"""Names of a graph's inputs -> ONNX's number for their type, and the shape of one row."""


def check_graph(path: Path, inputs: Inputs, weights_file: str | None = None) -> None:
    """Raises ValueError if the file is no ONNX model, or its graph has what no flow's graph needs: unknown operators,
    data outside the file (but in the weights file beside it, if one is named), graphs inside graphs other than a Loop
    of a fixed number of steps, integers that are divided by what may be zero, or work or memory out of proportion."""
    graph = read_graph(path, weights_file)
    if not set(graph.inputs) <= {*inputs, *(tensor.name for tensor in graph.constants)}:
        names = (shortened(", ".join(each)) for each in (graph.inputs, inputs))
        raise ValueError("it takes {}, where the manifest implies {}".format(*names))
    if both := inputs.keys() & {tensor.name for tensor in graph.constants}:
        raise ValueError(f"its input {both.pop()} is a constant, too")
    size = path.stat().st_size + ((path.parent / weights_file).stat().st_size if weights_file else 0)
    rows = {name: Value(of_type, (PerRow(1), *shape)) for name, (of_type, shape) in inputs.items()}
    event = max(SMALL_EVENT, sum(math.prod(map(each, shape)) for _, shape in inputs.values()))
    try:
        _Check(size, event).graph(graph, rows)
    except (ArithmeticError, LookupError, TypeError) as error:  # of a rule, on inputs or attributes that it can't use
        raise ValueError(f"an operator doesn't fit its inputs ({error})") from error


class _Check:
    """Follows the values of a graph, and counts what they take."""

    def __init__(self, bytes_read: int, event: int) -> None:
        self._constants_left, self._folds_left = MAX_CONSTANTS, MAX_FOLDED
        self._made_left = MADE + MADE_FOR_BYTE * bytes_read
        self._folded_left = FOLDED + FOLDED_FOR_BYTE * bytes_read
        self._largest, self._work_left = SIZE_FOR_VALUE * event, WORK_FOR_VALUE * event

    def graph(self, graph: ParsedGraph, values: Mapping[str, Value], steps: int = 1) -> dict[str, Value]:
        """All values of a graph, from those of its inputs and, in a Loop of some steps, of the graph around it."""
        constants = {tensor.name: of_constant(tensor) for tensor in graph.constants}
        self._constants_left -= len(graph.constants)
        if self._constants_left < 0:
            raise ValueError(f"it has more than {MAX_CONSTANTS:,} constants")
        found, readers = {**values, **constants}, Counter[str]()
        for node in graph.nodes:
            readers.update(name for name in node.inputs if name and name not in constants)
            if missing := [name for name in node.inputs if name and name not in found]:
                raise ValueError(f"{shortened(repr(missing[0]))} is read, and nothing gives it")
            if any(readers[name] > MAX_READERS for name in node.inputs):
                raise ValueError(f"more than {MAX_READERS:,} of its operators read the same value")
            if "" in node.inputs and (node.operator not in _WITH_OPTIONAL or node.inputs[-1] == ""):
                raise ValueError(f"its operator {shortened(repr(node.operator))} leaves an input out")
            call = NodeCall(node, [found[name] if name else None for name in node.inputs])
            outputs = self._loop(call, found) if node.operator == "Loop" else self._outputs(call, steps)
            found |= zip(node.outputs, outputs, strict=True)
        return found

    def _outputs(self, call: NodeCall, steps: int) -> list[Value]:
        """What an operator gives. Raises ValueError for what no flow has."""
        node = call.node
        if node.operator == "Constant":
            return [_constant(call)]
        if node.operator in DRAWING:
            raise ValueError(f"its operator {node.operator} draws random numbers")
        if node.operator not in RULES:
            raise ValueError(f"it has the operator {shortened(repr(node.operator))}, which is none of those of flows")
        self._check_attributes(node)
        self._check_divisor(call)
        shapes = RULES[node.operator](call)
        listed = shapes if isinstance(shapes, list) else [shapes]
        if len(listed) < len(node.outputs):
            call.wrong()
        constant = all(value is None or value.constant for value in call.inputs)
        exact = call.exact and all(value is None or value.exact for value in call.inputs)
        outputs = []
        for index, (shape, _) in enumerate(zip(listed, node.outputs, strict=False)):
            of_type = kind(call, index)
            values = known(call, shape, of_type)
            # Sizes are constants, too, where they aren't those of the batch: onnxruntime knows them while it loads.
            fixed = constant or (values is not None and not any(isinstance(size, PerRow) for size in values.ravel()))
            self._count(call, shape, fixed, steps)
            outputs.append(Value(of_type, shape, values, fixed, exact))
        return outputs

    def _count(self, call: NodeCall, shape: SizedShape, constant: bool, steps: int) -> None:
        """Take a value and the work for it from what is left."""
        if constant:
            self._folds_left -= 1
            self._made_left -= elements(shape)
            self._folded_left -= work(call, shape) * steps
        else:
            self._work_left -= work(call, shape) * steps
        if min(self._folds_left, self._made_left, self._folded_left) < 0:
            raise ValueError("it computes more of its constants than any flow does")
        if elements(shape) > self._largest:
            raise ValueError(f"its operator {call.node.operator} gives {elements(shape):,} values for one event")
        if self._work_left < 0:
            raise ValueError("it computes more for each event than any flow does")

    def _check_attributes(self, node: Node) -> None:
        for name, value in node.attributes.items():
            if isinstance(value, ParsedGraph):
                raise ValueError("it has a graph inside a graph")
            numbers = value if isinstance(value, list) else [value]
            for number in numbers:
                low = 1 if name in _POSITIVE else -(2**31)
                if isinstance(number, int) and not low <= number < 2**31:
                    raise ValueError(f"its operator {node.operator} has {number} in {shortened(repr(name))}")

    def _check_divisor(self, call: NodeCall) -> None:
        """Raises ValueError for a division of integers that may end the process: by 0, or of the smallest by -1."""
        if call.node.operator not in ("Div", "Mod") or call.given(0).kind in FLOATS:
            return
        divisor = call.known(1)
        if divisor is None or not all(each(number) > 0 for number in divisor.ravel()):
            raise ValueError(
                f"its operator {call.node.operator} divides integers by what isn't a constant greater than 0"
            )

    def _loop(self, call: NodeCall, around: Mapping[str, Value]) -> list[Value]:
        """What a Loop gives: the values that it carries from step to step, and those that it collects of each step."""
        body, counted = call.node.attributes.get("body"), call.known(0)
        if not isinstance(body, ParsedGraph):
            raise ValueError("it has a Loop of nothing")
        if counted is None or counted.size != 1 or not call.given(0).constant:
            raise ValueError("its Loop has no constant number of steps")
        count = counted.item()
        if not isinstance(count, int) or not 0 < count <= MAX_STEPS:
            raise ValueError(f"its Loop has {count} steps, not 1 to {MAX_STEPS:,}")
        carried = [call.given(i) for i in range(2, len(call.inputs))]
        start = [Value(INT64, ()), Value(BOOL, ()), *(_unknown(value) for value in carried)]
        if len(body.inputs) != len(start) or len(body.outputs) < 1 + len(carried):
            call.wrong()
        found = self.graph(body, {**around, **dict(zip(body.inputs, start, strict=True))}, steps=count)
        if missing := [name for name in body.outputs if name not in found]:
            raise ValueError(f"its Loop gives {shortened(repr(missing[0]))}, which nothing makes")
        ends = [found[name] for name in body.outputs[1:]]
        for before, after in zip(carried, ends, strict=False):
            if (before.kind, before.shape, before.exact) != (after.kind, after.shape, after.exact):
                raise ValueError("its Loop changes the shape of what it carries from step to step")
        collected = [Value(value.kind, (count, *value.shape), exact=False) for value in ends[len(carried) :]]
        for value in collected:
            if elements(value.shape) > self._largest:
                raise ValueError(f"its Loop gives {elements(value.shape):,} values for one event")
        return [*map(_unknown, carried), *collected]


def _unknown(value: Value) -> Value:
    """A value of which only the shape stays the same from step to step."""
    return Value(value.kind, value.shape, exact=value.exact)


def _constant(call: NodeCall) -> Value:
    """The value of a Constant."""
    (name, value), *more = call.node.attributes.items() or [("", None)]
    if more or name not in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        raise ValueError("it has a Constant that is no array of numbers")
    if isinstance(value, Tensor):
        return of_constant(value)
    numbers = np.array(value, object)
    return Value(FLOAT if "float" in name else INT64, numbers.shape, numbers, constant=True)
