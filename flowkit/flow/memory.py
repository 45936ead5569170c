"""What a forward pass keeps for the backward pass: everything, the inputs of layers, or next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint as torch_checkpoint

from flowkit.errors import FlowkitError
from flowkit.flow.bijector import Bijector
from flowkit.flow.channel_linear import AffineMap
from flowkit.flow.gradients import gradients
from flowkit.flow.precision import precision_of
from flowkit.flow.replay import Surroundings, kept_generators
from flowkit.flow.structure import parameters, parts

Step = Bijector | AffineMap
"""What a pass consists of. The log-det of a map is counted elsewhere, with those of all the others."""

Output = tuple[Tensor, Tensor]
"""y, and log|det| [batch] of the bijectors on the way."""


DRIFT_LIMIT = 1e-3
"""The largest drift in fp32 that brings no warning. docs/memory.md has the measurements."""
DRIFT_LIMIT_BF16 = 1e-2
"""The same where networks compute in bf16. What comes back off by a rounding is now and then another bf16 number: in
trained Glows of 16 and 32 steps a level drift reached 3e-3. Gradients were 2e-3 from stored ones there, which bf16 had
put off by 3e-2; at 5e-2 they were wrong."""


class Drift:
    """The reconstruction error of reversible passes: the largest since it was last read.

    It is max|x̂ - x| / max(1, max|x|), where x̂ is the input of a level as computed back from its output. The error is
    that of the first event of each batch, and max|x| is over the batch: an event that is black would make the rounding
    of its pixels look large. Gradients are computed at x̂.
    """

    def __init__(self) -> None:
        self._worst: Tensor | None = None

    def note(self, back: Tensor, x: Tensor, largest: Tensor) -> None:
        """Record one level: its first event [1, ...], back and as it was, and max|x|. No device synchronization."""
        if not x.numel():
            return
        drift = ((back - x).abs().amax() / largest.clamp(min=1)).nan_to_num(torch.inf)
        self._worst = drift if self._worst is None else torch.maximum(self._worst, drift)

    def read(self) -> float | None:
        """The worst since the last time; None where nothing was reversed."""
        worst, self._worst = self._worst, None
        return None if worst is None else worst.item()


def run(
    strategy: str,
    steps: Sequence[Step],
    inverses: Sequence[AffineMap | None],
    x: Tensor,
    context: Tensor | None,
    drift: Drift | None = None,
) -> Output:
    """One level under a strategy. ``inverses`` has the inverse of each step that is a map, for reversible."""
    match strategy:
        case "reversible":
            return reversible(steps, inverses, x, context, drift or Drift())
        case "checkpoint":
            return checkpoint(steps, x, context)
    return store(steps, x, context)


def store(steps: Sequence[Step], x: Tensor, context: Tensor | None) -> Output:
    """Autograd keeps what it needs."""
    log_dets: list[Tensor] = []
    for step in steps:
        x = _take(step, x, context, log_dets)
    return x, torch.stack(log_dets).sum(0) if log_dets else x.new_zeros(x.shape[0])


def _take(step: Step, x: Tensor, context: Tensor | None, log_dets: list[Tensor]) -> Tensor:
    """What one step makes of x. A bijector's log-det is added to the list."""
    if isinstance(step, AffineMap):
        return step(x)
    with precision_of(step, x.device):
        x, log_det = step.forward_and_log_det(x, context)
    log_dets.append(log_det)
    return x


def checkpoint(steps: Sequence[Step], x: Tensor, context: Tensor | None) -> Output:
    """Kept is the input of each bijector, with the map in front of it; the backward pass computes the rest again."""
    log_dets, pending = [], []
    for step in steps:
        pending.append(step)
        if isinstance(step, Bijector):
            x, log_det = recomputed(store, pending, x, context, tensors=partial(_tensors, step))
            log_dets.append(log_det)
            pending = []
    x, rest = store(pending, x, context)
    return x, torch.stack([*log_dets, rest]).sum(0)


def recomputed(function: Callable[..., Any], *inputs: Any, tensors: Callable[[], Iterable[Tensor]]) -> Any:
    """function(*inputs), to be computed again in the backward pass. ``tensors`` lists those that it reads besides: it
    is an error if they change meanwhile."""
    n, read = len(inputs), _Read(tensors)

    def again(*given: Any) -> Any:
        read.check()
        return function(*given[:n])

    return torch_checkpoint(again, *inputs, *read.tensors, use_reentrant=False)


def recomputed_at_once(
    function: Callable[[], Sequence[Tensor]], tensors: Callable[[], Iterable[Tensor]]
) -> tuple[Tensor, ...]:
    """function(), computed again in the backward pass, which goes no further than to the tensors listed. Quicker than
    ``recomputed``, and can't be differentiated twice."""
    read = _Read(tensors)
    outputs: tuple[Tensor, ...] = _Recomputed.apply(function, read, *read.tensors)
    return outputs


class _Read:
    """Remembers which tensors a pass read, to raise an error if one was replaced by when the pass is computed again.
    Of changes in place torch tells itself, for tensors that were saved, by their versions."""

    def __init__(self, listed: Callable[[], Iterable[Tensor]]) -> None:
        self._listed = listed
        self.tensors = list(listed())
        self._places = _places(self.tensors)

    def check(self) -> None:
        if _places(list(self._listed())) != self._places:
            raise FlowkitError(
                "parameters were replaced between forward and backward pass, by torch.func.functional_call or through "
                "their .data, and under memory: checkpoint or reversible the backward pass computes the layers again: "
                "use memory: store"
            )


