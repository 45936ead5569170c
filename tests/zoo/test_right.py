"""Unusual plugins that are right, and that the conformance kit passes whatever the seed."""

import math

import pytest
import torch
from torch import nn

from flowkit.bijectors import (
    Base,
    Bijector,
    Conditioner,
    Noise,
    Transformer,
    log_normal,
    numeric_inverse,
    sum_over_event,
)
from flowkit.domains import POSITIVE, Circle, Interval
from flowkit.testing import BaseSubject, BijectorSubject, ConditionerSubject, TransformerSubject, check
from flowkit.testing.bases import normalized
from flowkit_base.uniform import Uniform as BoxUniform
from flowkit_map.interval import Logit
from tests.extent import extent
from tests.plugins.cases import subjects


class _Inverse(torch.autograd.Function):
    """x of y = x + a tanh x, with the gradients of implicit functions; in the style torch.func refuses.

    By bisection, of which the last steps are Newton's: a graph has each step.
    """

    @staticmethod
    def forward(ctx, y, a):
        low, high = y - a, y + a
        for _ in range(12):
            middle = (low + high) / 2
            below = middle + a * torch.tanh(middle) < y
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        x = middle
        for _ in range(3):
            t = torch.tanh(x)
            x = x - (x + a * t - y) / (1 + a * (1 - t * t))
        ctx.save_for_backward(x, a)
        return x

    @staticmethod
    def backward(ctx, gradient):
        x, a = ctx.saved_tensors
        t = torch.tanh(x)
        slope = 1 + a * (1 - t * t)
        return gradient / slope, (-gradient * t / slope).sum(0)


class Bisection(Bijector):
    """No closed inverse."""

    def __init__(self, event):
        super().__init__(event)
        self.log_a = nn.Parameter(torch.zeros(event))

    def forward_and_log_det(self, x, context=None):
        return x + self.log_a.exp() * torch.tanh(x), self._log_det(x)

    def inverse_and_log_det(self, y, context=None):
        x = _Inverse.apply(y, self.log_a.exp())
        return x, -self._log_det(x)

    def _log_det(self, x):
        return torch.log1p(self.log_a.exp() * (1 - torch.tanh(x).square())).flatten(1).sum(1)


class FixedScale(Bijector):
    """A parameter that is not trained."""

    def __init__(self, event):
        super().__init__(event)
        self.log_scale = nn.Parameter(torch.rand(event), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(event))

    def forward_and_log_det(self, x, context=None):
        return x * self.log_scale.exp() + self.bias, x.new_zeros(x.shape[0]) + self.log_scale.sum()

    def inverse_and_log_det(self, y, context=None):
        return (y - self.bias) * (-self.log_scale).exp(), y.new_zeros(y.shape[0]) - self.log_scale.sum()


class Sinh(Bijector):
    """No parameters, and values that grow fast."""

    def forward_and_log_det(self, x, context=None):
        return x.sinh(), x.cosh().log().sum(1)

    def inverse_and_log_det(self, y, context=None):
        return y.asinh(), -torch.log1p(y.square()).sum(1) / 2


class Leaky(Transformer):
    """A kink at 0, where rounding may lead to the other side."""

    n_params = 1

    def forward(self, x, theta):
        log_slope = (x < 0).to(x) * 2 * torch.tanh(theta[:, 0])
        return x * log_slope.exp(), log_slope

    def inverse(self, y, theta):
        return self.forward(y, -theta)


class Power(Transformer):
    """Of numbers between 0 and 1, of which it takes neither."""

    n_params = 1

    def forward(self, x, theta):
        log_power = torch.tanh(theta[:, 0])
        return x.pow(log_power.exp()), log_power + torch.expm1(log_power) * x.log()

    def inverse(self, y, theta):
        return self.forward(y, -theta)


class Turn(Transformer):
    """A circle far from 0, whose end comes out as its beginning, or as any other point."""

    n_params = 1

    def forward(self, x, theta):
        return 100 + torch.remainder(x - 100 + theta[:, 0], 24), torch.zeros_like(x)

    def inverse(self, y, theta):
        return self.forward(y, -theta)


