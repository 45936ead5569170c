"""Wrong bijectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from flowkit.bijectors import AffineMap, Bijector, ChannelLinear
from flowkit_glow.actnorm import ActNorm, normalizing
from flowkit_glow.affine import Affine
from flowkit_glow.conv1x1 import Conv1x1
from flowkit_glow.permute import Permute
from flowkit_glow.splits import Channels
from flowkit_glow.squeeze import Squeeze
from tests.plugins.cases import coupling
from tests.zoo.zoo import wrong


class _LogDetOfItsMap(ActNorm):
    """Actnorm whose maps have the log-det at one position that ``at_a_position`` says."""

    def at_a_position(self) -> Tensor:
        raise NotImplementedError

    def affine(self):
        return super().affine()._replace(log_det=self.at_a_position())

    def affine_inverse(self):
        return super().affine_inverse()._replace(log_det=-self.at_a_position())


class _Scaled(ActNorm):
    """Actnorm whose log-dets are changed by ``report``."""

    def report(self, log_det: Tensor) -> Tensor:
        raise NotImplementedError

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x, context)
        return y, self.report(log_det)

    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y, context)
        return x, self.report(log_det)


# Log-dets: a round trip passes on all of these


@wrong("bijector", "log_det", "short by the factor h·w = 6: did you forget the spatial positions")
class ForgetsPositions(_Scaled):
    """log abs det W without h·w: off by that factor on every image."""

    def report(self, log_det):
        return log_det / 6


@wrong("bijector", "log_det", r"\(h·w - 1\) times Σ log_tail, .* did you forget the spatial positions of log_tail")
class ForgetsPositionsOfOneTerm(Bijector):
    """One of several terms is summed over the channels only: Σ log t, where it is h·w Σ log t."""

    def __init__(self, event):
        super().__init__(event)
        self.log_tail = nn.Parameter(torch.zeros(event[0], 1, 1))

    def forward_and_log_det(self, x, context=None):
        y = torch.sinh(self.log_tail.exp() * torch.asinh(x))
        return y, self._log_det(x, y)

    def inverse_and_log_det(self, y, context=None):
        x = torch.sinh(torch.asinh(y) * (-self.log_tail).exp())
        return x, -self._log_det(x, y)

    def _log_det(self, x, y):
        each = (torch.log1p(y.square()) - torch.log1p(x.square())) / 2
        return each.flatten(1).sum(1) + self.log_tail.sum()


@wrong("bijector", "log_det", seen="a common misprint, h·w·∏ s for (∏ s)^(h·w)")
class ProductInsteadOfSum(_LogDetOfItsMap):
    """h·w·∏ s, where it is h·w·Σ log s."""

    def at_a_position(self):
        return self.log_scale.exp().prod()


@wrong("bijector", "log_det", "it is the determinant: did you forget the log", event=(4,))
class ForgetsTheLog(_Scaled):
    """The determinant itself."""

    def report(self, log_det):
        return log_det.exp()


@wrong("bijector", "log_det", "the sign is wrong", seen="VincentStimper/normalizing-flows#27")
class WrongSign(_LogDetOfItsMap):
    """Both directions have the log-det of the other one."""

    def at_a_position(self):
        return -self.log_scale.sum()


@wrong("bijector", "inverse_log_det", "log-det of the other direction", seen="ikostrikov/pytorch-flows#16")
class InverseReturnsForwardLogDet(ActNorm):
    """The inverse returns the log-det of the forward map."""

    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y, context)
        return x, -log_det


@wrong("bijector", "log_det", "it is 0: did you forget")
class NoLogDet(_Scaled):
    """Returns zeros, as the layers beside it do that only reorder."""

    def report(self, log_det):
        return torch.zeros_like(log_det)


@wrong("bijector", "log_det", "short by the factor 24, the event's size: is it a mean")
class MeanInsteadOfSum(_Scaled):
    """The mean over the event, so that losses are of the same size for all events."""

    def report(self, log_det):
        return log_det / math.prod(self.event_shape)


@wrong("bijector", "log_det", "is it log2 instead of log")
class LogDetInBits(_Scaled):
    """Bits in one layer, nats in the others."""

    def report(self, log_det):
        return log_det / math.log(2)


@wrong("bijector", "log_det", "twice too large")
class VarianceForScale(_Scaled):
    """Takes the log of the variance where the map divides by the standard deviation."""

    def report(self, log_det):
        return 2 * log_det


@wrong("bijector", "log_det", "belongs to the initial parameters", seen="pyro-ppl/pyro#2384")
class LogDetOfInitialWeights(Conv1x1):
    """The determinant is computed once, in __init__, when W is what it starts from."""

    def __init__(self, event):
        super().__init__(event)
        nn.init.normal_(self.matrix.log_abs_s)
        self.register_buffer("cached", self.matrix.log_abs_det().detach())

    def affine(self):
        return super().affine()._replace(log_det=self.cached)

    def affine_inverse(self):
        return super().affine_inverse()._replace(log_det=-self.cached)


@wrong("bijector", "log_det", seen="wohlert/semi-supervised-pytorch#21")
class EveryRowHasTheSumOfAll(_Scaled):
    """The log-det is summed over the batch, and broadcast to every row."""

    def report(self, log_det):
        return log_det.sum().expand_as(log_det)


@wrong("bijector", "shapes", "log_det .* is a single number", seen="pymc-devs/pymc#798")
class SumsLogDetOverBatch(_Scaled):
    """One number for the whole batch."""

    def report(self, log_det):
        return log_det.sum()


@wrong("bijector", "shapes", "log_det .* is a single number")
class LogDetWithoutBatch(ActNorm):
    """A constant log-det is returned as it is, without a batch dimension."""

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x, context)[0], self.log_scale.sum()


# Gradients


@wrong("bijector", "gradients", "the gradient of log_det of forward_and_log_det for log_scale .* is something detached")
class DetachedLogDet(_LogDetOfItsMap):
    """The log-det has the right value, and nothing learns from it."""

    def at_a_position(self):
        return self.log_scale.sum().detach()


@wrong("bijector", "gradients", "the gradient of y of forward_and_log_det for log_scale")
class DetachedScale(ActNorm):
    """Values through .data or .detach(): the map has no gradient for its scale."""

    def affine(self):
        return super().affine()._replace(matrix=self.log_scale.exp().detach())


@wrong("bijector", "memory")
class DrawsAtEachRun(ActNorm):
    """Counts its calls and lets the count into the map: recomputing a checkpoint gives another gradient."""

    calls = 0

    def affine(self):
        type(self).calls += self.training and torch.is_grad_enabled()
        affine = super().affine()
        return affine._replace(matrix=affine.matrix * (1 + 0.01 * type(self).calls))


# Batches, state, modes, devices


@wrong("bijector", "batch_independence")
class BatchMixing(ActNorm):
    """Subtracts the mean of the batch at hand."""

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x - x.mean((0, 2, 3), keepdim=True).detach())


@wrong("bijector", "batch_independence", seen="kamenbliznashki/normalizing_flows#13")
class BatchNormalization(ActNorm):
    """In training the statistics of the batch at hand, in evaluation running ones: rows depend on each other."""

    def __init__(self, event):
        super().__init__(event)
        self.register_buffer("mean", torch.zeros(1, event[0], 1, 1))

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x - (x.mean((0, 2, 3), keepdim=True) if self.training else self.mean))

    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y)
        return x + self.mean, log_det


@wrong("bijector", "modes")
class OtherScaleInTraining(ActNorm):
    """A temperature that is applied in one mode only."""

    def affine(self):
        affine = super().affine()
        return affine._replace(offset=affine.offset * (0.9 if self.training else 1.0))


@wrong("bijector", "train_log_det")
class DropoutOnTheEvent(ActNorm):
    """Dropout on the event itself, instead of inside a network: what is scaled in training counts in no log-det."""

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(nn.functional.dropout(x, 0.2, self.training))


@wrong("bijector", "input_untouched", event=(5,))
class WritesIntoInput(ActNorm):
    """mul_ and add_ save memory, and change the caller's data."""

    def forward_and_log_det(self, x, context=None):
        _, log_det = super().forward_and_log_det(x)
        return x.mul_(self.log_scale.exp().detach()).add_(self.bias.detach()), log_det


