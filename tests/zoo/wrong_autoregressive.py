"""Wrong masked conditioners and orders."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from flowkit.bijectors import Order
from flowkit_autoregressive.made import MADE
from flowkit_autoregressive.orders import Natural, Random
from tests.zoo.zoo import wrong

# Masked conditioners


@wrong("masked-conditioner", "autoregressive", "mask off by one")
class ReadsItsOwnValue(MADE):
    """A mask off by one: >= in the last layer too, so that θ_i reads x_i. No inverse, no triangular Jacobian."""

    def __init__(self, order, params_shape, context_shape=None, **fields):
        super().__init__(order, params_shape, context_shape, **fields)
        own = F.one_hot(order.ranks().flatten(), len(order.ranks().flatten()))
        self.own = nn.Parameter(torch.zeros(params_shape[0], 1))
        self.register_buffer("permutation", own.float(), persistent=False)

    def forward(self, x, context=None):
        mixed = x.flatten(1)[:, None] * self.own
        return super().forward(x, context) + mixed.unflatten(2, self.params_shape[1:])


@wrong("masked-conditioner", "autoregressive", "follow the order")
class IgnoresTheOrder(MADE):
    """Masks for the order of the event, whatever order the layer has: right for the natural one only."""

    def __init__(self, order, *shapes, **fields):
        super().__init__(Natural(order.event_shape), *shapes, **fields)


@wrong("masked-conditioner", "autoregressive", "follow the order")
class ForgetsAMask(MADE):
    """One layer is a plain linear one: all its units read all units."""

    def __init__(self, *arguments, **fields):
        super().__init__(*arguments, **fields)
        linear = self.linears[1]
        self.linears[1] = nn.Linear(linear.in_features, linear.out_features)


@wrong("masked-conditioner", "autoregressive", "changes with values from there on")
class StepsOnTheLastValue(MADE):
    """Every θ changes where the last value of the order changes its sign. A step has no derivative."""

    def __init__(self, order, *shapes, **fields):
        super().__init__(order, *shapes, **fields)
        self.last_value = list(order.sequence())[-1]
        self.step = nn.Parameter(torch.zeros(()))

    def forward(self, x, context=None):
        positive = (x.flatten(1)[:, self.last_value] > 0).to(x)
        return super().forward(x, context) + self.step * positive.reshape(-1, 1, *[1] * (x.dim() - 1))


@wrong("masked-conditioner", "earlier_values", "lose a connection", seen="nflows 0.14, MADE", event=(9,), hidden=4)
class LosesConnections(MADE):
    """Degrees go round from the least, and units are fewer than values: the later values of the order reach nobody."""

    def __init__(self, order, params_shape, context_shape=None, **fields):
        super().__init__(order, params_shape, context_shape, **fields)
        degrees, ranks = 1 + torch.arange(self.hidden), order.ranks().flatten()
        self.linears[0].mask.copy_(degrees[:, None] > ranks)
        self.linears[1].mask.copy_(degrees[:, None] >= degrees)
        self.last.mask.copy_((ranks[:, None] >= degrees).repeat(params_shape[0], 1))


@wrong("masked-conditioner", "context_for_each", "read the context alone", seen="nflows 0.14, MADE", context=(3,))
class NoContextForTheFirst(MADE):
    """Hidden units have degrees from 1 on: θ of the first value is connected to none, and so to no context."""

    def __init__(self, *arguments, **fields):
        super().__init__(*arguments, **fields)
        self.last.mask[self.last.mask.sum(1) == self.last.mask.sum(1).min()] = 0


@wrong("masked-conditioner", "context", "ignores its context", context=(2,))
class LeavesTheContextOut(MADE):
    """Takes a context and never looks at it."""

    def forward(self, x, context=None):
        return super().forward(x, torch.zeros_like(context))


@wrong("masked-conditioner", "start", "set the last layer to zero")
class BeginsFarFromZero(MADE):
    """The last layer starts as any other: a deep flow starts far from the identity, and training diverges."""

    def __init__(self, *arguments, **fields):
        super().__init__(*arguments, **fields)
        nn.init.normal_(self.last.bias)


@wrong("masked-conditioner", "reach", "does not depend on")
class LayerNeverCalled(MADE):
    """A layer is made and never called: its weights are counted, saved, and never learn."""

    def __init__(self, *arguments, **fields):
        super().__init__(*arguments, **fields)
        self.forgotten = nn.Linear(3, 3)


@wrong("masked-conditioner", "initialize", "constant data")
class DividesByTheSpread(MADE):
    """Divides its weights by the standard deviation of a value, which is 0 on constant data."""

    def initialize(self, x, context=None):
        self.last.bias.copy_(self.last.bias / x.std(0).sum())


@wrong("masked-conditioner", "initialize_saved", "neither parameter nor buffer")
class ScaleOfTheFirstBatch(MADE):
    """What initialize measures is kept as a number of Python: a loaded model is another one."""

    scale = 1.0

    def initialize(self, x, context=None):
        self.scale = 1 / (1 + x.abs().mean().item())

    def forward(self, x, context=None):
        return super().forward(self.scale * x, context)


@wrong("masked-conditioner", "by_value", "by by_value, of index 0")
class InvertsAnotherNetwork(MADE):
    """forward is overridden, and by_value is not: the inverse runs the network as it was before."""

    def forward(self, x, context=None):
        return 0.5 * super().forward(x, context)


@wrong("masked-conditioner", "freeze", "frozen - as it is trained")
class FreezesWithoutMasks(MADE):
    """freeze makes plain layers of the weights and forgets the masks: the exported model is another one."""

    def freeze(self):
        frozen = super().freeze()
        frozen.last.weight.data = self.last.weight.detach().clone()
        return frozen


@wrong("masked-conditioner", "autocast", "dtypes match")
class FillsATensorOfTheEvent(MADE):
    """Fills a tensor of the event's type with what the network gives: torch refuses, where that is of another type."""

    def forward(self, x, context=None):
        theta = x.new_zeros(x.shape[0], *self.params_shape)
        theta[:, torch.ones(self.params_shape, dtype=torch.bool)] = super().forward(x).flatten(1)
        return theta


