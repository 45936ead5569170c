"""Defines the encoder of sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowkit.bijectors import Encoder
from flowkit.plugin import Shape
from flowkit_encoder.standardize import Standardize


class GRU(Encoder):
    """The summary W h_T + b of a sequence x_1, …, x_T, with the last state h_T of gated recurrent units.

    The states begin with h_0 = 0. With the gates r (reset) and z (update), and the sigmoid σ (Cho et al. 2014, §2.3):

        r = σ(W_r x_t + U_r h_{t-1} + b_r),  z = σ(W_z x_t + U_z h_{t-1} + b_z),
        h_t = z h_{t-1} + (1 - z) tanh(W_h x_t + b_h + r (U_h h_{t-1} + c_h)).

    With several ``layers`` each reads the states of the layer before it. x is standardized, one scale for each of the
    d values: [batch, T, d] -> [batch, features]. In a graph each layer is one ``GRU`` operator, however long sequences
    are.

    Example:
        >>> GRU((100, 2))(torch.zeros(5, 100, 2)).shape
        torch.Size([5, 16])
    """

    def __init__(self, context_shape: Shape, features: int = 16, hidden: int = 64, layers: int = 1) -> None:
        super().__init__()
        self.features, self.hidden, self.layers = features, hidden, layers
        _, d = context_shape
        self.standardize = Standardize((d,))
        self.weights = nn.ParameterList(nn.GRU(d, hidden, layers).parameters())  # torch can't compile the module itself
        self.last = nn.Linear(hidden, features)

    def forward(self, context: Tensor) -> Tensor:
        x = self.standardize(context)
        start = x.new_zeros(self.layers, x.shape[0], self.hidden)
        _, states = torch.gru(
            x, start, list(self.weights), has_biases=True, num_layers=self.layers, dropout=0.0, train=self.training,
            bidirectional=False, batch_first=True,
        )  # fmt: skip
        return self.last(states[-1])

    def initialize(self, context: Tensor) -> None:
        self.standardize.initialize(context)