@wrong("bijector", "pure", "belongs into initialize", seen="bayesiains/nflows#4, rosinality/glow-pytorch#6")
class InitializesInForward(ActNorm):
    """The first forward pass sets the parameters, and the flag that says so is not in state_dict: a loaded model
    forgets what it learned on its first batch."""

    ready = False

    def forward_and_log_det(self, x, context=None):
        if not self.ready:
            with torch.no_grad():
                self.initialize(x)
            self.ready = True
        return super().forward_and_log_det(x, context)


@wrong("bijector", "initialize")
class NaNOnConstantChannel(ActNorm):
    """Divides by a standard deviation that is 0 where a channel is constant, as at the border of digits."""

    def initialize(self, x, context=None):
        rows = x.movedim(1, -1).flatten(0, -2)
        self.log_scale.copy_(-rows.std(0, correction=0).log())
        self.bias.copy_(-rows.mean(0) / rows.std(0, correction=0))


@wrong("bijector", "initialize", "log_det of forward_and_log_det")
class LogDetOfTheFirstBatch(_LogDetOfItsMap):
    """initialize keeps a log-det of its own: that of the statistics that it saw, not of the parameters that it set."""

    found = None

    def initialize(self, x, context=None):
        super().initialize(x, context)
        self.found = -normalizing(x)[0].sum()

    def at_a_position(self):
        return self.log_scale.sum() if self.found is None else self.found


