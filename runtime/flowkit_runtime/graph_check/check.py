"""Checks an ONNX file, before onnxruntime loads it, for content that would crash or block the process.

A graph may contain the operators of `operators.RULES`, each run once or in a Loop with a fixed number of steps. None of
them reads a file, runs code or draws random numbers. Sizes are followed through the graph. They bound what it computes
for each event, and what it computes from its own constants, which onnxruntime does while it loads the graph. Every name
stands for one value, because onnxruntime takes the last of two constants with the same name.
"""

from __future__ import annotations

import math
from collections import ChainMap, Counter
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path

import numpy as np

from flowkit_runtime.errors import shortened
from flowkit_runtime.graph_check.costs import held, work
from flowkit_runtime.graph_check.integers import integers_of, kind_of
from flowkit_runtime.graph_check.operators import DRAWING, NEVER_EMPTY, RULES, WITH_OPTIONAL
from flowkit_runtime.graph_check.proto import BOOL, DTYPES, FLOAT, FLOATS, INT64
from flowkit_runtime.graph_check.reading import Node, OperatorError, ParsedGraph, Tensor, read_graph
from flowkit_runtime.graph_check.sizes import KnownValues, NodeCall, PerRow, SizedShape, Value, each, of_constant

MAX_LOOPS, MAX_STEPS, MAX_ALL_STEPS = 1_024, 4_096, 65_536
"""The most Loops, the most steps of one Loop, and the most steps of all Loops together."""
MAX_READERS, MAX_CONSTANTS, MAX_FOLDED = 1_000, 20_000, 10_000
"""The most operators that read one value, the most constants, and the most operators whose inputs are all constant.

The time that onnxruntime takes to load a graph grows with the square of each.
"""
MADE, MADE_FOR_BYTE = 2**22, 1
"""The most values that may be computed from constants: MADE, and MADE_FOR_BYTE more for each byte of the files."""
FOLDED, FOLDED_FOR_BYTE = 2**28, 8
"""The most multiplications for these values: FOLDED, about half a second, and FOLDED_FOR_BYTE more for each byte."""
SIZE_FOR_VALUE, WORK_FOR_VALUE, SMALL_EVENT = 2**12, 2**28, 2**10
"""The most values of a tensor, and the most multiplications of the graph, for each value of an event.

Events smaller than SMALL_EVENT count as SMALL_EVENT values. specs/glow-cifar10.yaml takes 43 values and 1.3 million
multiplications.
"""

_WINDOWS = "dilations", "group", "kernel_shape", "output_shape", "strides"
_POSITIVE = frozenset([*_WINDOWS, "blocksize", "kv_num_heads", "num_groups", "num_outputs", "q_num_heads"])
"""Attributes that must be positive: onnxruntime divides by them, or they are counts of at least one."""

Inputs = Mapping[str, tuple[int, SizedShape]]
"""{name: (type, shape)} of a graph's inputs: ONNX's number for the type, and the shape of one row."""


def check_graph(path: Path, inputs: Inputs, weights_file: str | None = None) -> None:
    """Raise ValueError if the file is no ONNX model, or if its graph has content that no flow's graph needs.

    Such content is: unknown operators; data outside the file, except in the weights file beside it if one is named;
    nested graphs, except a Loop with a fixed number of steps; integers that are divided by a value that may be zero;
    and an excessive amount of work or memory.
    """
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
    except (ArithmeticError, LookupError, TypeError) as error:  # a rule can't use its inputs or attributes
        raise ValueError(f"an operator doesn't fit its inputs ({error})") from error


