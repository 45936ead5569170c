"""Defines memory strategies, which decide what activations a forward pass stores for the backward pass.

Each strategy runs the layers between two factor-outs: x -> (y, log|det| [batch]).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint as torch_checkpoint

from flowkit.bijectors.bijector import Bijector, forked_generators, full_precision
from flowkit.bijectors.composition import Merged, autocast_of, forward_through, merged, units
from flowkit.errors import FlowkitError

Output = tuple[Tensor, Tensor]
"""The pair of y and log|det| [batch]."""
DRIFT_LIMIT = 1e-4
"""The largest drift in fp32 that causes no warning. docs/memory.md has the measurements."""
DRIFT_LIMIT_BF16 = 1e-2
"""The largest drift in bf16 that causes no warning.

A reconstructed value has a rounding error, so it is sometimes rounded to a different bf16 number than the original. In
trained Glows with 16 and 32 steps per level, drift reached 3e-3. There, gradients differed from those under ``store``
by 2e-3, and the latter were off by 3e-2 because of bf16. At a drift of 5e-2 gradients were wrong.
"""


class Drift:
    """The reconstruction error of reversible passes: the largest one since it was last read.

    It is max|x̂ - x| / max(1, max|x|), where x̂ is the input of a level as reconstructed from its output. Gradients are
    computed at x̂. The numerator is taken over the first event of each batch. max|x| is taken over the whole batch:
    relative to the values of an all-black image, the rounding of its pixels would look large.
    """

    def __init__(self) -> None:
        self._worst: Tensor | None = None

    def note(self, back: Tensor, x: Tensor, largest: Tensor) -> None:
        """Record the drift of one level, without waiting for the device.

        ``x`` is the first event [1, ...] of the level's input, ``back`` is its reconstruction, and ``largest`` is
        max|x| over the batch.
        """
        if not x.numel():
            return
        drift = ((back - x).abs().amax() / largest.clamp(min=1)).nan_to_num(torch.inf)
        self._worst = drift if self._worst is None else torch.maximum(self._worst, drift)

    def read(self) -> float | None:
        """Return the largest drift since the last call, or None if there was no reversible backward pass since then."""
        worst, self._worst = self._worst, None
        return None if worst is None else worst.item()


REVERSIBLE_COMPILED = "a compiled flow can't run under memory: reversible; use checkpoint or store, or don't compile"


def checkpoint(layers: Sequence[Bijector], x: Tensor, context: Tensor | None, *_: Drift) -> Output:
    """Store only the input of each unit. The backward pass computes the rest again (Chen et al. 2016)."""
    log_det = x.new_zeros(x.shape[0])
    for unit in units(layers):
        x, term = _checkpointed(unit, x, context)
        log_det = log_det + term
    return x, log_det


def reversible(layers: Sequence[Bijector], x: Tensor, context: Tensor | None, drift: Drift) -> Output:
    """Store only the output. The backward pass computes inputs from outputs (Gomez et al. 2017, §3.2)."""
    if torch.compiler.is_compiling():
        raise FlowkitError(REVERSIBLE_COMPILED)
    steps = merged(layers)
    listed = _Listed(steps)
    return _Reversible.apply(steps, listed, drift, x, context, *listed.parameters)


Strategy = Callable[[Sequence[Bijector], Tensor, Tensor | None, Drift], Output]

STRATEGIES: dict[str, Strategy] = {
    "store": forward_through,
    "checkpoint": checkpoint,
    "reversible": reversible,
}


def _checkpointed(unit: list[Bijector], x: Tensor, context: Tensor | None) -> Output:
    read = parameters(unit)
    places = _places(read)

    def again(x: Tensor, context: Tensor | None, *_: Tensor) -> Output:
        _check_same(places, parameters(unit))
        return forward_through(unit, x, context)

    # The parameters are arguments, so that torch detects if one is changed in place before the backward pass.
    return torch_checkpoint(again, x, context, *read, use_reentrant=False)


class _Reversible(torch.autograd.Function):
    """Computes gradients for x, the context and the parameters.

    The backward pass reconstructs the input of each step from its output.
    """

    @staticmethod
    def forward(
        ctx: Any,
        steps: list[Merged],
        listed: _Listed,
        drift: Drift,
        x: Tensor,
        context: Tensor | None,
        *tensors: Tensor,
    ) -> Output:
        ctx.steps, ctx.drift, ctx.first = steps, drift, x[:1].clone()
        ctx.largest = x.abs().amax() if x.numel() else x.new_zeros(())
        ctx.places, ctx.modes, ctx.autocast = _places(tensors), listed.modes, _autocast(x.device)
        ctx.generators = [_generators(x.device)]  # the states before each step, and after the last step
        log_det = x.new_zeros(x.shape[0])
        for step in steps:
            with autocast_of(step, x.device):
                x, term = step.forward_and_log_det(x, context)
            log_det = log_det + term
            ctx.generators.append(_generators(x.device))
        if all(map(torch.equal, ctx.generators[0], ctx.generators[-1])):
            ctx.generators = None  # no step drew random numbers
        ctx.save_for_backward(x, context, *tensors)  # saving parameters lets torch detect in-place changes
        return x, log_det

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_y: Tensor, g_log_det: Tensor) -> tuple[Tensor | None, ...]:
        y, context, *_ = ctx.saved_tensors
        listed = _Listed(ctx.steps)
        _check_same(ctx.places, tensors := listed.parameters)
        _check_modes(ctx.modes, listed.modes)
        context = None if context is None else context.detach().requires_grad_(ctx.needs_input_grad[4])
        totals: dict[Tensor, Tensor] = {}
        again_as_forward = torch.autocast(**ctx.autocast)
        with forked_generators(y.device), _without_hooks(tensors), torch.enable_grad(), again_as_forward:
            for index in reversed(range(len(ctx.steps))):
                if ctx.generators is not None:
                    _set_generators(y.device, ctx.generators[index])
                step, own = ctx.steps[index], listed.own[index]
                with autocast_of(step, y.device):
                    x, again, log_det = step.recompute(y, context)
                wanted = [t for t in (context, *own) if t is not None and t.requires_grad]
                g_y, *grads = _gradients((again, log_det), (x, *wanted), (g_y, g_log_det))
                for tensor, grad in zip(wanted, grads, strict=True):
                    if grad is not None:
                        totals[tensor] = totals[tensor] + grad if tensor in totals else grad
                y = x.detach()
        ctx.drift.note(y[:1], ctx.first, ctx.largest)
        return None, None, None, g_y, *(None if t is None else totals.get(t) for t in (context, *tensors))


@contextmanager
def _without_hooks(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Remove the hooks of the parameters inside the block.

    A hook expects the whole gradient of a parameter. Autograd calls it later, with the sum of the gradients of all
    steps.
    """
    hooks = [tensor._backward_hooks for tensor in tensors]
    for tensor in tensors:
        tensor._backward_hooks = None
    try:
        yield
    finally:
        for tensor, own in zip(tensors, hooks, strict=True):
            tensor._backward_hooks = own


