"""Every first-party layer and transformer in the shapes that matter: what the conformance kit is run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowkit.flow import Bijector, Composition, Coupling, Transformer
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Additive, Affine
from flowkit_glow.conv1x1 import Conv1x1
from flowkit_glow.convnet import ConvNet
from flowkit_glow.mlp import MLP
from flowkit_glow.permute import Permute
from flowkit_glow.plugin import ChannelsConfig, CheckerboardConfig
from flowkit_glow.rescale import Rescale
from flowkit_glow.splits import Channels, Checkerboard
from flowkit_glow.squeeze import Squeeze
from flowkit_spline.rational_quadratic import RationalQuadratic

IMAGE, ODD, COLUMN, VECTOR = (4, 3, 2), (3, 5, 3), (1, 3, 3), (5,)


def coupling(
    event: Sequence[int],
    transformer: Transformer,
    split: str = "channels",
    swap: bool = False,
    context: tuple[int, ...] | None = None,
    **network: Any,
) -> Coupling:
    """A coupling with a small conditioner that fits the event."""
    config = {"channels": ChannelsConfig, "checkerboard": CheckerboardConfig}[split](swap=swap)
    kept, transformed = config.split_shapes(tuple(event))
    make = ConvNet if len(event) == 3 else MLP
    conditioner = make(kept, (transformer.n_params, *transformed), context, **{"hidden": 6, **network})
    return Coupling({"channels": Channels, "checkerboard": Checkerboard}[split](event, swap), conditioner, transformer)


CHANNEL_LINEAR: dict[str, Callable[[tuple[int, ...]], Bijector]] = {
    "actnorm": ActNorm,
    "conv1x1-lu": lambda event: Conv1x1(event, "lu"),
    "conv1x1-plain": lambda event: Conv1x1(event, "plain"),
    "permute-reverse": Permute,
    "permute-random": lambda event: Permute(event, "random"),
    "rescale": lambda event: Rescale(event, low=-1.0, high=17.0),
}

TRANSFORMERS: dict[str, Callable[[], Transformer]] = {
    "affine": Affine,
    "affine-asymmetric": lambda: Affine((0.5, 8.0)),
    "affine-sigmoid": lambda: Affine("sigmoid"),
    "additive": Additive,
    "rational-quadratic": RationalQuadratic,
    "rational-quadratic-2-bins": lambda: RationalQuadratic(bins=2, bound=1.0),
}

BIJECTORS: dict[str, Callable[[], Bijector]] = {
    **{
        f"{name}-{'x'.join(map(str, event))}": lambda make=make, event=event: make(event)
        for name, make in CHANNEL_LINEAR.items()
        for event in (IMAGE, ODD, COLUMN, VECTOR, (1,))
    },
    "squeeze": lambda: Squeeze((1, 4, 6)),
    "squeeze-3": lambda: Squeeze((2, 3, 6), factor=3),
    "coupling-odd-channels": lambda: coupling(ODD, Affine()),
    "coupling-swap": lambda: coupling(ODD, Affine(), swap=True),
    "coupling-vector": lambda: coupling(VECTOR, Affine()),
    "coupling-spline-vector": lambda: coupling(VECTOR, RationalQuadratic(bins=4)),
    "coupling-spline-image": lambda: coupling(IMAGE, RationalQuadratic(bins=4)),
    "coupling-additive": lambda: coupling(IMAGE, Additive()),
    "coupling-sigmoid": lambda: coupling(IMAGE, Affine("sigmoid")),
    "coupling-checkerboard": lambda: coupling((1, 3, 4), Affine(), split="checkerboard"),
    "coupling-checkerboard-swap": lambda: coupling((2, 2, 4), Affine(), split="checkerboard", swap=True),
    "coupling-no-hidden": lambda: coupling(IMAGE, Affine(), hidden=0),
    "coupling-no-normalization": lambda: coupling(IMAGE, Affine(), normalization="none"),
    "composition": lambda: Composition([ActNorm(IMAGE), Conv1x1(IMAGE), coupling(IMAGE, Affine()), ActNorm(IMAGE)]),
}

CONDITIONAL: dict[str, tuple[Callable[[], Bijector], tuple[int, ...]]] = {
    "vector-vector": (lambda: coupling(VECTOR, Affine(), context=(3,)), (3,)),
    "image-vector": (lambda: coupling(IMAGE, Affine(), context=(3,)), (3,)),
    "image-image": (lambda: coupling(IMAGE, Affine(), context=(2, 3, 2)), (2, 3, 2)),
    "no-hidden": (lambda: coupling(IMAGE, Affine(), context=(3,), hidden=0), (3,)),
    "composition": (lambda: Composition([ActNorm(VECTOR), coupling(VECTOR, Affine(), context=(2,))]), (2,)),
}
