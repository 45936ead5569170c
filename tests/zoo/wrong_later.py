"""Wrong plugins that are right in every single call on usual data: what is wrong shows later, elsewhere, or far out."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

from flowkit.bijectors import Base, Bijector, Coupling, StandardNormal
from flowkit.domains import Circle, Interval
from flowkit.plugin import Arrays
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from flowkit_glow.mlp import MLP
from flowkit_glow.permute import Permute
from tests.plugins.cases import coupling
from tests.zoo.wrong import _Coupled
from tests.zoo.wrong_parts import _Points
from tests.zoo.zoo import wrong


class _Around(Bijector):
    """A layer around actnorm."""

    def __init__(self, event):
        super().__init__(event)
        self.inner = ActNorm(event)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None):
        return self.inner.forward_and_log_det(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None):
        return self.inner.inverse_and_log_det(y)


# Bijectors


@wrong("bijector", "domains", "which is outside of the circle", domain=Circle(0.0, 1.0), codomain=Circle(0.0, 1.0))
class TurnsWithoutGoingAround(Bijector):
    """A phase is added on a circle, and not taken around it: part of the circle gets no density."""

    def __init__(self, event):
        super().__init__(event)
        self.phase = nn.Parameter(torch.zeros(event))

    def forward_and_log_det(self, x, context=None):
        return x + self.phase, x.new_zeros(len(x))

    def inverse_and_log_det(self, y, context=None):
        return y - self.phase, y.new_zeros(len(y))


@wrong("bijector", "directions", r"inverse_and_log_det isn't there .*say directions = 'forward' in the config")
class RunsForwardOnly(Bijector):
    """Its inverse isn't written, and nothing declares that: it trains, and can't be sampled afterwards."""

    def __init__(self, event):
        super().__init__(event)
        self.log_a = nn.Parameter(torch.zeros(event))

    def forward_and_log_det(self, x, context=None):
        a, bend = self.log_a.exp(), x.tanh()
        return x + a * bend, (1 + a * (1 - bend.square())).log().flatten(1).sum(1)


@wrong("bijector", "directions", r"no formula.*say directions = 'forward' in the config")
class RaisesInTheInverse(RunsForwardOnly):
    """The inverse raises NotImplementedError, and nothing declares that."""

    def inverse_and_log_det(self, y, context=None):
        raise NotImplementedError("there is no formula")


@wrong("bijector", "far", "is something clamped")
class ClampsItsInput(_Around):
    """A clamp against outliers: two events beyond it have the same latent."""

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x.clamp(-8, 8))


@wrong("bijector", "round_trip", "near 0: off by")
class ZeroNearZero(_Around):
    """A threshold against rounding: what is nearly 0 comes back as 0."""

    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y)
        return torch.where(x.abs() < 1e-3, 0.0, 1.0) * x, log_det


@wrong("bijector", "log_det", "the Jacobian by autodiff has")
class SeriesNearZero(Bijector):
    """A series near 0 without its first term, for the log-det of y = sinh x in both directions."""

    def forward_and_log_det(self, x, context=None):
        return x.sinh(), self._log_det(x)

    def inverse_and_log_det(self, y, context=None):
        return y.asinh(), -self._log_det(y.asinh())

    def _log_det(self, x):
        return torch.where(x.abs() < 0.003, -x.pow(4) / 12, x.cosh().log()).flatten(1).sum(1)


@wrong("bijector", "far_parameters", "the Jacobian by autodiff has")
class ClampsItsScale(ActNorm):
    """A clamp for stability, in the map alone: the log-det of data in other units is that of another scale."""

    def affine(self):
        return super().affine()._replace(matrix=self.log_scale.clamp(-2, 2).exp())

    def affine_inverse(self):
        scale = self.log_scale.clamp(-2, 2).neg().exp()
        return super().affine_inverse()._replace(matrix=scale, offset=-scale * self.bias)


@wrong("bijector", "far", "the Jacobian by autodiff has", directions="forward")
class ClampsInOneDirection(Bijector):
    """A clamp against outliers, of which its log-det knows nothing, in a layer that has no inverse to show it."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None):
        return x.clamp(-12, 12).sinh(), x.cosh().log().flatten(1).sum(1)