class LeakyByContext(Bijector):
    """Only negative values feel the context, and a few draws may all be positive."""

    def __init__(self, event, context):
        super().__init__(event)
        self.linear = nn.Linear(*context, *event)

    def forward_and_log_det(self, x, context=None):
        return self._scaled(x, self.linear(context).tanh())

    def inverse_and_log_det(self, y, context=None):
        return self._scaled(y, -self.linear(context).tanh())

    def _scaled(self, value, log_slope):
        each = torch.where(value < 0, log_slope, 0)
        return value * each.exp(), each.sum(1)


class TwoBends(Transformer):
    """y = x + (tanh(x - a) + tanh(x - b)) / 2, by search: components that start apart, as they would stay equal."""

    n_params = 2

    def __init__(self):
        super().__init__(starting_theta=[-1.0, 1.0])

    def forward(self, x, theta):
        bends = torch.tanh(x[:, None] - theta)
        return x + bends.mean(1), torch.log1p((1 - bends.square()).mean(1))

    def inverse(self, y, theta):
        return numeric_inverse(lambda x: self(x, theta), y, y - 1, y + 1)


class FourierFeatures(Conditioner):
    """Random frequencies that are saved and not trained."""

    def __init__(self):
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(3, 8), requires_grad=False)
        self.last = nn.Linear(8, 4)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, kept, context=None):
        return self.last((kept @ self.frequencies).cos()).unflatten(1, (2, 2))


class Tied(Conditioner):
    """Two layers with the same weights."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 4)
        self.second.weight = self.first.weight
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, kept, context=None):
        return self.last(self.second(self.first(kept).tanh()).tanh()).unflatten(1, (2, 2))


class ByNetworks(Bijector):
    """A network from outside writes the weights of another map. A third one has parametrizations, and is tied."""

    def __init__(self, event, context, network):
        super().__init__(event)
        self.network = network
        self.linear = nn.utils.parametrizations.weight_norm(nn.Linear(*context, *event))
        self.tied = [self.linear]

    def forward_and_log_det(self, x, context=None):
        log_scale = self.network(context).tanh()
        return x * log_scale.exp() + self.tied[0](context), log_scale.sum(1)

    def inverse_and_log_det(self, y, context=None):
        log_scale = self.network(context).tanh()
        return (y - self.tied[0](context)) * (-log_scale).exp(), -log_scale.sum(1)


class Exponential(Bijector):
    """x = exp(s z) has one direction. initialize reads the logarithm of x, which is positive, as z isn't."""

    def __init__(self, event):
        super().__init__(event)
        self.log_scale = nn.Parameter(torch.zeros(event))

    def inverse_and_log_det(self, y, context=None):
        x = (y * self.log_scale.exp()).exp()
        return x, (self.log_scale + x.log()).sum(1)

    def initialize(self, x, context=None):
        self.log_scale.copy_(x.log().square().mean(0).log() / 2)


class Uniform(Base):
    """A density with jumps."""

    def log_prob(self, z, context=None):
        return torch.where((z >= 0) & (z <= 1), 0.0, -math.inf).to(z).flatten(1).sum(1)

    def from_noise(self, noise, context=None):
        return torch.special.ndtr(noise[0])


class Cauchy(Base):
    """By its quantiles, from uniform noise."""

    noise = property(lambda self: (Noise("uniform", self.event_shape),))

    def log_prob(self, z, context=None):
        return -(math.pi * (1 + z.square())).log().flatten(1).sum(1)

    def from_noise(self, noise, context=None):
        return torch.tan(math.pi * (noise[0] - 0.5))


class TwoLogistics(Base):
    """A mixture by one uniform number for each value, which chooses the component too."""

    reparametrized = False
    noise = property(lambda self: (Noise("uniform", self.event_shape),))

    def log_prob(self, z, context=None):
        each = [t + 2 * nn.functional.softplus(-t) for t in (z - 1, z + 2)]
        return (torch.logaddexp(-each[0], -each[1]) - math.log(2)).sum(1)

    def from_noise(self, noise, context=None):
        u = 2 * noise[0]
        return torch.where(u < 1, 1 + torch.logit(u.clamp(max=0.9999999)), torch.logit((u - 1).clamp(min=1e-7)) - 2)


