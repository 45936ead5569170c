"""Wrong encoders of contexts."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from flowkit_encoder.deep_set import DeepSet
from flowkit_encoder.gru import GRU
from flowkit_encoder.mlp import MLPEncoder
from tests.zoo.zoo import wrong

# Each row by itself


@wrong("encoder", "batch_independence", "when the other rows change")
class NormalizesByTheBatch(MLPEncoder):
    """Batch normalization: in training the summary of a context depends on the others, and on the single one in use."""

    def __init__(self, *arguments, **fields):
        super().__init__(*arguments, **fields)
        self.norm = nn.BatchNorm1d(self.features)

    def forward(self, context):
        return self.norm(super().forward(context))


@wrong("encoder", "shapes", "has shape|fails for a batch")
class PoolsOverTheBatch(DeepSet):
    """The mean over dimension 0, the batch, in the place of dimension 1, the set."""

    def forward(self, context):
        return self.rho(self.phi(self.standardize(context)).mean(0))


@wrong("encoder", "batch_independence", "alone|in a batch of")
class ReadsBatchFirst(GRU):
    """A recurrent network that takes the batch for the steps of a sequence: batch_first was forgotten."""

    def forward(self, context):
        start = context.new_zeros(self.layers, context.shape[1], self.hidden)
        out, _ = torch.gru(
            self.standardize(context), start, list(self.weights), True, self.layers, 0.0, False, False, False
        )
        return self.last(out[:, -1])


# The shape that the config announces


@wrong("encoder", "shapes", "the summary of forward")
class KeepsTheSet(DeepSet):
    """No pooling: the summary is one vector for each element of the set."""

    def forward(self, context):
        return self.rho(self.phi(self.standardize(context)))


# Evaluation


@wrong("encoder", "pure", "random numbers in evaluation")
class DropsInEvaluation(MLPEncoder):
    """Dropout that ignores eval(): each call gives another summary."""

    def forward(self, context):
        return F.dropout(super().forward(context), 0.5)


# Gradients


@wrong("encoder", "summary", "is something detached")
class Detaches(DeepSet):
    """The pooled units are detached: what is before them is never trained."""

    def forward(self, context):
        return self.rho(self.phi(self.standardize(context)).mean(1).detach())


@wrong("encoder", "summary", "does not depend on .*unused")
class NeverCalls(MLPEncoder):
    """A layer that is made and never called: distributed training waits for its gradient."""

    def __init__(self, *arguments, **fields):
        super().__init__(*arguments, **fields)
        self.unused = nn.Linear(2, 2)


# Precision


@wrong("encoder", "precision", "given torch.float64, got torch.float32")
class ComputesInSingle(DeepSet):
    """Pools in fp32, whatever the precision of the context is."""

    def forward(self, context):
        return super().forward(context).float()


@wrong("encoder", "finite", "is not finite")
class PoolsByExponentials(DeepSet):
    """The logarithm of a sum of exponentials, written as it reads: it overflows for contexts far from 0."""

    def forward(self, context):
        return self.rho(self.phi(self.standardize(context)).exp().sum(1).log())


@wrong("encoder", "autocast", "Float|dtype|autocast")
class MixesPrecisions(MLPEncoder):
    """A product of its own weights and what a layer gives: under autocast one is bf16, and the other fp32."""

    def __init__(self, *arguments, **fields):
        super().__init__(*arguments, **fields)
        self.rotation = nn.Parameter(torch.eye(self.features))

    def forward(self, context):
        h = super().forward(context)
        with torch.autocast("cpu", enabled=False):
            return h @ self.rotation


# Initialization


@wrong("encoder", "initialize", "not finite after initialize on constant data")
class DividesByZero(MLPEncoder):
    """Standardizes by the first batch, without a thought of values that are constant in it."""

    def initialize(self, context):
        values = context.flatten(1)
        self.standardize.mean.copy_(values.mean(0))
        self.standardize.scale.copy_(values.std(0, correction=0))


@wrong("encoder", "initialize_saved", "neither parameter nor buffer")
class ForgetsItsScale(MLPEncoder):
    """The scale of the first batch is a plain attribute: a run that is loaded has another one."""

    factor = 1.0

    def initialize(self, context):
        self.factor = 1 / (1 + context.std().item())

    def forward(self, context):
        return super().forward(self.factor * context)


@wrong("encoder", "state", "register_buffer")
class DrawsItsProjection(MLPEncoder):
    """A random projection that is drawn when it is made, and not saved."""

    def __init__(self, *arguments, **fields):
        super().__init__(*arguments, **fields)
        self.projection = torch.randn(self.features, self.features, dtype=torch.float64)

    def forward(self, context):
        return super().forward(context) @ self.projection.to(context.dtype)


# Graphs


@wrong("encoder", "export", "can't be exported")
class LoopsOverTheBatch(DeepSet):
    """A Python loop over the contexts: the graph has the size of the batch that was traced."""

    def forward(self, context):
        return torch.stack([super(LoopsOverTheBatch, self).forward(one[None])[0] for one in context])
