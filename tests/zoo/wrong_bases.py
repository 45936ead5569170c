"""Wrong base distributions with noise and context of their own."""

from __future__ import annotations

import copy

import torch
from torch.nn import functional as F

from flowkit.bijectors import Base, Noise, log_normal, sum_over_event
from flowkit.domains import Interval
from flowkit_base.class_conditional_normal import ClassConditionalNormal
from flowkit_base.conditional_normal import ConditionalNormal
from flowkit_base.diagonal_normal import DiagonalNormal
from flowkit_base.gaussian_mixture import GaussianMixture
from flowkit_base.student_t import StudentT
from flowkit_base.uniform import Uniform
from flowkit_glow.mlp import MLP
from tests.zoo.zoo import wrong

CLASSES = {"context_shape": (3,), "labels": True}


class _Mixture(GaussianMixture):
    def __init__(self, event):
        super().__init__(event, components=3)


class _ByClass(ClassConditionalNormal):
    def __init__(self, event):
        super().__init__(event, (3,))


class _ByNetwork(ConditionalNormal):
    def __init__(self, event):
        super().__init__(event, (2,), MLP((2,), (2, *event), hidden=6))


@wrong("base", "normalized", "integrates to")
class WeightsNotNormalized(_Mixture):
    """The weights of a mixture are exp(logits), which don't sum to 1."""

    def log_prob(self, z, context=None):
        return super().log_prob(z) + self.logits.logsumexp(0)


@wrong("base", "samples", "of the samples lie in", event=(1,))
class ChoosesEquallyOften(_Mixture):
    """Chooses all components equally often, whatever their weights are."""

    def edges(self):
        return torch.linspace(0, 1, self.components + 1, dtype=torch.float64)[1:-1]


@wrong("base", "reparametrized", "samples have no gradient for it: .*say reparametrized = False")
class SaysThatItMakesNoChoice(_Mixture):
    """Chooses a component, and doesn't say so: gradients of its samples leave out those of the weights."""

    reparametrized = True


@wrong("base", "samples", "of the samples lie in")
class ChoosesForEachValue(_Mixture):
    """Chooses a component for each value, with the density of events that have one component."""

    @property
    def noise(self):
        return (Noise("uniform", self.event_shape), Noise("normal", self.event_shape))

    def from_noise(self, noise, context=None):
        u, eps = noise
        return torch.stack([super(_Mixture, self).from_noise([u[:, i], eps])[:, i] for i in range(u.shape[1])], 1)


@wrong("base", "samples", "do from_noise and log_prob use the same parameters", event=(1,))
class FreedomOffByOne(StudentT):
    """log_prob has ν + 1 degrees of freedom, and from_noise ν."""

    def log_prob(self, z, context=None):
        nu = self.log_nu.exp() + 1
        constant = torch.lgamma((nu + 1) / 2) - torch.lgamma(nu / 2) - (torch.pi * nu).log() / 2
        return sum_over_event(constant - (nu + 1) / 2 * torch.log1p(z.square() / nu))


@wrong("base", "samples", "of the samples lie in")
class OneNormalForEachValue(StudentT):
    """The radius of the polar form is that of one normal number, not of two."""

    def from_noise(self, noise, context=None):
        return super().from_noise([noise[0], noise[0]])


@wrong("base", "density", "of from_noise")
class ClampsItsScales(DiagonalNormal):
    """Scales are clamped, and the normalizing constant has them as they were."""

    def log_prob(self, z, context=None):
        unclamped = super().log_prob(z * 0)
        scaled = (z - self.mean) * (-self.log_scale.clamp(-1, 1)).exp()
        return log_normal(scaled) + unclamped - log_normal(-self.mean[None] * (-self.log_scale).exp())

    def from_noise(self, noise, context=None):
        return self.mean + self.log_scale.clamp(-1, 1).exp() * noise[0]


@wrong("base", "density", "of from_noise", event=(5,))
class SumsOverTwoValues(Base):
    """Logistic values, of which the density is that of the first two: right for the events that one looks at."""

    noise = property(lambda self: (Noise("uniform", self.event_shape),))

    def log_prob(self, z, context=None):
        each = F.logsigmoid(z) + F.logsigmoid(-z)
        return each[:, :2].sum(1)

    def from_noise(self, noise, context=None):
        return noise[0].logit()