class Laplace(Base):
    """A sign and a distance, both from uniform noise, around a location that the context gives."""

    noise = property(lambda self: (Noise("uniform", self.event_shape), Noise("uniform", self.event_shape)))

    def log_prob(self, z, context=None):
        return -((z - context).abs() + math.log(2)).flatten(1).sum(1)

    def from_noise(self, noise, context=None):
        sign, u = noise
        return context + torch.where(sign > 0.5, 1.0, -1.0) * -u.log()


class ShiftByClass(Bijector):
    """A shift for each class, which it looks up."""

    def __init__(self, event, context):
        super().__init__(event)
        self.shift = nn.Parameter(torch.zeros(*context, *event))

    def forward_and_log_det(self, x, context=None):
        return x + self.shift[context.argmax(1)], torch.zeros_like(x[:, 0])

    def inverse_and_log_det(self, y, context=None):
        return y - self.shift[context.argmax(1)], torch.zeros_like(y[:, 0])


class Bound(Bijector):
    """Its log-det is a lower bound, as that of a layer that draws what it adds."""

    def __init__(self, event):
        super().__init__(event)
        self.log_scale = nn.Parameter(torch.zeros(event))

    def forward_and_log_det(self, x, context=None):
        return x * self.log_scale.exp(), self.log_scale.sum() - 0.5 + 0 * x[:, 0]

    def inverse_and_log_det(self, y, context=None):
        return y * (-self.log_scale).exp(), -self.log_scale.sum() - 0.5 + 0 * y[:, 0]


class SinhArcsinh(Bijector):
    """An exponential of an exponential, which overflows where the logarithm of its tail weight is large."""

    def __init__(self, event):
        super().__init__(event)
        self.log_tail, self.skewness = nn.Parameter(torch.zeros(event)), nn.Parameter(torch.zeros(event))

    def forward_and_log_det(self, x, context=None):
        y = torch.sinh(self.log_tail.exp() * torch.asinh(x) + self.skewness)
        return y, self._log_det(x, y)

    def inverse_and_log_det(self, y, context=None):
        x = torch.sinh((torch.asinh(y) - self.skewness) * (-self.log_tail).exp())
        return x, -self._log_det(x, y)

    def _log_det(self, x, y):
        return (self.log_tail + (torch.log1p(y.square()) - torch.log1p(x.square())) / 2).sum(1)


class FarNormal(Base):
    """A density far from 0."""

    def log_prob(self, z, context=None):
        return log_normal(z - 300)

    def from_noise(self, noise, context=None):
        return 300 + noise[0]


class Triangle(Base):
    """Two sides, and no number outside of them."""

    @property
    def noise(self):
        return (Noise("uniform", self.event_shape),)

    def log_prob(self, z, context=None):
        return sum_over_event(torch.log1p(-z.abs()))

    def from_noise(self, noise, context=None):
        (u,) = noise
        return torch.where(u < 0.5, (2 * u).sqrt() - 1, 1 - (2 - 2 * u).sqrt())


class NormalScores(Bijector):
    """Quantiles of the standard normal distribution: under that base the likelihood is constant."""

    def forward_and_log_det(self, x, context=None):
        y = torch.special.ndtri(x)
        return y, sum_over_event(y.square() / 2 + math.log(2 * math.pi) / 2)

    def inverse_and_log_det(self, y, context=None):
        return torch.special.ndtr(y), -sum_over_event(y.square() / 2 + math.log(2 * math.pi) / 2)


class Recurrent(Conditioner):
    """A network that torch compiles only if it is told to."""

    def __init__(self, kept_shape, params_shape, context_shape=None):
        super().__init__()
        self.params_shape = params_shape
        self.gru = nn.GRU(1, 4, batch_first=True)
        self.last = nn.Linear(4, math.prod(params_shape))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, kept, context=None):
        return self.last(self.gru(kept[..., None])[1][-1]).unflatten(1, self.params_shape)


