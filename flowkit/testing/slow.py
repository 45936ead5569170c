"""Checks that take seconds a layer: compilation, and ONNX graphs run by onnxruntime."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch._dynamo.utils import counters

from flowkit.bijectors import Base, Bijector, ChannelLinear, Composition
from flowkit.export.graphs import make_graphs
from flowkit.export.pieces import FIXED_BATCH
from flowkit.export.program import Operation, Program
from flowkit.export.stitching import cpu_session
from flowkit.export.yardstick import N_ROUNDINGS, round_at_random
from flowkit.flow import Flow
from flowkit.flow.compilation import allow_recurrent
from flowkit.testing.bijectors import flow_of, for_inference
from flowkit.testing.compare import all_near, gradients_of, largest
from flowkit.testing.subjects import FORWARD, INVERSE, BijectorSubject, Call, ModuleSubject
from flowkit_runtime.graph_check import check_graph
from flowkit_runtime.graph_check.proto import FLOAT
from flowkit_runtime.verification import ROUNDINGS, YARDSTICK


def onnx(subject: ModuleSubject) -> None:
    """Every direction is exported to ONNX, and onnxruntime gives what the fp64 module gives, for batches of 1, 2 and 5.

    Its error is at most 3 times torch's own in fp32, the largest over eight random roundings of the inputs.
    """
    module = _for_inference(subject.module())
    single = copy.deepcopy(module).float()
    calls = [call.map(Tensor.float) for call in subject.calls(subject.module())]
    programs = [_program(call, single) for call in calls]
    graphs = make_graphs(programs, [call.inputs for call in calls])
    for index, (program, graph) in enumerate(zip(programs, graphs, strict=True)):
        _check_as_served(graph, programs[index], calls[index])
        session = cpu_session(graph.SerializeToString())
        for n in (1, 2, 5):
            call = subject.calls(subject.module(), n)[index].map(Tensor.float)
            fed = {name: t.numpy() for name, t in zip(program.inputs, call.inputs, strict=True)}
            given = [torch.from_numpy(array) for array in session.run(None, fed)]
            draw = partial(round_at_random, dtype=torch.float32, generator=torch.Generator().manual_seed(subject.seed))
            own = [call.map(draw)(single) for _ in range(N_ROUNDINGS)]
            _compare(n, given, own, call.map(Tensor.double)(module))


def _check_as_served(graph: ModelProto, program: Program, call: Call) -> None:
    """Raise AssertionError if flowkit_runtime refuses the graph, as it then refuses every bundle with the layer."""
    inputs = {name: (FLOAT, tuple(given.shape[1:])) for name, given in zip(program.inputs, call.inputs, strict=True)}
    with TemporaryDirectory() as directory:
        path = Path(directory, "graph.onnx")
        path.write_bytes(graph.SerializeToString())
        try:
            check_graph(path, inputs)
        except ValueError as error:
            message = f"flowkit_runtime refuses the graph: {error}; write it with other operators"
            raise AssertionError(message) from error


def _for_inference(module: Any) -> Any:
    """Return what an export makes of a module."""
    if isinstance(module, Base):
        return module.freeze()
    return for_inference(module) if isinstance(module, Bijector) else module


def _program(call: Call, module: nn.Module) -> Program:
    """Return the call as a program of one instruction."""
    name = f"{type(module).__name__}.{call.method}"
    return Program.of_function(name, module, call.function(module), len(call.inputs), len(call.returns))


def _compare(n: int, given: list[Tensor], own: list[dict[str, Tensor]], exact: dict[str, Tensor]) -> None:
    for value, (name, fp64) in zip(given, exact.items(), strict=True):
        assert value.shape == fp64.shape, f"{name}: the graph gives {list(value.shape)} for a batch of {n}"
        error, fp32 = largest(value.double() - fp64), max(largest(each[name].double() - fp64) for each in own)
        allowed = YARDSTICK * fp32 + ROUNDINGS * (1 + largest(fp64))
        assert error <= allowed, f"{name}: onnxruntime is off by {error:.3g}, torch in fp32 by {fp32:.3g}"


def compile(subject: ModuleSubject) -> None:
    """torch.compile takes everything in one graph, and gives the same values and gradients.

    A flow of a bijector does so with one graph each way for all batch sizes. Alone a bijector is tried where a flow
    does not call it: channel-linear layers, alone and in compositions, are merged, their maps outside of the graphs.

    The graphs, forward and backward, are run as they are: what a code generator makes of them is torch's own affair,
    takes a C++ compiler and up to a minute a layer.
    """
    torch.compiler.reset()
    allow_recurrent()
    if not isinstance(subject, BijectorSubject) or isinstance(subject.fresh(), ChannelLinear | Composition):
        for call in subject.calls(subject.module()):
            plain, compiled = (call.on(subject.module()) for _ in range(2))
            torch.compiler.reset()
            compiled.compile(fullgraph=True, backend="aot_eager")
            _compare_gradients(call, plain, compiled)
    if isinstance(subject, BijectorSubject):
        _compile_a_flow(subject)


def _compile_a_flow(subject: BijectorSubject) -> None:
    flow, compiled = (flow_of(subject, subject.module()).double() for _ in range(2))
    compiled.compile(backend="aot_eager_decomp_partition")  # aot_eager mistakes layouts of single channels
    methods = {FORWARD: Flow.log_prob, INVERSE: _invert}
    for index, name in enumerate(call.method for call in subject.calls(subject.module())):
        graphs, method = [], methods[name]
        for n in (3, 5, 4):
            call = subject.calls(subject.module(), n)[index]
            _compare_gradients(call, Operation(flow, method), Operation(compiled, method))
            graphs.append(counters["stats"]["unique_graphs"])
        assert graphs[1] == graphs[2], f"{method.__name__} is compiled again for a third batch size: {FIXED_BATCH}"


def _invert(flow: Flow, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return flow.inverse_and_log_det([z], context)


def _compare_gradients(call: Call, plain: nn.Module, compiled: nn.Module) -> None:
    all_near(f"of {call.method} compiled", _with_gradients(compiled, call), _with_gradients(plain, call), 1e-9)


def _with_gradients(module: nn.Module, call: Call) -> dict[str, Tensor]:
    inputs = [t.clone().requires_grad_() for t in call.inputs]
    outputs = module(*inputs)
    wanted = {f"input {i}": t for i, t in enumerate(inputs)}
    wanted |= {name: p for name, p in module.named_parameters() if p.requires_grad}
    loss = torch.stack([value.square().sum() for value in outputs]).sum()
    gradients = {f"gradient of {name}": gradient for name, gradient in gradients_of(loss, wanted).items()}
    return {f"output {i}": value for i, value in enumerate(outputs)} | gradients


CHECKS = (onnx, compile)
