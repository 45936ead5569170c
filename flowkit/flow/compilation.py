"""Compiles the passes of a flow with torch.compile: the whole flow, or one step of each kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from flowkit.bijectors import Bijector
from flowkit.bijectors.composition import forward_through, inverse_through, units
from flowkit.bijectors.memory import STRATEGIES, Output, checkpoint
from flowkit.errors import FlowkitError
from flowkit.plugin.failure import in_a_line

Scope = Literal["flow", "step"]
"""The part that is compiled: the whole flow, which runs fastest, or one step of each kind, which compiles sooner."""

VARIANTS, FLOWS = 128, 64
"""The most graphs of one flow, and the most flows of one process.

A flow has a graph for each combination of training or evaluation mode, the tensors that need gradients, autocast on or
off, and a batch of one or of many events. By default torch allows 8 graphs of a function, and 256 in total.
"""

KINDS = 4096
"""The most kinds of steps that a flow may have. By default torch allows 8."""

ADVICE = "install g++ or clang++ (or say where one is in $CXX), or go without compiling"

BY_ITSELF = (
    "torch.compile can't make code of one step of this flow by itself: compile the whole flow, flow.compile() or "
    "train.compile: true. Often it is a layer that reads .T or .mT of a parameter; .transpose(-2, -1) is taken"
)

Pass = Callable[..., Any]
"""A pass of a flow: a function of x or latents, and the context, that returns the results."""


def compiled(function: Pass, scope: Scope, **options: Any) -> Pass:
    """Return the pass as one graph, which torch.compile makes at the first call and which takes any batch size.

    ``options`` are torch.compile's. torch's limits of graphs are raised for the whole process, and recurrent networks
    are compiled, such as ``nn.GRU`` in a conditioner. Raises FlowkitError if there is no C++ compiler.
    """
    options = {"fullgraph": True} | options
    if options.get("backend", "inductor") == "inductor":
        _require_compiler()
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, VARIANTS)
    limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, FLOWS * VARIANTS)
    allow_recurrent()
    there = torch.compile(function, **options)
    # torch can't combine regions with kernels that are called from C++.
    on_cpu = torch.compile(function, **_without_python(options)) if scope == "flow" else there

    def call(given: Tensor | Sequence[Tensor], context: Tensor | None) -> Any:
        if torch.compiler.is_compiling():  # a caller compiles a function that contains this pass
            return function(given, context)
        tensors = [given] if isinstance(given, Tensor) else given
        for tensor in (*tensors, context):
            if tensor is not None:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        code = on_cpu if tensors[0].device.type == "cpu" else there
        try:
            return code(given, context)
        except (AssertionError, torch._dynamo.exc.UncapturedHigherOrderOpError) as error:
            if scope == "flow":
                raise
            raise FlowkitError(f"{BY_ITSELF} (torch says: {in_a_line(error)})") from error

    return call


def allow_recurrent() -> None:
    """Let torch.compile take recurrent networks, in the whole process."""
    torch._dynamo.config.allow_rnn = True


def by_steps(through: Pass, last_first: bool = False) -> Pass:
    """Return ``through`` with each unit of layers as a region of the graph.

    Units with the same computation share code.
    """
    region = torch.compiler.nested_compile_region(through, max_reuse_entries=KINDS)

    def run(layers: Sequence[Bijector], x: Tensor, context: Tensor | None, *_: Any) -> Output:
        log_det = x.new_zeros(x.shape[0])
        for unit in list(units(layers))[:: -1 if last_first else 1]:
            x, term = region(unit, x, context)
            log_det = log_det + term
        return x, log_det

    return run


STRATEGIES_BY_STEPS = STRATEGIES | {"store": by_steps(forward_through), "checkpoint": by_steps(checkpoint)}
inverse_by_steps = by_steps(inverse_through, last_first=True)


def _without_python(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with which the kernels are called from C++ instead of Python.

    On two cores, Python takes 5% of a Glow's training step. The code that calls the kernels is compiled separately,
    which adds little to the time of compilation. Options that the caller has set take precedence.
    """
    if options.get("backend", "inductor") != "inductor" or options.get("mode"):
        return options
    own = {"cpp_wrapper": True, "cpp_wrapper_build_separate": True}
    return options | {"options": own | (options.get("options") or {})}


def _require_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise FlowkitError(f"torch.compile finds no C++ compiler: {ADVICE}") from error
