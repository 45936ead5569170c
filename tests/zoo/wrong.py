"""Wrong bijectors, each with a bug that was shipped somewhere or easily could be, and the check that catches it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowkit.flow import Bijector, ChannelLinear
from flowkit.testing import Elementwise
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from flowkit_glow.conv1x1 import Conv1x1
from flowkit_glow.permute import Permute
from flowkit_glow.splits import Channels
from flowkit_glow.squeeze import Squeeze
from flowkit_spline.rational_quadratic import RationalQuadratic
from tests.plugins.cases import coupling

EVENT = (4, 3, 2)
ZOO: dict[str, tuple] = {}
"""name -> (how to make it, the check that must fail, context shape)."""


def wrong(check: str, context_shape: tuple[int, ...] | None = None, event=EVENT):
    """Put a class into the zoo."""

    def register(cls):
        ZOO[cls.__name__] = (lambda: cls(event), check, context_shape)
        return cls

    return register


@wrong("log_det")
class ForgetsPositions(Conv1x1):
    """log|det W| without h·w: off by that factor on every image, and passes any round trip."""

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x, context)
        return y, log_det / 6

    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y, context)
        return x, log_det / 6


@wrong("log_det")
class ProductInsteadOfSum(ActNorm):
    """h·w·∏ s, as the notes have it."""

    def log_det(self):
        return self.log_scale.exp().prod()


@wrong("log_det")
class WrongSign(ActNorm):
    def log_det(self):
        return -super().log_det()


@wrong("inverse_log_det")
class InverseReturnsForwardLogDet(ActNorm):
    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y, context)
        return x, -log_det


@wrong("log_det")
class LogDetOfInitialWeights(Conv1x1):
    """The determinant is computed once, when W is still a rotation."""

    def __init__(self, event):
        super().__init__(event)
        self.cached = super().log_det().detach()

    def log_det(self):
        return self.cached


@wrong("gradients")
class DetachedLogDet(ActNorm):
    """The value is right, but nothing learns from it."""

    def log_det(self):
        return super().log_det().detach()


@wrong("gradients")
class DetachedScale(ActNorm):
    def channels(self, v):
        return v * self.log_scale.exp().detach() + self.bias


@wrong("batch_independence")
class BatchMixing(ActNorm):
    """Normalises by the statistics of the batch at hand."""

    def channels(self, v):
        return super().channels(v - v.mean(0).detach())


@wrong("input_untouched", event=(5,))
class WritesIntoInput(ActNorm):
    def channels(self, v):
        return v.mul_(self.log_scale.exp().detach()).add_(self.bias.detach())


@wrong("shapes")
class SumsLogDetOverBatch(ActNorm):
    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x, context)
        return y, log_det.sum()


@wrong("shapes")
class LogDetWithoutBatch(ActNorm):
    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x, context)[0], self.log_det()


@wrong("round_trip")
class InverseByForwardPermutation(Permute):
    def __init__(self, event):
        super().__init__(event, "random")
        self.index = torch.tensor([1, 2, 3, 0])

    def channels_inverse(self, v):
        return v[:, self.index]


@wrong("state")
class OrderNotInState(Permute):
    """The permutation is drawn anew in each process, and not saved."""

    def __init__(self, event):
        super().__init__(event, "random")
        order = self.index
        del self.index
        self.index = order


@wrong("precision")
class Downcasts(ActNorm):
    def channels(self, v):
        return super().channels(v).float()


@wrong("export")
class FreezesTheBatch(ActNorm):
    """Right in torch; its ONNX graph would only take the batch size that it was exported with."""

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x, context)
        return y, log_det[:1].expand(int(x.shape[0])) if len(x) == 3 else log_det


@wrong("initialize")
class NaNOnConstantChannel(ActNorm):
    def initialize(self, x, context=None):
        rows = x.movedim(1, -1).flatten(0, -2)
        self.log_scale.copy_(-rows.std(0, correction=0).log())
        self.bias.copy_(-rows.mean(0) / rows.std(0, correction=0))


@wrong("merge")
class NotAffine(ChannelLinear):
    """Calls itself channel-linear and is not: merging would change the model."""

    def channels(self, v):
        return v.sinh()

    def channels_inverse(self, v):
        return v.asinh()

    def log_det(self):
        return torch.zeros(())


@wrong("shapes", event=(1, 4, 4))
class ShapeRuleDisagrees(Squeeze):
    @property
    def output_shape(self):
        return (2, 2, 4)


class _Coupled(Bijector):
    def __init__(self, event):
        super().__init__(event)
        self.inner = coupling(event, Affine())

    def forward_and_log_det(self, x, context=None):
        return self.inner.forward_and_log_det(x, context)

    def inverse_and_log_det(self, y, context=None):
        return self.inner.inverse_and_log_det(y, context)


@wrong("log_det")
class LogDetOfKeptPartToo(_Coupled):
    """Counts the scales twice, as if both parts were transformed."""

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x, context)
        return y, 2 * log_det


@wrong("round_trip")
class ConditionsOnTransformedPart(_Coupled):
    """The network reads what it transforms: no inverse, no triangular Jacobian."""

    def forward_and_log_det(self, x, context=None):
        kept, transformed = self.inner.split.split(x)
        y, log_derivative = self.inner.transformer(transformed, self.inner.conditioner(transformed))
        return self.inner.split.merge(kept, y), log_derivative.flatten(1).sum(1)


@wrong("round_trip", event=(3, 2, 2))
class WorksForEvenChannels(_Coupled):
    """Splits with chunk, which gives other halves than the inverse expects where the number is odd."""

    def __init__(self, event):
        super().__init__(event)
        self.inner.split = _Chunk(event)


class _Chunk(Channels):
    def merge(self, kept, transformed):
        whole = super().merge(kept, transformed)
        half = self.event_shape[0] // 2
        return torch.cat([whole[:, half + 1 :], whole[:, : half + 1]], 1) if self.event_shape[0] % 2 else whole


class _SharpEdges(RationalQuadratic):
    """Forgets that the knots' slopes at ±B are 1: the log-derivative jumps, the value does not."""

    def forward(self, x, theta):
        y, log_derivative = super().forward(x, theta)
        return y, torch.where(x.abs() < self.bound, log_derivative, torch.ones_like(x))


ZOO["WrongInSplineTails"] = (lambda: Elementwise(_SharpEdges(bound=0.5), (8,)), "log_det", None)


class _NoClamp(Affine):
    def inverse(self, y, theta):
        x, log_derivative = super().inverse(y, theta)
        return x, -log_derivative


class _SumsTooEarly(Affine):
    def forward(self, x, theta):
        y, log_derivative = super().forward(x, theta)
        return y, log_derivative.sum(-1)


ZOO["LogDerivativeNotElementwise"] = (lambda: Elementwise(_SumsTooEarly(), (2, 3)), "shapes", None)
ZOO["TransformerInverseSign"] = (lambda: Elementwise(_NoClamp(), (4,)), "inverse_log_det", None)


class _IgnoresContextBackwards(Bijector):
    def __init__(self):
        super().__init__((3,))
        self.linear = nn.Linear(2, 3)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None):
        return x + self.linear(context), x.new_zeros(len(x))

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None):
        return y, y.new_zeros(len(y))


ZOO["InverseIgnoresContext"] = (_IgnoresContextBackwards, "round_trip", (2,))