@wrong("base", "shapes", "not enough values to unpack")
class DeclaresLessNoise(StudentT):
    """Declares one array of noise and takes two."""

    @property
    def noise(self):
        return (Noise("normal", self.event_shape),)


@wrong("base", "density", "of from_noise", support=Interval(0.0, 2.0), event=(1,))
class SquaresItsNoise(Uniform):
    """from_noise squares the uniform number: small values are too frequent."""

    def __init__(self, event):
        super().__init__(event, Interval(0.0, 2.0))

    def from_noise(self, noise, context=None):
        return super().from_noise([noise[0].square()])


@wrong("base", "context", "from_noise ignores its context", **CLASSES)
class SamplesOfAnyClass(_ByClass):
    """Samples have the mean of the first class, whatever the context is."""

    def from_noise(self, noise, context=None):
        return super().from_noise(noise, torch.zeros_like(context).index_fill(1, torch.tensor(0), 1.0))


@wrong("base", "context", "log_prob ignores its context", **CLASSES)
class DensityOfAnyClass(_ByClass):
    """The density is that of the first class, whatever the context is."""

    def log_prob(self, z, context=None):
        return super().log_prob(z, torch.zeros_like(context).index_fill(1, torch.tensor(0), 1.0))


@wrong("base", "batch_independence", **CLASSES)
class ClassOfTheFirstRow(_ByClass):
    """All events have the class of the first."""

    def log_prob(self, z, context=None):
        return super().log_prob(z, context[:1].expand_as(context))


@wrong("base", "density", "the same location and scale", context_shape=(2,))
class ClampsItsContext(_ByNetwork):
    """Samples have a clamped location: those of contexts that are far from the others aren't from the density."""

    def from_noise(self, noise, context=None):
        return super().from_noise(noise, context.clamp(-4, 4))


@wrong("base", "density", "the same location and scale", context_shape=(2,))
class ScaleOfAnotherContext(_ByNetwork):
    """from_noise scales by what the network gives for the negative of the context."""

    def from_noise(self, noise, context=None):
        (eps,) = noise
        return self._mean_and_log_scale(context)[0] + self._mean_and_log_scale(-context)[1].exp() * eps


@wrong("base", "normalized", "integrates to", event=(1,))
class NoLogDetOfTheScale(DiagonalNormal):
    """log_prob leaves out -Σ log σ."""

    def log_prob(self, z, context=None):
        return super().log_prob(z) + self.log_scale.sum()


@wrong("base", "freeze", "frozen - as it is trained")
class FreezesAnother(DiagonalNormal):
    """freeze() makes a base with the parameters of the start."""

    def freeze(self):
        return DiagonalNormal(self.event_shape).double()


@wrong("base", "freeze", "frozen again, after the parameters have moved")
class FreezesItOnce(DiagonalNormal):
    """freeze() keeps what it gave: exported again after more training, it is the old model."""

    def __init__(self, event):
        super().__init__(event)
        self.frozen = []

    def freeze(self):
        self.frozen = self.frozen or [copy.deepcopy(self)]
        return self.frozen[0]


@wrong("base", "freeze", "freeze changes mean, or whether it is trained")
class StopsTraining(DiagonalNormal):
    """freeze() gives the base itself, with parameters that are trained no more."""

    def freeze(self):
        return self.requires_grad_(False)


@wrong("base", "initialize", "not finite after initialize on constant data")
class DividesByTheDeviation(DiagonalNormal):
    """Starts with the standard deviation of the first latents, which is 0 where they are constant."""

    def initialize(self, z, context=None):
        self.mean.copy_(z.mean(0))
        self.log_scale.copy_(z.std(0, correction=0).log())


@wrong("base", "initialize_saved", "neither parameter nor buffer")
class MeanOfTheFirstLatents(DiagonalNormal):
    """Subtracts the mean of the first latents, which isn't saved: a run that is loaded has another density."""

    center = 0.0

    def initialize(self, z, context=None):
        self.center = z.mean(0)

    def log_prob(self, z, context=None):
        return super().log_prob(z - self.center)

    def from_noise(self, noise, context=None):
        return super().from_noise(noise) + self.center