def _places(tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Which tensors, and where their numbers are. A graph that is being compiled has none."""
    return [] if torch.compiler.is_compiling() else [(id(t), t.data_ptr()) for t in tensors]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, function: Callable[[], Sequence[Tensor]], read: _Read, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.function, ctx.read = function, read
        ctx.save_for_backward(*tensors)  # because it tells if they change meanwhile
        return tuple(output.detach() for output in function())  # the function may keep its own

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        ctx.read.check()
        tensors = ctx.saved_tensors  # read once: torch's own checkpoint, around it, computes them for that
        wanted = [t for t in tensors if t.requires_grad]
        with torch.enable_grad():
            outputs = ctx.function()
        found = iter(gradients(outputs, wanted, grads))
        return None, None, *(next(found) if t.requires_grad else None for t in tensors)


def reversible(
    steps: Sequence[Step], inverses: Sequence[AffineMap | None], x: Tensor, context: Tensor | None, drift: Drift
) -> Output:
    """Kept is the output. The backward pass computes each input back from it (Gomez et al. 2017, "RevNet", §3.2).

    ``inverses`` has the inverse of each step that is a map. Gradients reach x, the context, the maps and the
    parameters of bijectors.
    """
    level = _Level(steps, inverses, drift)
    return _Reversible.apply(level, x, context, *level.tensors)


class _Level:
    """Steps, the tensors that they have gradients for, and what was around them when they ran."""

    def __init__(self, steps: Sequence[Step], inverses: Sequence[AffineMap | None], drift: Drift) -> None:
        self.steps, self.inverses, self.drift = steps, inverses, drift
        self.own = [_Read(partial(_tensors, step)) for step in steps]
        self.tensors = list({id(t): t for own in self.own for t in own.tensors}.values())

    def forward(self, x: Tensor, context: Tensor | None) -> Output:
        self.surroundings = Surroundings(x.device)
        self.training = self._training()
        self.first = x[:1].clone()
        self.largest = x.detach().abs().amax() if x.numel() else x.new_zeros(())
        log_dets = [x.new_zeros(x.shape[0])]
        for index, step in enumerate(self.steps):
            if not isinstance(step, AffineMap):
                self.surroundings.step_begins(index)
            x = _take(step, x, context, log_dets)
        self.surroundings.pass_ends()
        return x, torch.stack(log_dets).sum(0)

    def backward(self, y: Tensor, context: Tensor | None, grad: Tensor, grad_log_det: Tensor) -> list[Tensor | None]:
        """The gradients of x, the context and the tensors, of those of y and log|det|."""
        if self._training() != self.training:
            raise FlowkitError(
                "under memory: reversible a backward pass computes the layers again, and the flow or a part of it was "
                "switched between train() and eval() since the forward pass: switch after backward()"
            )
        totals: dict[int, Tensor] = {}
        with kept_generators(y.device):
            for index in reversed(range(len(self.steps))):
                y, grad, found = self._back(index, y, context, grad, grad_log_det)
                for tensor, term in found:
                    if term is not None:
                        totals[id(tensor)] = totals[id(tensor)] + term if id(tensor) in totals else term
        self.drift.note(y[:1], self.first, self.largest)
        return [grad, *(totals.get(id(t)) for t in (context, *self.tensors))]

    def _training(self) -> list[bool]:
        return [part.training for step in self.steps if isinstance(step, Bijector) for part in parts(step)]

    def _back(
        self, index: int, y: Tensor, context: Tensor | None, grad: Tensor, grad_log_det: Tensor
    ) -> tuple[Tensor, Tensor, Iterable[tuple[Tensor, Tensor | None]]]:
        """The input of a step, its gradient, and that of each tensor which the step reads besides."""
        step, inverse = self.steps[index], self.inverses[index]
        if isinstance(step, AffineMap):
            assert inverse is not None
            x = inverse(y)
            grad, *of_map = step.gradients(x, grad)
            return x, grad, zip(step, of_map, strict=True)
        self.own[index].check()
        wanted = [t for t in (context, *self.own[index].tensors) if t is not None and t.requires_grad]
        with self.surroundings.again(index), precision_of(step, y.device):
            x, found = step.undo(y, context, (grad, grad_log_det), wanted)
        return x, found[0], zip(wanted, found[1:], strict=True)


class _Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, level: _Level, x: Tensor, context: Tensor | None, *tensors: Tensor) -> Output:
        y, log_det = level.forward(x, context)
        ctx.level = level
        ctx.save_for_backward(y, context, *tensors)  # the tensors, because it tells if they change meanwhile
        return y, log_det

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, context, *_ = ctx.saved_tensors
        context = None if context is None else context.detach().requires_grad_(ctx.needs_input_grad[2])
        return None, *ctx.level.backward(y.detach(), context, *grads)


def _tensors(step: Step) -> list[Tensor]:
    return list(step) if isinstance(step, AffineMap) else [p for p in parameters(step) if p.requires_grad]