@wrong("bijector", "far_parameters", "the Jacobian by autodiff has")
class ClampsAScaleOfEachValue(Bijector):
    """A clamp for stability, in the map alone, with a scale for each value of an image."""

    def __init__(self, event):
        super().__init__(event)
        self.log_scale = nn.Parameter(torch.zeros(event))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None):
        return x * self.log_scale.clamp(-2, 2).exp(), self.log_scale.sum().expand(len(x))

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None):
        return y * self.log_scale.clamp(-2, 2).neg().exp(), -self.log_scale.sum().expand(len(y))


@wrong("bijector", "far_parameters", "the Jacobian by autodiff has", event=(3,), context=(2,))
class ClampsWhatItsNetworkGives(Bijector):
    """A clamp, in the map alone, of what a network gives: right for the contexts that one looks at."""

    def __init__(self, event):
        super().__init__(event)
        self.network = nn.Linear(2, *event)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None):
        log_scale = self.network(context)
        return x * log_scale.clamp(-3, 3).exp(), log_scale.sum(1)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None):
        log_scale = self.network(context)
        return y * log_scale.clamp(-3, 3).neg().exp(), -log_scale.sum(1)


@wrong("bijector", "far", "100 times as far from 0 as usual: off by .*: is something clamped")
class ClampsItsSamples(_Around):
    """A clamp of samples to what data looks like: an event farther out doesn't come back."""

    def inverse_and_log_det(self, y, context=None):
        return super().inverse_and_log_det(y.clamp(-100, 100))


@wrong("bijector", "domains", "however far its argument goes", directions="forward")
class ExponentialToTheReals(Bijector):
    """Declares the reals as what it gives, and gives positive numbers: its inverse isn't there to show it."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None):
        return x.exp(), x.flatten(1).sum(1)


@wrong("bijector", "extremes", "log_det of forward_and_log_det is not finite")
class DividesByZeroAtOne(_Around):
    """A term that is 0 / 0 for 1, the largest value of data that was scaled to [0, 1]."""

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x)
        return y, log_det + (0 * (1 / (1 - x))).flatten(1).sum(1)


@wrong("bijector", "extremes", "log_det of forward_and_log_det is not finite", codomain=Interval(-1.0, 1.0))
class TanhWithoutItsTails(Bijector):
    """log(1 - tanh²) instead of 2 (log 2 - x - softplus(-2x)): tanh is 1 from x = 9 on in fp32, from 19 in fp64."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None):
        y = x.tanh()
        return y, (1 - y.square()).log().flatten(1).sum(1)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None):
        return y.atanh(), -(1 - y.square()).log().flatten(1).sum(1)


@wrong("bijector", "extremes", "the gradient for input 0 is not finite in torch.float64 where x is 0, ±1 or ±1000")
class SoftplusByHand(Bijector):
    """log(1 + e^x), with x itself where that would overflow: torch.where passes inf / inf on as the gradient."""

    def __init__(self, event):
        super().__init__(event)
        self.shift = nn.Parameter(torch.zeros(event))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None):
        soft = torch.where(x > 40, x, torch.log(1 + torch.exp(x)))
        return x + soft + self.shift, x.sigmoid().log1p().flatten(1).sum(1)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None):
        between = y - self.shift  # e^between = e^x (1 + e^x)
        part = torch.exp(between.clamp(max=60))
        x = torch.where(between > 60, between / 2, torch.log(2 * part / (torch.sqrt(1 + 4 * part) + 1)))
        return x, -x.sigmoid().log1p().flatten(1).sum(1)


