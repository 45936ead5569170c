"""Wrong transformers, splits, conditioners, orders, bases and datasets."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from flowkit.bijectors import Base, Split, StandardNormal, Transformer
from flowkit.domains import Circle, Interval
from flowkit.plugin import Arrays, Dataset
from flowkit_glow.affine import Affine
from flowkit_glow.mlp import MLP
from flowkit_glow.splits import Channels
from flowkit_spline.rational_quadratic import CircularRationalQuadratic, RationalQuadratic
from tests.zoo.zoo import wrong

# Transformers


@wrong("transformer", "domains", "which is outside of", domain=Interval(0.0, 1.0))
class LeavesItsInterval(Affine):
    """Declares an interval as its domain, and scales values out of it."""


@wrong("transformer", "edges")
class SharpEdges(RationalQuadratic):
    """Forgets that the edge belongs to the tail: at exactly ±B the log-derivative is that of no branch."""

    def forward(self, x, theta):
        y, log_derivative = super().forward(x, theta)
        return y, torch.where(x.abs() == self.bound, 1.0, log_derivative)


@wrong("transformer", "edges", "at the ends of the circle", domain=Circle(-1.0, 2.0))
class CircleWithTails(CircularRationalQuadratic):
    """Takes the ends of a circle for tails, where a spline on the reals is the identity: so is the density there."""

    def __init__(self):
        super().__init__(Circle(-1.0, 2.0))

    def _map(self, value, theta, inverse):
        output, log_derivative = super()._map(value, theta, inverse)
        on_circle = (value - self.middle).abs() < self.bound
        return torch.where(on_circle, output, value), torch.where(on_circle, log_derivative, 0.0)


@wrong("transformer", "edges")
class BinSearchOffAtKnots(RationalQuadratic):
    """Points on a knot fall between two bins, and come out as 0: > where it is >=."""

    def forward(self, x, theta):
        y, log_derivative = super().forward(x, theta)
        return torch.where(x.abs() == self.bound, 0.0, y), log_derivative


@wrong("transformer", "log_derivative")
class OneInTheTails(RationalQuadratic):
    """The tails have the derivative 1, and report it as log-derivative."""

    def __init__(self):
        super().__init__(bound=0.5)

    def forward(self, x, theta):
        y, log_derivative = super().forward(x, theta)
        return y, torch.where(x.abs() < self.bound, log_derivative, torch.ones_like(x))


@wrong("transformer", "log_derivative", "the Jacobian by autodiff has")
class ClampsItsTheta(Affine):
    """A clamp of θ for stability, in the map alone: right for every θ of an untrained network."""

    def forward(self, x, theta):
        t, b = theta.unbind(1)
        return x * t.clamp(-2, 2).exp() + b, t

    def inverse(self, y, theta):
        t, b = theta.unbind(1)
        return (y - b) * t.clamp(-2, 2).neg().exp(), -t


@wrong("transformer", "log_derivative", "the Jacobian by autodiff has")
class ClampsItsLargeTheta(Affine):
    """The same with a clamp so wide that only a network that is given an event unlike any other gets there."""

    def forward(self, x, theta):
        t, b = theta.unbind(1)
        return x * t.clamp(-10, 10).exp() + b, t

    def inverse(self, y, theta):
        t, b = theta.unbind(1)
        return (y - b) * t.clamp(-10, 10).neg().exp(), -t


@wrong("transformer", "extremes", "does torch.where choose", seen="danielward27/flowjax#239")
class NaNBehindWhere(Affine):
    """torch.where hides the values of a branch that is not taken, and lets its NaN gradients through."""

    def forward(self, x, theta):
        y, log_derivative = super().forward(x, theta)
        return y, torch.where(x.abs() > 2, log_derivative, log_derivative + 0 * (4 - x.square()).sqrt())


@wrong("transformer", "extremes", "is not finite")
class UnboundedScale(Affine):
    """exp of what the network gives: one unlikely event overflows."""

    def _log_scale(self, t):
        return t * t.abs()


@wrong("transformer", "extremes", "falls")
class FoldsBack(Affine):
    """Monotone where anyone looks, and falling far out: no inverse there."""

    def forward(self, x, theta):
        y, log_derivative = super().forward(x, theta)
        return torch.where(x > 1000, 2000 - y, y), log_derivative


@wrong("transformer", "shapes")
class SumsTooEarly(Affine):
    """Returns the log-det instead of the elementwise log-derivative."""

    def forward(self, x, theta):
        y, log_derivative = super().forward(x, theta)
        return y, log_derivative.sum(-1)


@wrong("transformer", "directions", r"inverse isn't there .*say directions = 'forward' in the config")
class TransformsForwardOnly(Transformer):
    """A bend whose inverse has no formula, which nothing declares."""

    n_params = 1

    def forward(self, x, theta):
        slope = 1 + theta[:, 0].sigmoid() * (1 - x.tanh().square())
        return x + theta[:, 0].sigmoid() * x.tanh(), slope.log()


@wrong("transformer", "domains", "however far its argument goes", directions="forward")
class BoundedOnOneSide(Transformer):
    """A softplus that is declared to map the reals to themselves: it reaches no number below 0."""

    n_params = 1

    def forward(self, x, theta):
        log_slope = theta[:, 0].tanh() + 0 * x
        return torch.nn.functional.softplus(log_slope.exp() * x), log_slope + torch.nn.functional.logsigmoid(
            log_slope.exp() * x
        )


@wrong("transformer", "shared_theta", r"with θ \[1, n_params, \*event\]")
class AveragesOverTheBatch(Affine):
    """Repeats θ for the events, and divides its gradient by their number."""

    def forward(self, x, theta):
        if len(theta) == 1:
            theta = theta / len(x) + (theta - theta / len(x)).detach()
        return super().forward(x, theta.expand(len(x), *theta.shape[1:]))


@wrong("transformer", "shared_theta", r"fails for θ \[1, 2, .* an elementwise step without a context gives all events")
class GathersForEachEvent(Affine):
    """gather doesn't broadcast, so the shared θ of one event doesn't reach the others."""

    def forward(self, x, theta):
        index = torch.arange(2).view(1, 2, *[1] * (x.ndim - 1)).expand(len(x), 2, *x.shape[1:])
        return super().forward(x, theta.gather(1, index))


@wrong("transformer", "inverse_log_derivative", "the sign is wrong")
class TransformerInverseSign(Affine):
    """inverse returns the log-derivative of forward."""

    def inverse(self, y, theta):
        x, log_derivative = super().inverse(y, theta)
        return x, -log_derivative


@wrong("transformer", "elementwise", "depends on another element")
class NormalizesTheEvent(Affine):
    """Reads its neighbours: the Jacobian is no longer diagonal."""

    def forward(self, x, theta):
        return super().forward(x - x.flatten(1).mean(1).view(-1, *[1] * (x.dim() - 1)), theta)


@wrong("transformer", "identity")
class StartsAtHalf(Affine):
    """s = sigmoid(t): every layer of a new flow halves its input, and a deep one is 0."""

    def _log_scale(self, t):
        return torch.nn.functional.logsigmoid(t)


@wrong("transformer", "identity", "at the starting θ: off by")
class StartsFarAway(Affine):
    """Its starting θ is that of a trained model: a new flow of many layers moves everything out of sight."""

    def __init__(self):
        super().__init__()
        self.starting_theta = torch.tensor([0.0, 3.0])


@wrong("transformer", "n_params", "n_params is 2, but starting_theta has shape")
class StartsWithOneTooFew(Affine):
    """Its starting θ has a number for the shift, and none for the scale: both start there."""

    def __init__(self):
        super().__init__()
        self.starting_theta = torch.tensor([0.5])


@wrong("transformer", "n_params", "change nothing")
class ReadsOneTooFew(Affine):
    """Asks the network for a parameter that it never reads."""

    n_params = 3

    def forward(self, x, theta):
        return super().forward(x, theta[:, :2])

    def inverse(self, y, theta):
        return super().inverse(y, theta[:, :2])


@wrong("transformer", "round_trip")
class EpsilonInOneDirection(Affine):
    """A small number against division by 0, in the inverse alone."""

    def inverse(self, y, theta):
        x, log_derivative = super().inverse(y, theta)
        return x / (1 + 1e-6), log_derivative


# Splits


@wrong("split", "partition", "in the parts twice")
class OverlappingParts(Channels):
    """The middle channel is in both parts: the network reads what is transformed."""

    def split(self, x):
        return x[:, : self.middle + 1], x[:, self.middle :]

    def merge(self, kept, transformed):
        return torch.cat([kept, transformed[:, 1:]], 1)


@wrong("split", "round_trip", seen="karpathy/pytorch-normalizing-flows#10")
class MergesWithoutInterleaving(Split):
    """Divides by even and odd channels, and puts the parts together one behind the other."""

    def split(self, x):
        return x[:, ::2], x[:, 1::2]

    def merge(self, kept, transformed):
        return torch.cat([kept, transformed], 1)


@wrong("split", "partition", "one of the parts is empty", seen="vislearn/FrEIA#101", event=(1, 2, 2))
class HalvesOneChannel(Channels):
    """Takes an event that it can't divide, and transforms nothing."""


