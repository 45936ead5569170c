"""Lists the operators that a graph may have, with their output shapes, and those that need more care.

Operators are those of https://onnx.ai/onnx/operators, opsets 18 to 24. Sizes are upper bounds. A shape that depends on
values known only when the graph runs is rejected with a ValueError.
"""

from __future__ import annotations

from collections.abc import Callable

from flowkit_runtime.graph_check import computing, moving
from flowkit_runtime.graph_check.sizes import NodeCall, SizedShape, broadcast, checked

Rule = Callable[[NodeCall], SizedShape | list[SizedShape]]
"""A function that returns the shape of the output, or of each output."""


def _broadcast(call: NodeCall) -> SizedShape:
    return broadcast(*(value.shape for value in call.inputs if value is not None))


def _same(call: NodeCall) -> list[SizedShape]:
    return [call.shape()] * len(call.node.outputs)


_BROADCAST = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BitShift Cast CastLike
    Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity
    IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round
    Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
"""
_SAME = """
    BatchNormalization CumSum GroupNormalization Hardmax InstanceNormalization LayerNormalization LogSoftmax
    LpNormalization MeanVarianceNormalization RMSNormalization ScatterElements ScatterND Softmax Trilu
"""
_REDUCED = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
"""

RULES: dict[str, Rule] = {
    **dict.fromkeys(_BROADCAST.split(), _broadcast),
    **dict.fromkeys(_SAME.split(), _same),
    **dict.fromkeys(_REDUCED.split(), computing.reduced),
    **dict.fromkeys(("ArgMax", "ArgMin"), computing.arg),
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), computing.pool),
    **dict.fromkeys(
        ("GlobalAveragePool", "GlobalMaxPool"), lambda call: call.shape()[:2] + (1,) * len(call.shape()[2:])
    ),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), moving.blocks),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), computing.recurrent),
    "Attention": computing.attention,
    "Concat": moving.concat,
    "ConstantOfShape": lambda call: checked(call, call.numbers(0)),
    "Conv": computing.conv,
    "ConvTranspose": computing.conv_transpose,
    "DFT": computing.dft,
    "Det": lambda call: call.shape()[:-2],
    "Einsum": computing.einsum,
    "Expand": moving.expand,
    "EyeLike": lambda call: call.shape(),
    "Flatten": moving.flatten,
    "Gather": moving.gather,
    "GatherElements": lambda call: call.shape(1),
    "GatherND": moving.gather_nd,
    "Gemm": computing.gemm,
    "GridSample": computing.grid_sample,
    "MatMul": computing.matmul,
    "OneHot": moving.one_hot,
    "Pad": moving.pad,
    "Range": moving.ranged,
    "Reshape": moving.reshape,
    "Resize": computing.resize,
    "Shape": lambda call: (len(moving.dimensions(call)),),
    "Size": lambda call: (),
    "Slice": moving.sliced,
    "Split": moving.split,
    "Squeeze": moving.squeeze,
    "Tile": moving.tile,
    "TopK": moving.top_k,
    "Transpose": moving.transpose,
    "Unsqueeze": moving.unsqueeze,
}
"""The operators that a flow's graph may have, each with the rule for its output shapes."""

DRAWING = frozenset(
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"]
)
"""Operators that draw random numbers. Dropout does so in training mode, and has no use in inference."""

WITH_OPTIONAL = frozenset(["Attention", "Clip", "DFT", "GRU", "LSTM", "Loop", "Pad", "RNN", "Resize", "Slice"])
"""Operators that may leave out an input that isn't the last. Some other operators read the missing input, and crash."""

NEVER_EMPTY = frozenset(["ArgMax", "ArgMin", "Attention", "InstanceNormalization"])
"""Operators that crash, or give something else than their shape, if an input has a size of 0.

So the sizes of their inputs must be known exactly.
"""
