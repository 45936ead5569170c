"""Where a graph that deviates begins to."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import onnx
import torch
from onnx import helper
from torch import Tensor

from flowkit.export.program import Program
from flowkit_runtime.verification import ROUNDINGS, YARDSTICK


def first_deviation(model: onnx.ModelProto, exact: Program, own: Program, feed: Mapping[str, Tensor]) -> str | None:
    """The name of the first step of which a graph gives other values than torch; None if there is none.

    ``exact`` is the program in fp64, ``own`` in the precision of the graph, ``feed`` the inputs in fp64.
    """
    wanted, single = exact.run(feed), own.run({name: _single(value) for name, value in feed.items()})
    given = _inner_values(model, feed)
    for step in exact.steps:
        for name in step.outputs:
            if name in given and _deviates(given[name], single[name], wanted[name]):
                return step.name
    return None


def _deviates(given: Tensor, single: Tensor, wanted: Tensor) -> bool:
    error, own = ((value.double() - wanted).abs().max() for value in (given, single))
    return not error <= YARDSTICK * own + ROUNDINGS * wanted.abs().max()


def _inner_values(model: onnx.ModelProto, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All values of a graph that have a program's name: those of nodes have a slash."""
    import onnxruntime

    model = copy.deepcopy(model)
    outputs = {value.name for value in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if "/" not in name]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in outputs)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results = session.run(names, {name: _single(value).numpy() for name, value in feed.items()})
    return {name: torch.from_numpy(result) for name, result in zip(names, results, strict=True)}


def _single(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