@wrong("split", "shapes", event=(3, 2, 2), shapes=((1, 2, 2), (2, 2, 2)))
class OtherHalvesThanItsRule(Channels):
    """The config says that the first part is the smaller one, the module makes it the larger one."""


@wrong("split", "partition", "other values")
class ScalesTheKeptPart(Channels):
    """A factor that no log-det counts."""

    def split(self, x):
        kept, transformed = super().split(x)
        return 2 * kept, transformed

    def merge(self, kept, transformed):
        return super().merge(kept / 2, transformed)


# Conditioners


@wrong("conditioner", "batch_independence", seen="kamenbliznashki/normalizing_flows#13")
class BatchNormInTheNetwork(MLP):
    """BatchNorm: in training θ of one event depends on the other events of the batch."""

    def __init__(self, *shapes, **fields):
        super().__init__(*shapes, **fields)
        self.linears.append(nn.BatchNorm1d(self.hidden))


@wrong("conditioner", "batch_independence")
class AttendsToOtherRows(MLP):
    """A softmax over the wrong dimension: over the batch instead of the units."""

    def forward(self, kept, context=None):
        return super().forward(kept * kept.softmax(0), context)


@wrong("conditioner", "context", "ignores its context", context=(2,))
class DropsTheContext(MLP):
    """Takes a context and never looks at it."""

    def forward(self, kept, context=None):
        return super().forward(kept, torch.zeros_like(context))


