"""Defines the encoder NAME/encoder."""

from flowkit.bijectors import Encoder
from flowkit.plugin import Shape
from torch import Tensor, nn


class NameEncoder(Encoder):
    """Summarizes a set {x_1, …, x_n} as V Σ_i a_i h_i, with h_i = tanh(W x_i + b) and a = softmax_i(u·h_i).

    The shapes are [batch, n, d] -> [batch, features].

    References:
        Ilse et al. 2018, "Attention-based Deep Multiple Instance Learning", eq. 7 and 8.
    """

    def __init__(self, context_shape: Shape, features: int = 8, hidden: int = 32) -> None:
        super().__init__()
        self.features, self.hidden = features, hidden
        self.first = nn.Linear(context_shape[-1], hidden)
        self.weight = nn.Linear(hidden, 1, bias=False)
        self.last = nn.Linear(hidden, features)

    def forward(self, context: Tensor) -> Tensor:
        h = self.first(context).tanh()  # [batch, n, hidden]
        return self.last((self.weight(h).softmax(1) * h).sum(1))  # [batch, features]
