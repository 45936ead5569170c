"""What a bijector must do in a flow under autocast: networks compute in bf16, and nothing else does."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from flowkit.bijectors import Composition, Coupling
from flowkit.flow.inputs import MEMORY_STRATEGIES
from flowkit.testing.bijectors import by_autodiff, flow_gradients, flow_of
from flowkit.testing.compare import close
from flowkit.testing.subjects import BijectorSubject, Call

TOLERANCE = 1e-4
"""Relative (absolute below 1), of log-dets and round trips: fp32 keeps it with ease, bf16 has two or three digits."""
GRADIENT_TOLERANCE = 1e-3
"""Relative, of all gradients together: a step that is computed again rounds a number or two to the other side."""


class _Autocast(Composition):
    """Layers as a user runs them who trains in bf16."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward_and_log_det(x, context)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return super().inverse_and_log_det(y, context)


def autocast(subject: BijectorSubject) -> None:
    """Under bf16 autocast networks alone lose digits: outputs are fp32, log-dets those of the map that is computed.

    What has no network in it is what it is without autocast; a coupling goes back; memory strategies agree.
    """
    bijector = subject.module().float()
    under, plain = _Autocast([bijector]), Composition([bijector])
    there, back = (call.map(Tensor.float) for call in subject.calls(bijector))
    for call in (there, back):
        for name, value in call(under).items():
            assert value.dtype == torch.float32, f"{name} is {value.dtype} under autocast"
            if not bijector.handles_autocast:
                close(f"{name} under autocast - without, and there is no network in it", value, call(plain)[name], 0)
        _own_log_det(subject, under, call)
    if isinstance(bijector, Coupling):
        _goes_back(under, there, back)
    _memory(subject)


def _own_log_det(subject: BijectorSubject, under: Composition, call: Call) -> None:
    """Each row alone, as autodiff takes it: a network may round to the other side in a batch of another size."""
    rows = [call.map(itemgetter(slice(row, row + 1)))(under) for row in range(len(call.inputs[0]))]
    given = torch.cat([row[f"log_det of {call.method}"] for row in rows])
    expected = by_autodiff(subject, under, call)
    largest = expected.abs().max().clamp(min=1).item()
    close(
        f"log_det of {call.method} under autocast - by autodiff: does anything but the network compute in bf16?",
        given.double(), expected, TOLERANCE * largest,
    )  # fmt: skip


def _goes_back(under: Any, there: Call, back: Call) -> None:
    x, *context = there.inputs
    y = next(iter(there(under).values()))
    again = next(iter(Call(back.method, (y, *context), back.returns)(under).values()))
    tolerance = TOLERANCE * (1 + x.abs().max().item())
    close("inverse(forward(x)) - x under autocast: has θ other digits on the way back?", again, x, tolerance)


def _memory(subject: BijectorSubject) -> None:
    flow = flow_of(subject, subject.module().float()).train()
    expected = _flat(flow_gradients(subject, flow, "store", autocast=True))
    for strategy in MEMORY_STRATEGIES:
        error = (_flat(flow_gradients(subject, flow, strategy, autocast=True)) - expected).norm()
        assert error <= GRADIENT_TOLERANCE * expected.norm(), (
            f"gradients under autocast and memory: {strategy} are off by {error:.3g} of {expected.norm():.3g}"
        )


def _flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors.values()])