@wrong("conditioner", "reach", "does not depend on")
class UnusedLayer(MLP):
    """A layer is made and never called: its weights are counted, saved, and never learn."""

    def __init__(self, *shapes, **fields):
        super().__init__(*shapes, **fields)
        self.forgotten = nn.Linear(3, 3)


@wrong("conditioner", "start", "set the last layer to zero")
class StartsFarFromZero(MLP):
    """The last layer starts as any other: a deep flow starts far from the identity, and training diverges."""

    def __init__(self, *shapes, **fields):
        super().__init__(*shapes, **fields)
        nn.init.normal_(self.last.bias)


@wrong("conditioner", "shapes")
class ParametersLast(MLP):
    """[batch, *transformed, n_params], where [batch, n_params, *transformed] is wanted."""

    def forward(self, kept, context=None):
        return super().forward(kept, context)[..., None].movedim(1, -1)


@wrong("conditioner", "pure")
class CountsItsCalls(MLP):
    """A buffer that every call updates: evaluation changes the model."""

    def __init__(self, *shapes, **fields):
        super().__init__(*shapes, **fields)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, kept, context=None):
        self.calls += 1
        return super().forward(kept, context)


@wrong("conditioner", "initialize", "constant data")
class StandardizesByZero(MLP):
    """Divides its weights by the standard deviation of a unit, which is 0 on constant data."""

    def initialize(self, kept, context=None):
        self.last.bias.copy_(self.last.bias / kept.std(0).sum())


# Bases


class _Laplace(Base):
    """Laplace by its quantiles, right."""

    def log_prob(self, z, context=None):
        return -(z.abs() + math.log(2)).flatten(1).sum(1)

    def from_noise(self, noise, context=None):
        (eps,) = noise
        tail = 0.5 * torch.special.erfc(eps.abs() / math.sqrt(2))
        return -eps.sign() * (2 * tail).log()


@wrong("base", "normalized", "integrates to")
class UnnormalizedDensity(_Laplace):
    """Without its normalizing constant: likelihoods of two models can't be compared."""

    def log_prob(self, z, context=None):
        return -z.abs().flatten(1).sum(1)


@wrong("base", "density", "the same location and scale")
class NoiseOfOtherScale(StandardNormal):
    """from_noise and log_prob have different scales: samples are not from the density."""

    def from_noise(self, noise, context=None):
        return 2 * noise[0]


