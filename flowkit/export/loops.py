"""Gives the loops of graphs a constant number of steps, and finds the names that a body reads from the graph around it.

torch.onnx writes the loop of ``flowkit.bijectors.fixed_loop`` as one that counts its steps, and compares the count with
their number after each. ``fix_loops`` gives it the number instead, on which onnxruntime and flowkit_runtime can rely.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from flowkit.errors import ExportError

_NO_NUMBER = (
    "it has a loop or a branch that depends on values: write a loop with flowkit.bijectors.fixed_loop, which has a "
    "fixed number of steps, and a choice with torch.where"
)
_NESTED = (
    "it has a fixed_loop inside a fixed_loop, as a numeric inverse inside an autoregressive one is: take a transformer "
    "whose inverse has a formula, or write the inner loop as a Python loop, which is unrolled"
)


def body_of(node: onnx.NodeProto) -> onnx.GraphProto | None:
    """Return the graph that a Loop runs at each step, or None for an operator without a graph."""
    return next((attribute.g for attribute in node.attribute if attribute.HasField("g")), None)


def with_bodies(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes, and after each Loop those of its body."""
    for node in nodes:
        yield node
        if (body := body_of(node)) is not None:
            yield from with_bodies(body.node)


def reads(node: onnx.NodeProto) -> set[str]:
    """Return the names of the values that a node reads, and those that its body takes from the graph around it."""
    found = set(node.input)
    if (body := body_of(node)) is not None:
        found |= {name for inner in body.node for name in reads(inner)} - names_in(body)
    return found


def names_in(body: onnx.GraphProto) -> set[str]:
    """Return the names of the values that a body is given at each step, or makes."""
    made = (name for node in body.node for name in node.output)
    return {*(value.name for value in body.input), *(tensor.name for tensor in body.initializer), *made}


def rename(node: onnx.NodeProto, new: Mapping[str, str]) -> None:
    """Give values that a node and its body read or make the names that ``new`` has for them."""
    node.input[:], node.output[:] = ([new.get(name, name) for name in names] for names in (node.input, node.output))
    if (body := body_of(node)) is not None:
        _rename_in(body, new)


def _rename_in(body: onnx.GraphProto, new: Mapping[str, str]) -> None:
    for value in (*body.input, *body.output, *body.initializer):
        value.name = new.get(value.name, value.name)
    for node in body.node:
        rename(node, new)


def loop_shapes(nodes: Iterable[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.ValueInfoProto]:
    """Return the types and shapes of what the loops give, which ONNX's shape inference doesn't follow.

    ``outputs`` are those of the graph, which have theirs already.
    """
    return [
        helper.make_value_info(name, value.type)
        for node in nodes
        if (body := body_of(node)) is not None
        for name, value in zip(node.output, body.output[1:], strict=True)
        if name not in outputs
    ]


def fix_loops(graph: onnx.GraphProto) -> None:
    """Give each Loop of a graph from torch.onnx its number of steps, and move out of its body what is always the same.

    Raises ExportError for a loop in a loop, and for a loop whose number of steps isn't constant.
    """
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if (body := body_of(node)) is not None:
            if any(body_of(inner) is not None for inner in body.node):
                raise ExportError(_NESTED)
            inner = {name: f"{node.name}/{name}" for name in names_in(body)}
            _rename_in(body, inner)
            graph.initializer.extend(body.initializer)
            del body.initializer[:], body.value_info[:]
            nodes += _take_out(body)
            constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
            graph.initializer.append(_fix(node, body, constants))
            _set_shapes(body)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _take_out(body: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Remove from a body the nodes that give the same at each step, and return them."""
    results, changing = {value.name for value in body.output}, {value.name for value in body.input}
    inside, outside = [], []
    for node in body.node:
        if reads(node) & changing or results & set(node.output):
            changing |= set(node.output)
            inside.append(node)
        else:
            outside.append(node)
    _set_nodes(body, inside)
    return outside


def _fix(node: onnx.NodeProto, body: onnx.GraphProto, constants: Mapping[str, NDArray[Any]]) -> onnx.TensorProto:
    """Give a Loop its number of steps as an input instead of a condition, and return the number as a constant.

    The loop must have a counter i that starts at 0 and becomes i + 1 at each step, and go on while i + 1 < number. The
    index of the step, which a Loop gives its body, takes the place of i.
    """
    made_by: dict[str, onnx.NodeProto] = {name: inner for inner in body.node for name in inner.output}
    index, goes_on, *carried = (value.name for value in body.input)
    condition, *ends = (value.name for value in body.output)
    less = made_by.get(condition)
    if node.op_type != "Loop" or less is None or less.op_type != "Less" or less.input[0] not in ends:
        raise ExportError(_NO_NUMBER)
    after, number = less.input
    at = ends.index(after)
    add = made_by.get(after)
    if add is None or add.op_type != "Add" or add.input[0] != carried[at] or number not in constants:
        raise ExportError(_NO_NUMBER)
    begins, start, step = node.input[1], node.input[2 + at], add.input[1]
    if [constants.get(name) for name in (begins, start, step)] != [True, 0, 1]:
        raise ExportError(_NO_NUMBER)
    steps = numpy_helper.from_array(constants[number].reshape(()), node.output[at])  # the counter's final value
    del node.input[2 + at], node.output[at], body.input[2 + at], body.output[1 + at]
    node.input[:2] = [steps.name, ""]
    less.CopyFrom(helper.make_node("Identity", [goes_on], [condition], less.name))
    _rename_in(body, {carried[at]: index})
    _drop_unread(body)
    return steps


def drop_unread(node: onnx.NodeProto, read: set[str]) -> None:
    """Drop what a Loop carries from step to step only for results that aren't among the names ``read`` in the graph."""
    if (body := body_of(node)) is None:
        return
    kept = {index for index, name in enumerate(node.output) if name in read}
    while more := _carried_for(body, kept) - kept:
        kept |= more
    for index in sorted(set(range(len(node.output))) - kept, reverse=True):
        del node.input[2 + index], node.output[index], body.input[2 + index], body.output[1 + index]
    _drop_unread(body)


def _carried_for(body: onnx.GraphProto, results: set[int]) -> set[int]:
    """Return the indices of the carried values that a step reads for the results with these indices."""
    needed, _ = _needed(body, [body.output[1 + index].name for index in results])
    return {index for index, value in enumerate(body.input[2:]) if value.name in needed}


def _drop_unread(body: onnx.GraphProto) -> None:
    _, nodes = _needed(body, [value.name for value in body.output])
    _set_nodes(body, nodes)


def _needed(body: onnx.GraphProto, results: Iterable[str]) -> tuple[set[str], list[onnx.NodeProto]]:
    """Return the names of the values, and the nodes, that these results of a body come from."""
    read, nodes = set(results), []
    for node in reversed(body.node):
        if read & set(node.output):
            read |= set(node.input)
            nodes.append(node)
    return read, nodes[::-1]


def _set_nodes(body: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]  # del clears the originals
    del body.node[:]
    body.node.extend(copies)


def _set_shapes(body: onnx.GraphProto) -> None:
    """Let what a step is given have the shapes of what it gives. The size of the batch has the name of the graph's."""
    for given, end in zip(body.input[2:], body.output[1:], strict=True):
        for size in end.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = "batch" if size.dim_param.startswith("batch_") and size.dim_param[6:].isdigit() else ""
        given.type.CopyFrom(end.type)