class _Check:
    """Follows the values of a graph, and counts the work and memory that they take."""

    def __init__(self, bytes_read: int, event: int) -> None:
        self._constants_left, self._folds_left = MAX_CONSTANTS, MAX_FOLDED
        self._made_left = MADE + MADE_FOR_BYTE * bytes_read
        self._folded_left = FOLDED + FOLDED_FOR_BYTE * bytes_read
        self._largest, self._work_left = SIZE_FOR_VALUE * event, WORK_FOR_VALUE * event
        self._loops_left, self._steps_left = MAX_LOOPS, MAX_ALL_STEPS
        self._readers, self._named_constants = Counter[str](), set[str]()

    def graph(self, graph: ParsedGraph, values: MutableMapping[str, Value], steps: int = 1) -> ChainMap[str, Value]:
        """Return all values of a graph, given its inputs.

        In the body of a Loop, `values` also holds those of the outer graph, and `steps` is the number of times that the
        body runs. Raises ValueError if the graph must be rejected.
        """
        self._constants_left -= len(graph.constants)
        if self._constants_left < 0:
            raise ValueError(f"it has more than {MAX_CONSTANTS:,} constants")
        found = ChainMap[str, Value]({}, values)
        _add(found, [tensor.name for tensor in graph.constants], map(of_constant, graph.constants))
        constants, readers = {tensor.name: tensor for tensor in graph.constants}, self._readers
        self._named_constants |= constants.keys()
        for node in graph.nodes:
            readers.update(name for name in node.inputs if name and name not in self._named_constants)
            if missing := [name for name in node.inputs if name and name not in found]:
                raise ValueError(f"{shortened(repr(missing[0]))} is read, and nothing gives it")
            if any(readers[name] > MAX_READERS for name in node.inputs):
                raise ValueError(f"more than {MAX_READERS:,} of its operators read the same value")
            if "" in node.inputs and (node.operator not in WITH_OPTIONAL or node.inputs[-1] == ""):
                raise OperatorError(node.operator, "leaves an input out")
            call = NodeCall(node, [found[name] if name else None for name in node.inputs])
            looped = node.operator == "Loop"
            outputs = self._loop(call, self._steps(node, constants), found) if looped else self._outputs(call, steps)
            _add(found, node.outputs, outputs)
        return found

    def _outputs(self, call: NodeCall, steps: int) -> list[Value]:
        """Return the outputs of an operator. Raises ValueError if no flow has such an operator."""
        node = call.node
        if node.operator == "Constant":
            return [_constant(call)]
        if node.operator in DRAWING:
            raise OperatorError(node.operator, "draws random numbers")
        if node.operator not in RULES:
            raise OperatorError(node.operator, "is none of those of flows")
        self._check_attributes(node)
        self._check_divisor(call)
        if node.operator in NEVER_EMPTY and any(v and (0 in v.shape or not v.exact) for v in call.inputs):
            call.wrong()
        shapes = RULES[node.operator](call)
        listed = shapes if isinstance(shapes, list) else [shapes]
        if len(listed) < len(node.outputs):
            call.wrong()
        inputs_folded = all(value is None or value.folded for value in call.inputs)
        exact = call.exact and all(value is None or value.exact for value in call.inputs)
        outputs = []
        for index, (shape, _) in enumerate(zip(listed, node.outputs, strict=False)):
            of_type = kind_of(call, index)
            if of_type not in DTYPES:  # a text takes over a hundred bytes
                raise OperatorError(node.operator, "gives values that are no numbers")
            values = integers_of(call, shape, of_type)
            folded = inputs_folded or _are_fixed(values)
            self._count(call, shape, folded, steps)
            outputs.append(Value(of_type, shape, values, folded, exact))
        return outputs

    def _count(self, call: NodeCall, shape: SizedShape, folded: bool, steps: int) -> None:
        """Subtract a value and the work for it from the remaining limits."""
        values = held(call, shape)
        if folded:
            self._folds_left -= 1
            self._made_left -= values
            self._folded_left -= work(call, shape) * steps
        else:
            self._work_left -= work(call, shape) * steps
        if min(self._folds_left, self._made_left, self._folded_left) < 0:
            raise ValueError("it computes more of its constants than any flow does")
        if values > self._largest:
            raise OperatorError(call.node.operator, f"makes {values:,} values for one event")
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
                    raise OperatorError(node.operator, f"has {number} in {shortened(repr(name))}")

    def _check_divisor(self, call: NodeCall) -> None:
        """Raise ValueError for a division of integers that may crash the process.

        That is a division by 0, or of the smallest integer by -1. A divisor that is computed isn't accepted: a size may
        be 0 for an empty batch, and integers may overflow.
        """
        if call.node.operator not in ("Div", "Mod") or call.given(0).kind in FLOATS:
            return
        divisor = call.values(1)
        if divisor is None or not call.given(1).stored or not all(number > 0 for number in divisor.ravel()):
            raise ValueError(
                f"its operator {call.node.operator} divides integers by what isn't a constant greater than 0"
            )

    def _steps(self, node: Node, constants: Mapping[str, Tensor]) -> int:
        """Return the number of steps of a Loop, which is a constant, and subtract it from the remaining limits."""
        counted = constants.get(node.inputs[0]) if node.inputs else None
        if counted is None or counted.kind != INT64 or counted.values is None or counted.values.size != 1:
            raise ValueError("its Loop has no constant number of steps")
        count = int(counted.values.item())
        if not 0 < count <= MAX_STEPS:
            raise ValueError(f"its Loop has {count} steps, not 1 to {MAX_STEPS:,}")
        self._loops_left -= 1
        self._steps_left -= count
        if self._loops_left < 0:
            raise ValueError(f"it has more than {MAX_LOOPS:,} Loops")
        if self._steps_left < 0:
            raise ValueError(f"its Loops have more than {MAX_ALL_STEPS:,} steps together")
        return count

    def _loop(self, call: NodeCall, steps: int, around: MutableMapping[str, Value]) -> list[Value]:
        """Return the outputs of a Loop: the values that it carries from step to step."""
        body = call.node.attributes.get("body")
        if not isinstance(body, ParsedGraph) or len(call.node.attributes) > 1:
            raise ValueError("it has a Loop of anything but one body")
        carried = [call.given(i) for i in range(2, len(call.inputs))]
        if len(body.inputs) != 2 + len(carried) or len(body.outputs) < 1 + len(carried):
            call.wrong()
        if len(body.outputs) > 1 + len(carried):
            raise ValueError("its Loop collects values of all its steps, and the memory for them would grow")
        inside = ChainMap({}, around)
        _add(inside, body.inputs, [Value(INT64, ()), Value(BOOL, ()), *map(_unknown, carried)])
        found = self.graph(body, inside, steps)
        if missing := [name for name in body.outputs if name not in found]:
            raise ValueError(f"its Loop gives {shortened(repr(missing[0]))}, which nothing makes")
        for name in (*inside.maps[0], *found.maps[0]):  # another Loop may use the same names
            self._readers.pop(name, None)
            self._named_constants.discard(name)
        for before, after in zip(carried, (found[name] for name in body.outputs[1:]), strict=True):
            if (before.kind, before.shape, before.exact) != (after.kind, after.shape, after.exact):
                raise ValueError("its Loop changes the shape of what it carries from step to step")
        return list(map(_unknown, carried))


def _are_fixed(values: KnownValues | None) -> bool:
    """Return True for values that are known and don't grow with the batch: onnxruntime folds sizes of inputs, too."""
    return values is not None and not any(isinstance(size, PerRow) for size in values.ravel())


def _add(found: MutableMapping[str, Value], names: Sequence[str], values: Iterable[Value]) -> None:
    """Add values to those that were found. Raises ValueError if a name stands for another value already."""
    for name, value in zip(names, values, strict=True):
        if name and name in found:
            raise ValueError(f"{shortened(repr(name))} is the name of two values")
        found[name] = value


def _unknown(value: Value) -> Value:
    """Return a value with the same type and shape, but unknown numbers. A Loop may change the numbers at each step."""
    return Value(value.kind, value.shape, exact=value.exact)


def _constant(call: NodeCall) -> Value:
    """Return the value of the operator Constant."""
    (name, value), *more = call.node.attributes.items() or [("", None)]
    if more or name not in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        raise ValueError("it has a Constant that is no array of numbers")
    if isinstance(value, Tensor):
        return of_constant(value)
    numbers = np.array(value, object)
    return Value(FLOAT if "float" in name else INT64, numbers.shape, numbers, folded=True, stored=True)