@wrong("base", "density")
class NoiseFolded(StandardNormal):
    """from_noise reaches half of the line only."""

    def from_noise(self, noise, context=None):
        return noise[0].abs() * 1.5


@wrong("base", "temperature")
class NoiseOnASphere(StandardNormal):
    """Divides by the norm of the noise: at temperature 0 everything is NaN."""

    def from_noise(self, noise, context=None):
        (eps,) = noise
        return eps * eps.norm() / eps.norm()


@wrong("base", "shapes")
class DensityOfEachElement(StandardNormal):
    """log p of every element, where that of the event is wanted."""

    def log_prob(self, z, context=None):
        return -0.5 * (z.square() + math.log(2 * math.pi))


@wrong("base", "device", seen="bayesiains/nflows#8")
class LocationOnTheCPU(StandardNormal):
    """A location that is no buffer: sampling on the GPU fails."""

    def __init__(self, event):
        super().__init__(event)
        self.location = torch.ones(event, dtype=torch.float64)

    def log_prob(self, z, context=None):
        return super().log_prob(z - self.location)

    def from_noise(self, noise, context=None):
        return noise[0] + self.location


@wrong("base", "domains", "from_noise gives -.* outside of", support=Interval(0.0))
class ClaimsAHalfLine(StandardNormal):
    """Declares the positive numbers as its support, and gives all numbers."""


# Datasets


class _Points(Dataset):
    draws = 0

    def points(self, n, seed=0):
        return np.random.RandomState(seed).randn(n, 2).astype(np.float32)

    def load(self, split):
        return Arrays(
            self.points({"train": 80, "val": 10, "test": 10}[split], {"train": 0, "val": 1, "test": 2}[split])
        )


@wrong("dataset", "disjoint", "are in train too")
class TestsOnTrainingData(_Points):
    """The test part is a piece of the training part."""

    def load(self, split):
        return Arrays(self.points(80)[: 80 if split == "train" else 10])


@wrong("dataset", "repeatable", "fix the division")
class DividesAnew(_Points):
    """A division drawn from the global generator: a resumed run tests on what it was trained on."""

    def load(self, split):
        return Arrays(np.random.randn(10, 2))


@wrong("dataset", "parts", "not finite")
class HasMissingValues(_Points):
    """NaN for what is missing."""

    def load(self, split):
        x = self.points(10)
        x[3, 1] = np.nan
        return Arrays(x)


@wrong("dataset", "parts", "weights of train has")
class WeightsOfOtherEvents(_Points):
    """Fewer weights than events."""

    def load(self, split):
        return Arrays(super().load(split).x, weights=np.ones(7, np.float32))


@wrong("dataset", "parts", "differ in type or shape")
class OtherTypeInTest(_Points):
    """Integers in one part and floats in another."""

    def load(self, split):
        x = super().load(split).x
        return Arrays(x.astype(np.int64) if split == "test" else x)


@wrong("dataset", "parts", "9 rows, and 10 events")
class OneLabelTooFew(_Points):
    """Labels and events of different lengths."""

    def load(self, split):
        return Arrays(self.points(10), np.zeros(9, np.int64))


@wrong("dataset", "parts", "weights of train must be 0 or more")
class WeightsBelowZero(_Points):
    """Logarithms of weights in the place of weights."""

    def load(self, split):
        x = super().load(split).x
        return Arrays(x, weights=-np.ones(len(x), np.float32))


@wrong("dataset", "parts", "context of train has the label -1: labels count from 0")
class LabelsFromMinusOne(_Points):
    """-1 for what has no label, as scikit-learn's clusters have it."""

    def load(self, split):
        x = super().load(split).x
        return Arrays(x, np.arange(len(x)) % 3 - 1)


@wrong("dataset", "parts", "x of train: its arrays have masks")
class MasksWhatIsMissing(_Points):
    """A masked array for values that are missing: what lies behind the masks is trained on."""

    def load(self, split):
        x = super().load(split).x
        return Arrays(np.ma.masked_array(x, mask=x > 1))


@wrong("dataset", "disjoint", "are in train too")
class SameEventsButForRounding(_Points):
    """Events of all parts are the same, and noise tells them apart that float32 rounds away."""

    def load(self, split):
        return Arrays(self.points(20).astype(np.float64) + 1e-10 * len(split))