def _gradients(outputs: Output, inputs: Sequence[Tensor], cotangents: tuple[Tensor, Tensor]) -> Sequence[Any]:
    """Return the vector–Jacobian product: the gradients of ``inputs`` for these cotangents of ``outputs``."""
    pairs = [pair for pair in zip(outputs, cotangents, strict=True) if pair[0].requires_grad]
    differentiable, given = zip(*pairs, strict=True)
    with full_precision(inputs[0].device):  # torch advises against autocast in a backward pass
        return torch.autograd.grad(differentiable, inputs, given, allow_unused=True)


class _Listed:
    """The parameters of steps, and the modes of their modules. Listing the modules takes long, so it is done once."""

    def __init__(self, steps: Sequence[Merged]) -> None:
        modules = [list(step.modules()) for step in steps]
        self.own = [_parameters(modules_of_step) for modules_of_step in modules]
        """The parameters of each step."""
        self.parameters = list(dict.fromkeys(itertools.chain.from_iterable(self.own)))
        """The parameters of all steps, each of them once."""
        self.modes = [module.training for module in itertools.chain.from_iterable(modules)]


def parameters(steps: Iterable[Merged]) -> list[Tensor]:
    """List the parameters of the steps, each of them once."""
    return _parameters(module for step in steps for module in step.modules())


def _parameters(modules: Iterable[nn.Module]) -> list[Tensor]:
    return list(dict.fromkeys(p for module in modules for p in module._parameters.values() if p is not None))


def _places(tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Return the id of each tensor and the address of its data.

    During compilation, when there is no data, return [].
    """
    return [] if torch.compiler.is_compiling() else [(id(t), t.data_ptr()) for t in tensors]


def _check_same(places: list[tuple[int, int]], tensors: Sequence[Tensor]) -> None:
    if _places(tensors) != places:
        raise FlowkitError(
            "parameters were replaced between forward and backward pass, by torch.func.functional_call or through "
            "their .data, and under memory: checkpoint or reversible the backward pass computes the layers again: "
            "use memory: store"
        )


def _check_modes(before: list[bool], now: list[bool]) -> None:
    if now != before:
        raise FlowkitError(
            "under memory: reversible a backward pass computes the layers again, and the flow or a part of it was "
            "switched between train() and eval() since the forward pass: switch after backward()"
        )


def _autocast(device: torch.device) -> dict[str, Any]:
    """Return the arguments for torch.autocast that restore its current state."""
    kind = device.type
    return {
        "device_type": kind,
        "enabled": torch.is_autocast_enabled(kind),
        "dtype": torch.get_autocast_dtype(kind),
    }


def _generators(device: torch.device) -> tuple[Tensor, ...]:
    """Return the states of the random number generators: the CPU's, and that of ``device`` if it is an accelerator."""
    cpu = torch.get_rng_state()
    return (cpu,) if device.type == "cpu" else (cpu, torch.get_device_module(device).get_rng_state(device))


def _set_generators(device: torch.device, states: tuple[Tensor, ...]) -> None:
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1], device)