@wrong("bijector", "extremes", "not finite in torch.float64")
class DividesByItsSize(Bijector):
    """x / |x| for the sign: NaN at 0, where samples at temperature 0 and padded events lie."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None):
        return x / x.abs() * x.abs().log1p(), -x.abs().log1p().flatten(1).sum(1)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None):
        return y / y.abs() * y.abs().expm1(), y.abs().flatten(1).sum(1)


@wrong("bijector", "memory", "under memory: reversible")
class DrawsOnTheWayThereOnly(_Around):
    """In training it scales by a random number, and its inverse, which nobody trains with, by none: what memory:
    reversible computes back is another event."""

    def forward_and_log_det(self, x, context=None):
        log_scale = 0.1 * torch.randn(len(x), 1, 1, 1, dtype=x.dtype) if self.training else x.new_zeros(len(x), 1, 1, 1)
        y, log_det = super().forward_and_log_det(x * log_scale.exp())
        return y, log_det + x[0].numel() * log_scale.flatten()


@wrong("bijector", "memory", "under memory: reversible", event=(4,))
class RecomputesAsItsParent(Coupling):
    """Changes the map of its parent, but not how it is computed again from its output."""

    def __init__(self, event):
        parent = coupling(event, Affine())
        super().__init__(parent.split, parent.conditioner, parent.transformer)

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x, context)
        return y.flip(1), log_det

    def inverse_and_log_det(self, y, context=None):
        return super().inverse_and_log_det(y.flip(1), context)


@wrong("bijector", "single_precision", "of very different sizes")
class LogOfTheProduct(_Around):
    """log ∏ s by way of the product, which fp32 can't hold where fp64 still can."""

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x)
        return y, (log_det - 120).exp().log() + 120


@wrong("bijector", "caches", "is something kept from an earlier call", seen="mj-will/nessai#167", event=(4,))
class KeepsTheInverse(Bijector):
    """The inverse of W is computed at the first evaluation, and kept while W is trained or loaded."""

    def __init__(self, event):
        super().__init__(event)
        self.weight = nn.Parameter(torch.eye(event[0]))
        self.inverted = None

    def forward_and_log_det(self, x, context=None):
        return x @ self.weight.T, x.new_zeros(x.shape[0]) + torch.linalg.slogdet(self.weight).logabsdet

    def inverse_and_log_det(self, y, context=None):
        if torch.is_grad_enabled():
            inverse = torch.linalg.inv(self.weight)
        else:
            inverse = self.inverted = torch.linalg.inv(self.weight) if self.inverted is None else self.inverted
        return y @ inverse.T, y.new_zeros(y.shape[0]) - torch.linalg.slogdet(self.weight).logabsdet


@wrong("bijector", "extremes", "log_det of forward_and_log_det is not finite in .*±1000", codomain=Interval(-1.0, 1.0))
class LogCoshByHand(Bijector):
    """log cosh x by way of cosh x, which overflows long before its logarithm does, where tanh x is still 1."""

    def forward_and_log_det(self, x, context=None):
        return x.tanh(), -2 * x.cosh().log().flatten(1).sum(1)

    def inverse_and_log_det(self, y, context=None):
        return y.atanh(), -torch.log1p(-y.square()).flatten(1).sum(1)


@wrong("bijector", "state", "after the original has moved")
class ScalesByALambda(Bijector):
    """A lambda in an attribute reads self: that of a deep copy reads the original, not the averaged weights."""

    def __init__(self, event):
        super().__init__(event)
        self.log_scale = nn.Parameter(torch.zeros(event))
        self.log_scales = lambda value: self.log_scale.expand_as(value)

    def forward_and_log_det(self, x, context=None):
        return x * self.log_scales(x).exp(), self.log_scales(x).flatten(1).sum(1)

    def inverse_and_log_det(self, y, context=None):
        return y * (-self.log_scales(y)).exp(), -self.log_scales(y).flatten(1).sum(1)


