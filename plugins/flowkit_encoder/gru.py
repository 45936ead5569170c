"""Defines the encoder of sequences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from flowkit.bijectors import Encoder
from flowkit.plugin import Shape
from flowkit_encoder.standardize import Standardize


class GRU(Encoder):
    """An encoder of sequences x_1, …, x_T: W h_T + b, with the last state h_T of gated recurrent units.

    The states begin with h_0 = 0. With the gates r (reset) and z (update), and the sigmoid σ:

        r = σ(W_r x_t + U_r h_{t-1} + b_r),  z = σ(W_z x_t + U_z h_{t-1} + b_z),
        h_t = z h_{t-1} + (1 - z) tanh(W_h x_t + b_h + r (U_h h_{t-1} + c_h)).

    The shapes are [batch, T, d] -> [batch, features]. With several ``layers`` each reads the states of the layer before
    it. Each of the d values of x is standardized by the first batch. In an ONNX graph each layer is one ``GRU``
    operator, whatever T.

    Args:
        context_shape: The shape of a sequence, [T, d].
        features: The number of values in the summary.
        hidden: The number of values of a state.
        layers: The number of recurrent layers.

    References:
        Cho et al. 2014, "Learning Phrase Representations using RNN Encoder–Decoder for Statistical Machine
        Translation", §2.3.

    Examples:
        >>> import torch
        >>> from flowkit_encoder.gru import GRU
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
        h = self.standardize(context)
        states = states_as_one_operator if torch.compiler.is_exporting() else states_of
        for first in range(0, 4 * self.layers, 4):
            w, u, b, c = list(self.weights)[first : first + 4]
            h = states(h, w, u, b, c, self.hidden)
        return self.last(h[:, -1])

    def initialize(self, context: Tensor) -> None:
        self.standardize.initialize(context)

    @staticmethod
    def onnx_translations() -> dict[Any, Any]:
        """Return the translation of a layer of states: one GRU operator of ONNX."""
        from onnxscript import opset18  # here: only an export needs it

        op: Any = opset18

        def in_order(weight: Any) -> Any:
            """Return the rows of the gates in ONNX's order, which is z, r, h; torch's is r, z, h."""
            r, z, h = op.Split(weight, num_outputs=3, axis=0)
            return op.Unsqueeze(op.Concat(z, r, h, axis=0), op.Constant(value_ints=[0]))

        def gru(x: Any, w: Any, u: Any, b: Any, c: Any, hidden: int) -> Any:
            biases = op.Concat(in_order(b), in_order(c), axis=1)
            steps = op.Transpose(x, perm=[1, 0, 2])
            h, _ = op.GRU(steps, in_order(w), in_order(u), biases, hidden_size=hidden, linear_before_reset=1)
            return op.Transpose(op.Squeeze(h, op.Constant(value_ints=[1])), perm=[1, 0, 2])

        return {torch.ops.flowkit_encoder.gru.default: gru}


def states_of(x: Tensor, w: Tensor, u: Tensor, b: Tensor, c: Tensor, hidden: int) -> Tensor:
    """Return the states h_1, …, h_T of a layer, [batch, T, hidden].

    With ``train=False`` cuDNN gives no gradients. Without dropout it makes no other difference.
    """
    start = x.new_zeros(1, x.shape[0], hidden)
    states, _ = torch.gru(
        x, start, [w, u, b, c], has_biases=True, num_layers=1, dropout=0.0, train=True, bidirectional=False,
        batch_first=True,
    )  # fmt: skip
    return states


# While it exports, torch would trace each step of torch.gru, several times.
states_as_one_operator = torch.library.custom_op("flowkit_encoder::gru", states_of, mutates_args=())


@states_as_one_operator.register_fake
def _(x: Tensor, w: Tensor, u: Tensor, b: Tensor, c: Tensor, hidden: int) -> Tensor:
    return x.new_empty(*x.shape[:2], hidden)