RIGHT = {
    "triangle": lambda seed: BaseSubject(lambda: Triangle((1,)), support=Interval(-1, 1), seed=seed),
    "recurrent": lambda seed: ConditionerSubject(lambda: Recurrent((3,), (2, 2)), (3,), (2, 2), seed=seed),
    "labels": lambda seed: BijectorSubject(
        lambda: ShiftByClass((2,), (3,)), context_shape=(3,), labels=True, seed=seed
    ),
    "by-networks": lambda seed: BijectorSubject(
        lambda: ByNetworks((3,), (2,), nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))), (2,), seed=seed
    ),
    "bound": lambda seed: BijectorSubject(lambda: Bound((2,)), likelihood="lower_bound", seed=seed),
    "sinh-arcsinh": lambda seed: BijectorSubject(lambda: SinhArcsinh((5,)), seed=seed + 1),
    "far-normal": lambda seed: BaseSubject(lambda: FarNormal((2,)), seed=seed),
    "far-uniform": lambda seed: BaseSubject(
        lambda: BoxUniform((2,), Interval(1000.0, 1001.0)), support=Interval(1000.0, 1001.0), seed=seed
    ),
    "wide": lambda seed: BijectorSubject(lambda: Logit((3,), 0.0, 1e7), domain=Interval(0.0, 1e7), seed=seed),
    "bisection": lambda seed: BijectorSubject(lambda: Bisection((3,)), seed=seed),
    "two-bends": lambda seed: TransformerSubject(TwoBends, seed=seed),
    "fixed-scale": lambda seed: BijectorSubject(lambda: FixedScale((4,)), seed=seed),
    "sinh": lambda seed: BijectorSubject(lambda: Sinh((3,)), seed=seed),
    "leaky": lambda seed: TransformerSubject(Leaky, seed=seed),
    "power": lambda seed: TransformerSubject(Power, domain=Interval(0, 1), seed=seed),
    "turn": lambda seed: TransformerSubject(Turn, domain=Circle(100, 124), seed=seed),
    "inverse": lambda seed: BijectorSubject(
        lambda: Exponential((2,)), domain=POSITIVE, directions="inverse", seed=seed
    ),
    "fourier-features": lambda seed: ConditionerSubject(FourierFeatures, (3,), (2, 2), seed=seed),
    "tied": lambda seed: ConditionerSubject(Tied, (3,), (2, 2), seed=seed),
    "uniform": lambda seed: BaseSubject(lambda: Uniform((2,)), seed=seed),
    "cauchy-1": lambda seed: BaseSubject(lambda: Cauchy((1,)), seed=seed),
    "cauchy-2": lambda seed: BaseSubject(lambda: Cauchy((2,)), seed=seed),
    "two-logistics": lambda seed: BaseSubject(lambda: TwoLogistics((2,)), seed=seed),
    "laplace": lambda seed: BaseSubject(lambda: Laplace((2,)), context_shape=(2,), seed=seed),
}


@pytest.mark.parametrize("name", RIGHT)
def test_passes(name):
    check(RIGHT[name](0))


def test_a_constant_density_is_compiled():
    check(RIGHT["uniform"](0), only=("compile",))


def test_a_recurrent_network_is_compiled():
    check(RIGHT["recurrent"](0), only=("compile",))


def test_gradients_of_a_constant_likelihood_are_roundings():
    check(BijectorSubject(lambda: NormalScores((5,)), domain=Interval(0, 1)), only=("autocast",))


@pytest.mark.parametrize("seed", range(10))
def test_a_context_may_matter_to_few_values(seed):
    subject = BijectorSubject(lambda: LeakyByContext((1,), (2,)), context_shape=(2,), seed=seed)
    check(subject, only=("context",))


@pytest.mark.parametrize("seed", [2000, 2002])
def test_roundings_of_gradients_are_no_error_of_a_compositions_log_det(seed):
    check(subjects(seed)["composition"], only=("autocast",))


def test_the_ends_of_a_support_are_those_of_the_integral():
    check(subjects(1004)["base-uniform"], only=("normalized",))


def test_the_few_units_of_a_network_may_be_dead_at_several_draws():
    check(subjects(1006)["made"], only=("earlier_values",))


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_passes_with_any_seed(name):
    for seed in range(1, extent(2, 31)):
        check(RIGHT[name](seed))


@pytest.mark.parametrize("seed", [19, 41])  # the first grids lose the same part of a step at both
def test_a_density_with_jumps_integrates_to_1(seed):
    normalized(RIGHT["uniform"](seed))