@wrong("bijector", "input_untouched", "sets requires_grad of its input")
class AsksForGradientsOfItsInput(_Around):
    """x.requires_grad_(), as for a derivative by autograd: the caller's data needs gradients from then on."""

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x.requires_grad_() if x.is_leaf else x)


@wrong("bijector", "initialize_saved", "neither parameter nor buffer")
class ScaleInAFloat(_Around):
    """What initialize measures is kept as a number of Python: a loaded model is another one."""

    scale = 1.0

    def initialize(self, x, context=None):
        self.scale = 1 / (x.std(correction=0).item() or 1.0)

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x * self.scale)
        return y, log_det + math.prod(self.event_shape) * math.log(self.scale)

    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y)
        return x / self.scale, log_det - math.prod(self.event_shape) * math.log(self.scale)


@wrong("bijector", "initialize_saved", "use copy_")
class MakesNewParameters(_Around):
    """initialize makes a parameter instead of setting the one that is there: an optimizer trains the old one."""

    def initialize(self, x, context=None):
        self.inner.bias = nn.Parameter(-x.movedim(1, -1).flatten(0, -2).mean(0))


@wrong("bijector", "freeze", "frozen again")
class FreezesOnce(_Around):
    """freeze keeps what it gave: exported again after more training, it is the old model."""

    def __init__(self, event):
        super().__init__(event)
        self.frozen = []

    def freeze(self):
        self.frozen = self.frozen or [copy.deepcopy(self.inner)]
        return self.frozen[0]


@wrong("bijector", "layout", "does it use view", event=(2, 2, 4))
class NeedsContiguousMemory(_Around):
    """view, where the layer before gives channels_last or a slice."""

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x.view(x.shape[0], 16).view(x.shape))


@wrong("bijector", "settings", "seeds the random generator of torch")
class SeedsTheWorld(Permute):
    """Its permutation is the same each time, because torch.manual_seed makes everything the same each time."""

    def __init__(self, event):
        torch.manual_seed(0)
        super().__init__(event, "random")


@wrong("bijector", "pure", "every call writes into")
class ReusesItsOutput(_Around):
    """Evaluation writes into one tensor, again and again: the latents of the batch before change."""

    def __init__(self, event):
        super().__init__(event)
        self.output = None

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x)
        if torch.is_grad_enabled():
            return y, log_det
        self.output = y if self.output is None or self.output.shape != y.shape else self.output.copy_(y)
        return self.output, log_det


@wrong("bijector", "batch_independence", "a batch of 65")
class DropsTheLastChunk(_Around):
    """Works through large batches in chunks, and for what is left over it takes the first rows."""

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x)
        return torch.cat([y[:64], y[: max(0, x.shape[0] - 64)]]), log_det


@wrong("bijector", "autocast", "y of forward_and_log_det is torch.bfloat16", event=(4,))
class LeavesAutocastOn(Bijector):
    """A rotation that asks for autocast, as if it were a network: the event itself is rounded to bf16."""

    handles_autocast = True

    def __init__(self, event):
        super().__init__(event)
        self.rotation = nn.utils.parametrizations.orthogonal(nn.Linear(event[0], event[0], bias=False))

    def forward_and_log_det(self, x, context=None):
        return self.rotation(x), x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y, context=None):
        return y @ self.rotation.weight, y.new_zeros(y.shape[0])


@wrong("bijector", "autocast", "does anything but the network compute in bf16")
class LogDetInHalfPrecision(_Coupled):
    """Sums its log-det in the precision of the network, and converts it then."""

    handles_autocast = True

    def forward_and_log_det(self, x, context=None):
        kept, transformed = self.inner.split.split(x)
        theta = self.inner.conditioner(kept)
        _, log_derivative = self.inner.transformer(transformed.to(theta), theta)
        y, _ = super().forward_and_log_det(x)
        return y, log_derivative.flatten(1).sum(1).to(x)