@wrong("bijector", "state", "did you forget register_buffer", seen="ikostrikov/pytorch-flows#17, pyro-ppl/pyro#2436")
class OrderNotInState(Permute):
    """The permutation is drawn anew in each process, and not saved."""

    def __init__(self, event):
        super().__init__(event, "random")
        order = self.index
        del self.index
        self.index = order


@wrong("bijector", "state", "make it an nn.Parameter attribute, or use nn.ParameterList")
class LearnsInAList(ActNorm):
    """A parameter in a list, moved to its input: an optimizer isn't given it, and it isn't saved."""

    def __init__(self, event):
        super().__init__(event)
        self.shifts = [nn.Parameter(torch.zeros(event[0]))]

    def affine(self):
        matrix, offset, log_det = super().affine()
        return AffineMap(matrix, offset + self.shifts[0].to(offset), log_det)

    def affine_inverse(self):
        return self.affine().inverse()


@wrong("bijector", "device", "make it an nn.Parameter attribute, or use nn.ParameterList")
class LearnsInATensor(ActNorm):
    """A plain tensor that needs gradients: an optimizer isn't given it, and .to(device) leaves it behind."""

    def __init__(self, event):
        super().__init__(event)
        bias = self.bias.detach().requires_grad_()
        del self.bias
        self.bias = bias


@wrong("bijector", "device", "did you forget register_buffer", seen="nearly every first version")
class ScaleStaysOnTheCPU(ActNorm):
    """A plain tensor as attribute: .to(device) leaves it behind."""

    def __init__(self, event):
        super().__init__(event)
        self.unit = torch.full((event[0],), 2.0, dtype=torch.float64)

    def affine(self):
        matrix, offset, log_det = super().affine()
        return AffineMap(matrix * self.unit, offset * self.unit, log_det + self.unit.log().sum())

    def affine_inverse(self):
        return self.affine().inverse()


@wrong("bijector", "device", "is on the cpu", seen="tonyduan/normalizing-flows#6")
class LogDetOnTheCPU(Permute):
    """torch.zeros without a device, for a log-det that is 0."""

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x, context)[0], torch.zeros(x.shape[0], dtype=x.dtype)


@wrong("bijector", "device", "asks for a value", seen="bayesiains/nflows#23")
class BranchesOnValues(ActNorm):
    """if x.any(): the GPU waits for the CPU, and one branch is lost in an exported graph."""

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x if (x.abs() < 1e9).any() else 2 * x)


@wrong("bijector", "precision")
class Downcasts(ActNorm):
    """.float() somewhere on the way."""

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x)
        return y.float(), log_det


@wrong("bijector", "round_trip", seen="greta-dev/greta#85")
class RoundsToFloat(ActNorm):
    """fp64 in and out, fp32 in between: half of the digits are gone."""

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x.float().to(x.dtype))


