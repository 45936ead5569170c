"""Checks that take seconds a layer: compilation, and ONNX graphs run by onnxruntime."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from flowkit.bijectors import Bijector, ChannelLinear, Composition
from flowkit.bijectors.composition import frozen
from flowkit.export.pieces import ADVICE
from flowkit.testing.bijectors import flow_of
from flowkit.testing.common import Method
from flowkit.testing.subjects import BijectorSubject, Call, ModuleSubject

RATIO = 3.0
"""How many times torch's own fp32 error onnxruntime may have against fp64."""
FLOOR = 1e-6
"""The error, relative to the largest value, that is never too much: some roundings of fp32."""


def onnx(subject: ModuleSubject) -> None:
    """Every direction is exported to ONNX, and onnxruntime gives what the fp64 module gives, for batches of 1, 2 and 5.

    Its error is at most 3 times torch's own in fp32.
    """
    import onnxruntime

    from flowkit.export.graphs import make_graphs
    from flowkit.export.program import Program

    module = _for_inference(subject.module())
    single = copy.deepcopy(module).float()
    calls = [call.map(Tensor.float) for call in subject.calls(subject.module())]
    programs = [Program.of_method(single, call.method, len(call.inputs), len(call.returns)) for call in calls]
    graphs = make_graphs(programs, [call.inputs for call in calls])
    for index, (program, graph) in enumerate(zip(programs, graphs, strict=True)):
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        for n in (1, 2, 5):
            at = subject.calls(subject.module(), n)[index]
            fed = {name: t.float().numpy() for name, t in zip(program.inputs, at.inputs, strict=True)}
            given = [torch.from_numpy(array) for array in session.run(None, fed)]
            _compare(n, given, at.map(Tensor.float)(single), at.map(lambda t: t.float().double())(module))


def _compare(n: int, given: list[Tensor], single: dict[str, Tensor], exact: dict[str, Tensor]) -> None:
    for value, (name, fp32), fp64 in zip(given, single.items(), exact.values(), strict=True):
        assert value.shape == fp64.shape, f"{name}: the graph gives {list(value.shape)} for a batch of {n}"
        error, own = ((t.double() - fp64).abs().max().item() for t in (value, fp32))
        allowed = RATIO * own + FLOOR * (1 + fp64.abs().max().item())
        assert error <= allowed, f"{name}: onnxruntime is off by {error:.3g}, torch in fp32 by {own:.3g}"


def _for_inference(module: nn.Module) -> nn.Module:
    if isinstance(module, Bijector):
        return Composition(frozen([module], torch.empty(0, dtype=torch.float64))).eval()
    return module


def compile(subject: ModuleSubject) -> None:
    """torch.compile takes everything in one graph, and gives the same values and gradients.

    A flow of a bijector does so with one graph each way for all batch sizes. Alone a bijector is tried where a flow
    does not call it: channel-linear layers, alone and in compositions, are merged, their maps outside of the graphs.

    The graphs, forward and backward, are run as they are: what a code generator makes of them is torch's own affair,
    takes a C++ compiler and up to a minute a layer.
    """
    torch.compiler.reset()
    if not isinstance(subject, BijectorSubject) or isinstance(subject.fresh(), ChannelLinear | Composition):
        for call in subject.calls(subject.module()):
            module, compiled = (Method(subject.module(), call.method) for _ in range(2))
            torch.compiler.reset()
            compiled.compile(fullgraph=True, backend="aot_eager")
            _compare_gradients(module, compiled, call)
    if isinstance(subject, BijectorSubject):
        _compile_a_flow(subject)


def _compile_a_flow(subject: BijectorSubject) -> None:
    flow, compiled = (flow_of(subject, subject.module()).double() for _ in range(2))
    compiled.compile(backend="aot_eager_decomp_partition")  # aot_eager mistakes layouts of single channels
    for method in ("log_prob", "invert"):
        graphs = []
        for n in (3, 5, 4):
            inputs = subject.calls(subject.module(), n)[method == "invert"].inputs
            _compare_gradients(_OneLatent(flow, method), _OneLatent(compiled, method), Call(method, inputs, {}))
            graphs.append(counters["stats"]["unique_graphs"])
        assert graphs[1] == graphs[2], f"{method} is compiled again for a third batch size: {ADVICE}"


class _OneLatent(Method):
    """A method of a flow that has a single latent."""

    def forward(self, first: Tensor, second: Tensor | None = None) -> Any:
        flow: Any = self.module
        return flow(first, second) if self.method == "log_prob" else flow.inverse_and_log_det([first], second)


def _compare_gradients(module: nn.Module, compiled: nn.Module, call: Call) -> None:
    for expected, given in zip(_with_gradients(module, call), _with_gradients(compiled, call), strict=True):
        error = (given - expected).abs().max().item() if given.numel() else 0.0
        assert error <= 1e-9 * (1 + expected.abs().max().item()), f"{call.method} compiled is off by {error:.3g}"


def _with_gradients(module: nn.Module, call: Call) -> list[Tensor]:
    inputs = [t.clone().requires_grad_() for t in call.inputs]
    output = module(*inputs)
    outputs = list(output) if isinstance(output, tuple) else [output]
    wanted = [*inputs, *(p for p in module.parameters() if p.requires_grad)]
    tie = sum(t.sum() for t in wanted) * 0  # a density may be constant, and have no gradient at all
    loss = sum(value.square().sum() for value in outputs) + tie
    return outputs + list(torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True))


CHECKS = (onnx, compile)