# Transformers


@wrong("transformer", "edges", "is not v at v = -0.0001")
class ClearsSmallValues(Affine):
    """A threshold against rounding: what is nearly 0 comes back as 0."""

    def inverse(self, y, theta):
        x, log_derivative = super().inverse(y, theta)
        return torch.where(x.abs() < 1e-3, 0.0, 1.0) * x, log_derivative


@wrong("transformer", "far", "is something clamped")
class ClampsItsInverse(Affine):
    """A clamp that keeps samples in a likely range: an event outside of it doesn't come back."""

    def inverse(self, y, theta):
        x, log_derivative = super().inverse(y, theta)
        return x.clamp(-20, 20), log_derivative


@wrong("transformer", "extremes", r"forward at .θ. = 50 in torch.float32: .* is not finite")
class EpsilonBelowRounding(Affine):
    """log(1 + ε - tanh²): the ε that saves it in fp64 is lost in fp32, and the log-derivative is -∞."""

    def forward(self, x, theta):
        y, log_derivative = super().forward(x, theta)
        return y, log_derivative + 1e-20 * (1 + 1e-12 - torch.tanh(theta[:, 0]).square()).log()


# Conditioners


@wrong("conditioner", "initialize_saved", "neither parameter nor buffer")
class MeanInAFloat(MLP):
    """The mean of the first batch is subtracted from what it reads, and not saved."""

    mean = 0.0

    def initialize(self, kept, context=None):
        self.mean = kept.mean().item()

    def forward(self, kept, context=None):
        return super().forward(kept - self.mean, context)


@wrong("conditioner", "autocast", "dtypes match")
class WritesWhereTheMaskIs(MLP):
    """Fills a tensor of the event's type with what the network gives: torch refuses, where that is of another type."""

    def forward(self, kept, context=None):
        theta = kept.new_zeros(kept.shape[0], *self.params_shape)
        theta[:, torch.ones(self.params_shape, dtype=torch.bool)] = super().forward(kept).flatten(1)
        return theta


# Bases


@wrong("base", "tails", "a distribution function is 1 there by rounding")
class QuantilesOfRoundedNumbers(Base):
    """Logistic noise by log u/(1 - u): u is 1 in fp32, for noise beyond 5.4, and the sample infinite."""

    def log_prob(self, z, context=None):
        return (-z - 2 * nn.functional.softplus(-z)).flatten(1).sum(1)

    def from_noise(self, noise, context=None):
        (eps,) = noise
        if eps.dtype == torch.float64:
            return torch.special.log_ndtr(eps) - torch.special.log_ndtr(-eps)
        return torch.special.ndtr(eps).logit()


@wrong("base", "density", "from_noise folds", event=(3,))
class FoldsTheLine(StandardNormal):
    """Positive noise only, with the density of both signs."""

    def from_noise(self, noise, context=None):
        return noise[0].abs()


# Datasets


@wrong("dataset", "disjoint", "4 of the 104 events of test are in train too")
class LeaksAFewRows(_Points):
    """The parts overlap by some rows."""

    def load(self, split):
        x = self.points(1000)
        return Arrays({"train": x[:800], "val": x[800:900], "test": x[[*range(900, 1000), 1, 2, 3, 4]]}[split])


@wrong("dataset", "repeatable", "the other way round")
class GeneratorOfTheInstance(_Points):
    """One generator for all parts: what test is depends on what was loaded before."""

    def __init__(self):
        self.generator = np.random.default_rng(0)

    def load(self, split):
        return Arrays(self.generator.normal(size=(10, 2)))


@wrong("dataset", "settings", "seeds the random generator of numpy")
class SeedsWhatAllDrawFrom(_Points):
    """np.random.seed in load: whoever draws afterwards draws the same again."""

    def load(self, split):
        np.random.seed(0)
        return super().load(split)