@wrong("bijector", "export")
class FreezesTheBatch(ActNorm):
    """int(x.shape[0]): right in torch; its ONNX graph only takes the batch size that it was exported with."""

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x, context)
        return y, log_det[:1].expand(int(x.shape[0])) if len(x) == 3 else log_det


# Structures


@wrong("bijector", "round_trip")
class InverseByForwardPermutation(Permute):
    """The inverse applies the permutation a second time: right for a reversal only."""

    def __init__(self, event):
        super().__init__(event, "random")
        self.index = torch.tensor([1, 2, 3, 0])

    def affine_inverse(self):
        return self.affine()


@wrong("bijector", "merge", "does the layer do what affine")
class NotAffine(ChannelLinear):
    """Calls itself channel-linear and has a curve in its passes, which merging leaves out."""

    def affine(self):
        return AffineMap(torch.ones(()), None, torch.zeros(()))

    def forward_and_log_det(self, x, context=None):
        return x.asinh(), -x.square().log1p().flatten(1).sum(1) / 2

    def inverse_and_log_det(self, y, context=None):
        return y.sinh(), y.cosh().log().flatten(1).sum(1)


@wrong("bijector", "freeze")
class FreezesAtInitialWeights(Bijector):
    """freeze gives what was computed in __init__, before training."""

    def __init__(self, event):
        super().__init__(event)
        self.layer, self.frozen = ActNorm(event), [ActNorm(event)]

    def forward_and_log_det(self, x, context=None):
        return self.layer.forward_and_log_det(x, context)

    def inverse_and_log_det(self, y, context=None):
        return self.layer.inverse_and_log_det(y, context)

    def freeze(self):
        return self.frozen[0]


@wrong("bijector", "shapes", event=(1, 4, 4))
class ShapeRuleDisagrees(Squeeze):
    """output_shape says something else than the tensor has."""

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


@wrong("bijector", "log_det", "twice too large: is a part counted twice")
class LogDetOfBothParts(_Coupled):
    """Counts the scales twice, as if both parts were transformed."""

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x, context)
        return y, 2 * log_det


@wrong("bijector", "round_trip")
class ConditionsOnTransformedPart(_Coupled):
    """The network reads what it transforms: no inverse, no triangular Jacobian."""

    def forward_and_log_det(self, x, context=None):
        kept, transformed = self.inner.split.split(x)
        y, log_derivative = self.inner.transformer(transformed, self.inner.conditioner(transformed))
        return self.inner.split.merge(kept, y), log_derivative.flatten(1).sum(1)


@wrong("bijector", "round_trip", seen="VincentStimper/normalizing-flows#62, pclucas14/pytorch-glow#5", event=(3, 2, 2))
class WorksForEvenChannels(_Coupled):
    """Halves of other sizes on the way back than on the way there, where the number of channels is odd."""

    def __init__(self, event):
        super().__init__(event)
        self.inner.split = _Chunk(event)


class _Chunk(Channels):
    def merge(self, kept, transformed):
        whole = super().merge(kept, transformed)
        half = self.event_shape[0] // 2
        return torch.cat([whole[:, half + 1 :], whole[:, : half + 1]], 1) if self.event_shape[0] % 2 else whole


class _Conditional(Bijector):
    def __init__(self, event):
        super().__init__(event)
        self.linear = nn.Linear(2, event[0])

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None):
        return x + self.linear(context), x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None):
        return y - self.linear(context), y.new_zeros(y.shape[0])


@wrong("bijector", "round_trip", seen="rll/deepul#7", event=(3,), context=(2,))
class InverseIgnoresContext(_Conditional):
    """The context is passed on in one direction only."""

    def inverse_and_log_det(self, y, context=None):
        return y, y.new_zeros(y.shape[0])


@wrong("bijector", "context", "ignores its context", event=(3,), context=(2,))
class IgnoresContext(_Conditional):
    """The context goes into a product with a zero that nothing trains away, or nowhere."""

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x, torch.zeros_like(context))

    def inverse_and_log_det(self, y, context=None):
        return super().inverse_and_log_det(y, torch.zeros_like(context))