# Orders


@wrong("order", "permutation", "each index of the flattened event once")
class CountsChannelsOnly(Order):
    """An order of the channels of an image, where that of all its values is wanted."""

    def __init__(self, event_shape=(4, 2, 2)):
        super().__init__((*event_shape, 2))

    def sequence(self):
        return range(self.event_shape[0])


@wrong("order", "permutation", "each index of the flattened event once")
class CountsFromOne(Natural):
    """Places counted from 1."""

    def sequence(self):
        return [1 + index for index in super().sequence()]


@wrong("order", "deterministic", "built again", event=(9,))
class DrawnAnew(Order):
    """A permutation from the global generator: a loaded model has the masks of another order."""

    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.drawn = torch.randperm(math.prod(event_shape)).tolist()

    def sequence(self):
        return self.drawn


@wrong("order", "deterministic", "a second call", event=(9,))
class DrawnAtEachCall(Order):
    """Every call draws another permutation: the masks have one order, and the inverse has another."""

    def sequence(self):
        return torch.randperm(math.prod(self.event_shape)).tolist()


@wrong("order", "deterministic", "built again", event=(9,))
class SortedByHash(Order):
    """A permutation by hashes of texts, which are others in each process of Python."""

    def sequence(self):
        return sorted(range(math.prod(self.event_shape)), key=lambda index: hash(str(index)))


@wrong("order", "settings", "seeds the random generator of torch")
class SeedsTorch(Random):
    """torch.manual_seed for its permutation: whatever is drawn afterwards is the same at each start."""

    def __init__(self, event_shape):
        torch.manual_seed(0)
        super().__init__(event_shape)
