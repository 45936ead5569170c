"""torch.compile for the passes of a flow."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from flowkit.errors import FlowkitError

VARIANTS = 128
"""Graphs of one function, beyond torch's 8: in training and not, with gradients of some things or others, under
autocast and not, for one event and for many."""

ADVICE = "install g++ or clang++ (or say where one is in $CXX), or go without compiling"


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """A function as one graph, made at the first call for any batch size; ``options`` are torch.compile's.

    Raises FlowkitError if there is no C++ compiler for the code that torch writes.
    """
    options = {"fullgraph": True} | options
    if options.get("backend", "inductor") == "inductor":
        _require_compiler()
    assert isinstance(function, FunctionType)
    # A code object of its own: torch keeps its graphs there, and of a few, whatever flows they are of.
    own = FunctionType(function.__code__.replace(), function.__globals__)
    compiled_function: Callable[..., Any] = torch.compile(own, **options)
    config = torch._dynamo.config

    def call(*given: Any) -> Any:
        if torch.compiler.is_compiling():  # by someone else, of something larger
            return function(*given)
        before = config.recompile_limit
        config.recompile_limit = max(before, VARIANTS)  # config.patch takes ten times as long
        try:
            return compiled_function(*given)
        finally:
            config.recompile_limit = before

    return call


def any_batch(*tensors: Tensor | None) -> None:
    """Let the graph that is made for these tensors [batch, …] take any batch size."""
    for tensor in tensors:
        if tensor is not None and not torch.compiler.is_compiling():
            torch._dynamo.maybe_mark_dynamic(tensor, 0)


def check_strategy(strategy: str) -> None:
    """Raises FlowkitError for a strategy that a graph can't hold."""
    if strategy == "reversible":
        raise FlowkitError(
            "a compiled flow can't run under memory: reversible; use checkpoint or store, or don't compile"
        )


def _require_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise FlowkitError(f"torch.compile finds no C++ compiler: {ADVICE}") from error
