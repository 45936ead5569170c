"""Wrong continuous flows: the log-det is that of the differential equation, and the map is that of its solver."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flowkit.bijectors import Bijector
from tests.zoo.zoo import wrong

STEPS = 10


@wrong("bijector", "log_det", "by the steps of a solver", event=(3,))
class IntegratesItsLogDet(Bijector):
    """A continuous flow by ten Runge-Kutta steps integrates the trace beside the event: the Jacobian of the steps that
    it takes has another determinant."""

    def __init__(self, event):
        super().__init__(event)
        self.hidden = nn.Linear(event[0] + 1, 16)
        self.last = nn.Linear(16, event[0])
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward_and_log_det(self, x, context=None):
        return self._solve(x, [i / STEPS for i in range(STEPS + 1)])

    def inverse_and_log_det(self, y, context=None):
        return self._solve(y, [1 - i / STEPS for i in range(STEPS + 1)])

    def _solve(self, x, times):
        """x and ∫ tr(∂v/∂x) dt after classical Runge-Kutta steps of fourth order."""
        total = torch.zeros_like(x[:, 0])
        for t, end in pairwise(times):
            h = end - t
            v1, trace1 = self._velocity(t, x)
            v2, trace2 = self._velocity(t + h / 2, x + h / 2 * v1)
            v3, trace3 = self._velocity(t + h / 2, x + h / 2 * v2)
            v4, trace4 = self._velocity(t + h, x + h * v3)
            x = x + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
            total = total + h / 6 * (trace1 + 2 * trace2 + 2 * trace3 + trace4)
        return x, total

    def _velocity(self, t: float, x: Tensor) -> tuple[Tensor, Tensor]:
        """v(t, x) and the trace of ∂v/∂x, exactly: v is W₂ tanh(W₁ [x, t] + b₁) + b₂."""
        h = torch.tanh(self.hidden(torch.cat([x, torch.full_like(x[:, :1], t)], 1)))
        weight, bias = self._last()
        per_unit = (weight.T * self.hidden.weight[:, :-1]).sum(1)
        return F.linear(h, weight, bias), ((1 - h.square()) * per_unit).sum(1)

    def _last(self) -> tuple[Tensor, Tensor]:
        """W₂ and b₂."""
        return self.last.weight, self.last.bias


class Gated(IntegratesItsLogDet):
    """The same flow, nearly switched off at the start by a gate instead of a last layer of zeros."""

    start: float | list[float]

    def __init__(self, event):
        super().__init__(event)
        self.last.reset_parameters()
        self.gate = nn.Parameter(torch.tensor(self.start))

    def _last(self):
        weight, bias = super()._last()
        return self.gate.reshape(-1, 1) * weight, self.gate * bias


def gated(name: str, bug: str, start: float | list[float]) -> type[Gated]:
    """The flow whose gate starts there, put into the zoo."""
    return wrong("bijector", "log_det", event=(3,))(type(name, (Gated,), {"start": start, "__doc__": bug}))


GATED = [
    gated("GatedByANumber", "IntegratesItsLogDet, whose network is multiplied by a number that starts at 0.", 0.0),
    gated("GatedByATinyNumber", "The same, by a number that starts at 1e-4.", 1e-4),
    gated("GatedByAVector", "The same, by a vector that starts at 0.", [0.0] * 3),
    gated("GatedByATinyVector", "The same, by a vector that starts at 1e-4.", [1e-4] * 3),
]
