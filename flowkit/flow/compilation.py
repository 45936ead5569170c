"""torch.compile for the passes of a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
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
    on_cpu, elsewhere = torch.compile(own, **_without_python(options)), torch.compile(own, **options)

    def call(*given: Any) -> Any:
        if torch.compiler.is_compiling():  # by someone else, of something larger
            return function(*given)
        with _limit:
            return (on_cpu if _device(given) == "cpu" else elsewhere)(*given)

    return call


def _without_python(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with kernels called from C++: on two cores Python is 5% of a Glow's training step. Compiled by
    itself, the code that calls them costs little at the start. Options that say otherwise stay."""
    if options.get("backend", "inductor") != "inductor" or options.get("mode"):
        return options
    own = {"cpp_wrapper": True, "cpp_wrapper_build_separate": True}
    return options | {"options": own | (options.get("options") or {})}


def _device(given: Iterable[Any]) -> str:
    """The type of the device that the first tensor among these is on, in a sequence of them or by itself."""
    each = (argument if isinstance(argument, list | tuple) else [argument] for argument in given)
    return next(tensor.device.type for tensors in each for tensor in tensors if isinstance(tensor, Tensor))


class _Limit:
    """torch's own limit of graphs, of which there is one for all threads, as it has to be while compiled passes run.
    (config.patch takes ten times as long.)"""

    def __init__(self) -> None:
        self._lock, self._passes = Lock(), 0

    def __enter__(self) -> None:
        config = torch._dynamo.config
        with self._lock:
            if not self._passes:
                self._before, config.recompile_limit = config.recompile_limit, max(config.recompile_limit, VARIANTS)
            self._passes += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._passes -= 1
            if not self._passes:
                torch._dynamo.config.recompile_limit = self._before


_limit = _Limit()


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
