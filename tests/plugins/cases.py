"""Everything first-party in the shapes that matter: what the conformance kit is run on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from flowkit.bijectors import (
    Autoregressive,
    Bijector,
    Composition,
    Coupling,
    Elementwise,
    Inverse,
    Order,
    StandardNormal,
    Transformer,
)
from flowkit.domains import POSITIVE, REALS, Circle, Interval
from flowkit.testing import (
    BaseSubject,
    BijectorSubject,
    ConditionerSubject,
    DatasetSubject,
    EncoderSubject,
    MaskedConditionerSubject,
    OrderSubject,
    SplitSubject,
    Subject,
    TransformerSubject,
)
from flowkit.testing.subjects import ModuleSubject
from flowkit_autoregressive.made import MADE
from flowkit_autoregressive.orders import Listed, Natural, Random, Reversed
from flowkit_base.class_conditional_normal import ClassConditionalNormal
from flowkit_base.conditional_normal import ConditionalNormal
from flowkit_base.diagonal_normal import DiagonalNormal
from flowkit_base.full_normal import FullNormal
from flowkit_base.gaussian_mixture import GaussianMixture
from flowkit_base.laplace import Laplace
from flowkit_base.student_t import StudentT
from flowkit_base.uniform import Uniform
from flowkit_data.draws import Draws
from flowkit_data.scikit_learn import BreastCancer, Diabetes, Digits
from flowkit_data.toy import ToyPoints
from flowkit_encoder.conv import Conv
from flowkit_encoder.deep_set import DeepSet
from flowkit_encoder.gru import GRU
from flowkit_encoder.mlp import MLPEncoder
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Additive, Affine
from flowkit_glow.conv1x1 import Conv1x1
from flowkit_glow.convnet import ConvNet
from flowkit_glow.householder import Householder
from flowkit_glow.mlp import MLP
from flowkit_glow.permute import Permute
from flowkit_glow.plugin import ChannelsConfig, CheckerboardConfig
from flowkit_glow.reordering import Flip, Roll
from flowkit_glow.rescale import Rescale
from flowkit_glow.splits import Channels, Checkerboard
from flowkit_glow.squeeze import Squeeze
from flowkit_map.half_line import Exp, Softplus
from flowkit_map.interval import Logit, Sigmoid
from flowkit_map.moebius import Moebius
from flowkit_map.phase import Phase
from flowkit_map.sinh_arcsinh import SinhArcsinh
from flowkit_map.to_reals import ToReals
from flowkit_mixture.logistic import MixtureOfLogistics
from flowkit_residual.planar import Planar
from flowkit_spline.rational_quadratic import CircularRationalQuadratic, RationalQuadratic

IMAGE, ODD, COLUMN, VECTOR = (4, 3, 2), (3, 5, 3), (1, 3, 3), (5,)


def coupling(
    event: Sequence[int],
    transformer: Transformer,
    split: str = "channels",
    swap: bool = False,
    context: tuple[int, ...] | None = None,
    kept: Transformer | None = None,
    **network: Any,
) -> Coupling:
    """A coupling with a small conditioner that fits the event."""
    config = {"channels": ChannelsConfig, "checkerboard": CheckerboardConfig}[split](swap=swap)
    kept_shape, transformed = config.split_shapes(tuple(event))
    make = ConvNet if len(event) == 3 else MLP
    conditioner = make(kept_shape, (transformer.n_params, *transformed), context, **{"hidden": 6, **network})
    divide = {"channels": Channels, "checkerboard": Checkerboard}[split](event, swap)
    return Coupling(divide, conditioner, transformer, None if kept is None else Elementwise(kept_shape, kept))


def elementwise(
    event: tuple[int, ...], transformer: Transformer, context: tuple[int, ...] | None = None
) -> Elementwise:
    """An elementwise layer, with a small conditioner if there is a context."""
    if context is None:
        return Elementwise(event, transformer)
    make = ConvNet if len(event) == len(context) == 3 else MLP
    return Elementwise(event, transformer, make(context, (transformer.n_params, *event), hidden=6))


def autoregressive(
    order: Order, transformer: Transformer, context: tuple[int, ...] | None = None, **network: Any
) -> Autoregressive:
    """An autoregressive layer with a small MADE."""
    params = (transformer.n_params, *order.event_shape)
    return Autoregressive(order, MADE(order, params, context, **{"hidden": 6, **network}), transformer)


CHANNEL_LINEAR: dict[str, Callable[[tuple[int, ...]], Bijector]] = {
    "actnorm": ActNorm,
    "conv1x1-lu": lambda event: Conv1x1(event, "lu"),
    "conv1x1-plain": lambda event: Conv1x1(event, "plain"),
    "householder": Householder,
    "householder-2": lambda event: Householder(event, reflections=2),
    "permute-reverse": Permute,
    "permute-random": lambda event: Permute(event, "random"),
    "permute-list": lambda event: Permute(event, [*range(1, event[0]), 0]),
    "rescale": lambda event: Rescale(event, low=-1.0, high=17.0),
}

ALL_EVENTS = {"actnorm", "conv1x1-lu"}
"""A diagonal and a matrix in all shapes; the others are applied by the same code (and see test_strategies.py)."""

TRANSFORMERS: dict[str, Callable[[], Transformer]] = {
    "affine": Affine,
    "affine-asymmetric": lambda: Affine((0.5, 8.0)),
    "affine-sigmoid": lambda: Affine("sigmoid"),
    "additive": Additive,
    "rational-quadratic": RationalQuadratic,
    "rational-quadratic-2-bins": lambda: RationalQuadratic(bins=2, bound=1.0),
    "mixture-of-logistics": lambda: MixtureOfLogistics(3),
}

BIJECTORS: dict[str, Callable[[], Bijector]] = {
    **{
        f"{name}-{'x'.join(map(str, event))}": lambda make=make, event=event: make(event)
        for name, make in CHANNEL_LINEAR.items()
        for event in ((IMAGE, COLUMN, VECTOR, (1,)) if name in ALL_EVENTS else (IMAGE, VECTOR))
    },
    "flip-vector": lambda: Flip(VECTOR),
    "flip-width": lambda: Flip(ODD),
    "flip-height": lambda: Flip(IMAGE, "height"),
    "roll-vector": lambda: Roll(VECTOR, shift=-2),
    "roll-width": lambda: Roll(ODD),
    "roll-height": lambda: Roll(IMAGE, "height", shift=7),
    "squeeze": lambda: Squeeze((1, 4, 6)),
    "squeeze-3": lambda: Squeeze((2, 3, 6), factor=3),
    "coupling-odd-channels": lambda: coupling(ODD, Affine()),
    "coupling-additive-swap": lambda: coupling(ODD, Additive(), swap=True),
    "coupling-spline-vector": lambda: coupling(VECTOR, RationalQuadratic(bins=4)),
    "coupling-spline-image": lambda: coupling(IMAGE, RationalQuadratic(bins=4)),
    "coupling-mixture": lambda: coupling(VECTOR, MixtureOfLogistics(2, (0.1, 4.0))),
    "coupling-checkerboard": lambda: coupling((1, 3, 4), Affine(), split="checkerboard"),
    "coupling-sigmoid-checkerboard-swap": lambda: coupling((2, 2, 4), Affine("sigmoid"), "checkerboard", swap=True),
    "coupling-no-normalization": lambda: coupling(IMAGE, Affine(), normalization="none"),
    "elementwise-vector": lambda: elementwise(VECTOR, RationalQuadratic(bins=4)),
    "elementwise-image": lambda: elementwise(COLUMN, Affine()),
    "elementwise-mixture": lambda: elementwise((2,), MixtureOfLogistics(2)),
    "coupling-kept-vector": lambda: coupling(VECTOR, RationalQuadratic(bins=4), kept=RationalQuadratic(bins=3)),
    "coupling-kept-image": lambda: coupling((1, 3, 4), Affine(), "checkerboard", swap=True, kept=Affine()),
    "autoregressive-affine": lambda: autoregressive(Natural(VECTOR), Affine()),
    "autoregressive-spline": lambda: autoregressive(Reversed((4,)), RationalQuadratic(bins=4)),
    "autoregressive-image": lambda: autoregressive(Random(COLUMN), Affine()),
    "autoregressive-value": lambda: autoregressive(Natural((1,)), Affine()),
    "inverse-actnorm": lambda: Inverse(ActNorm((5,))),
    "inverse-autoregressive": lambda: Inverse(autoregressive(Random(VECTOR, seed=2), Affine(), residual=True)),
    "inverse-coupling": lambda: Inverse(coupling(VECTOR, Affine())),
    "composition": lambda: Composition([ActNorm(IMAGE), Conv1x1(IMAGE), coupling(IMAGE, Affine()), ActNorm(IMAGE)]),
}

TURN = Circle(-1.0, 2.0)
MIXED = (Interval(-1.0, 3.0), REALS, Interval(0.5), Interval(high=-2.0))

BOX = (Interval(-1.0, 3.0), TURN)

BETWEEN_DOMAINS = {
    "logit": BijectorSubject(lambda: Logit((3,), -1.0, 2.0), domain=Interval(-1.0, 2.0)),
    "sigmoid": BijectorSubject(lambda: Sigmoid((3,), -1.0, 2.0), codomain=Interval(-1.0, 2.0)),
    "exp": BijectorSubject(lambda: Exp((3,)), codomain=POSITIVE),
    "softplus": BijectorSubject(lambda: Softplus((3,)), codomain=POSITIVE),
    "to-reals": BijectorSubject(lambda: ToReals((4,), MIXED), domain=MIXED),
    "sinh-arcsinh": BijectorSubject(lambda: SinhArcsinh((2, 1, 2))),
    "phase": BijectorSubject(lambda: Phase((3,), TURN), domain=TURN, codomain=TURN),
}

ONE_WAY = {
    "planar": BijectorSubject(lambda: Planar((3,)), directions="forward"),
    "planar-image": BijectorSubject(lambda: Planar(COLUMN), directions="forward"),
    "planar-numeric": BijectorSubject(lambda: Planar((3,), numeric_inverse=True)),
    "planar-numeric-image": BijectorSubject(lambda: Planar(COLUMN, numeric_inverse=True)),
    "inverse-planar": BijectorSubject(lambda: Inverse(Planar(VECTOR)), directions="inverse"),
}

CONDITIONAL: dict[str, tuple[Callable[[], Bijector], tuple[int, ...]]] = {
    "vector-vector": (lambda: coupling(VECTOR, Affine(), context=(3,)), (3,)),
    "kept-vector": (lambda: coupling(VECTOR, Affine(), context=(3,), kept=Affine()), (3,)),
    "image-vector": (lambda: coupling(IMAGE, Affine(), context=(3,)), (3,)),
    "image-image": (lambda: coupling(IMAGE, Affine(), context=(2, 3, 2)), (2, 3, 2)),
    "no-hidden": (lambda: coupling(IMAGE, Affine(), context=(3,), hidden=0), (3,)),
    "elementwise-value": (lambda: elementwise((1,), RationalQuadratic(bins=4), (3,)), (3,)),
    "elementwise-mixture": (lambda: elementwise((1,), MixtureOfLogistics(2), (3,)), (3,)),
    "elementwise-image": (lambda: elementwise(COLUMN, Affine(), (2, 3, 3)), (2, 3, 3)),
    "autoregressive": (lambda: autoregressive(Random((4,)), RationalQuadratic(bins=4), (3,)), (3,)),
    "autoregressive-value": (lambda: autoregressive(Natural((1,)), Affine(), (2, 2, 1)), (2, 2, 1)),
    "inverse-autoregressive": (lambda: Inverse(autoregressive(Random((4,)), Affine(), (3,))), (3,)),
    "composition": (lambda: Composition([ActNorm(VECTOR), coupling(VECTOR, Affine(), context=(2,))]), (2,)),
}

BASES = {
    "uniform": BaseSubject(lambda: Uniform((2,), BOX), BOX),
    "uniform-turn": BaseSubject(lambda: Uniform(COLUMN, Circle(0, 2 * math.pi)), Circle(0, 2 * math.pi)),
    **{
        f"{name}-{'x'.join(map(str, event))}": BaseSubject(lambda make=make, event=event: make(event))
        for event in ((1,), (2,), IMAGE)
        for name, make in (
            ("diagonal", DiagonalNormal),
            ("full", FullNormal),
            ("mixture", lambda event: GaussianMixture(event, 4)),
            ("laplace", Laplace),
            ("student-t", StudentT),
        )
    },
    "student-t-cauchy": BaseSubject(lambda: StudentT((1,), degrees_of_freedom=1.0, learned=False)),
    **{
        f"class-{'x'.join(map(str, event))}": BaseSubject(
            lambda event=event: ClassConditionalNormal(event, (3,)), context_shape=(3,), labels=True
        )
        for event in ((2,), IMAGE)
    },
    "conditional-vector": BaseSubject(
        lambda: ConditionalNormal((2,), (3,), MLP((3,), (2, 2), hidden=6), (0.1, 20.0)), context_shape=(3,)
    ),
    "conditional-image": BaseSubject(
        lambda: ConditionalNormal(IMAGE, (2, 3, 2), ConvNet((2, 3, 2), (2, *IMAGE), hidden=6)), context_shape=(2, 3, 2)
    ),
}
"""Base distributions. Those of one and two values have their samples counted, too."""

SPLITS = {
    f"{name}-{'x'.join(map(str, event))}{'-swap' * swap}": SplitSubject(
        lambda make=make, event=event, swap=swap: make(event, swap), config(swap=swap).split_shapes(event)
    )
    for name, make, config, events in (
        ("channels", Channels, ChannelsConfig, ((5,), (2,), ODD)),
        ("checkerboard", Checkerboard, CheckerboardConfig, ((1, 3, 4), (2, 2, 4))),
    )
    for event in events
    for swap in (False, True)
}

KEPT, PARAMS = {"image": (2, 3, 2), "vector": (3,)}, {"image": (2, 1, 3, 2), "vector": (3, 2)}


def conditioner(
    make: Callable[..., Any], event: str, context: tuple[int, ...] | None = None, **fields: Any
) -> ConditionerSubject:
    """A conditioner of vectors or images with few units."""
    kept, params = KEPT[event], PARAMS[event]
    fields = {"hidden": 6, **fields}
    return ConditionerSubject(lambda: make(kept, params, context, **fields), kept, params, context)


CONDITIONERS = {
    "mlp": conditioner(MLP, "vector"),
    "mlp-image": conditioner(MLP, "image", (3,)),
    "mlp-context": conditioner(MLP, "vector", (2, 2, 1), layers=1),
    "mlp-dropout": conditioner(MLP, "vector", (3,), dropout=0.5),
    "convnet": conditioner(ConvNet, "image"),
    "convnet-context": conditioner(ConvNet, "image", (3,)),
    "convnet-no-hidden": conditioner(ConvNet, "image", (2, 3, 2), hidden=0),
    "convnet-dropout": conditioner(ConvNet, "image", dropout=0.5, normalization="none"),
}


def made(order: Order, context: tuple[int, ...] | None = None, **fields: Any) -> MaskedConditionerSubject:
    """MADE with few units, for two parameters of each value."""
    params = (2, *order.event_shape)
    make = lambda: MADE(order, params, context, **{"hidden": 6, **fields})  # noqa: E731
    return MaskedConditionerSubject(make, order, params, context)


MASKED_CONDITIONERS = {
    "made": made(Random(VECTOR)),
    "made-image": made(Random((2, 2, 1), seed=1)),
    "made-context": made(Random(VECTOR), (3,), layers=1),
    "made-context-image": made(Reversed((3,)), (2, 1, 2), activation="elu"),
    "made-value": made(Natural((1,))),
    "made-value-context": made(Natural((1,)), (3,)),
    "made-residual": made(Random(VECTOR), (3,), residual=True, activation="tanh"),
    "made-few-units": made(Random((9,)), hidden=3, activation="tanh"),
}

ORDERS = {
    "natural": OrderSubject(lambda: Natural((2, 3, 2))),
    "reversed": OrderSubject(lambda: Reversed(VECTOR)),
    "random": OrderSubject(lambda: Random((2, 3, 2), seed=3)),
    "listed": OrderSubject(lambda: Listed((3,), [2, 0, 1])),
}


def encoder(make: Callable[..., Any], context: tuple[int, ...], labels: bool = False, **fields: Any) -> EncoderSubject:
    """An encoder with few units."""
    return EncoderSubject(lambda: make(context, features=3, **{"hidden": 6, **fields}), context, (3,), labels)


ENCODERS = {
    "mlp-vector": encoder(MLPEncoder, (4,), layers=1),
    "mlp-labels": encoder(MLPEncoder, (3,), labels=True),
    "mlp-image": encoder(MLPEncoder, (2, 3, 2)),
    "conv": encoder(Conv, (2, 5, 6), layers=2),
    "conv-pixel": encoder(Conv, (1, 1, 1)),
    "deep-set": encoder(DeepSet, (4, 2), layers=1),
    "deep-set-single": encoder(DeepSet, (1, 1)),
    "gru": encoder(GRU, (4, 2)),
    "gru-layers": encoder(GRU, (3, 1), layers=2),
}

MORE_GRAPHS = {
    *("coupling-kept-image", "autoregressive-image", "planar-numeric"),
    *("inverse-autoregressive", "inverse-coupling", "inverse-planar"),
    *("conditional-vector-vector", "conditional-image-image", "conditional-kept-vector", "conditional-autoregressive"),
    *("mixture-of-logistics-3d", "base-mixture-4x3x2", "base-class-4x3x2", "base-conditional-image"),
}
"""Subjects whose graphs are made in another way than those of the first subject of their classes."""

COMPILED = {
    *("actnorm-4x3x2", "composition", "coupling-additive-swap", "autoregressive-affine", "planar-numeric"),
    *("rational-quadratic-3d", "mixture-of-logistics-3d", "base-mixture-1", "made", "encoder-gru-layers"),
}
"""Subjects that differ in what torch.compile meets: merged maps, loops, searches, choices, recurrent networks."""

LIKE_OTHERS = {
    *("actnorm-1x3x3", "actnorm-1", "conv1x1-lu-1", "conv1x1-plain-4x3x2"),
    *("permute-reverse-5", "permute-random-4x3x2", "permute-list-5", "rescale-5"),
    *("householder-4x3x2", "householder-2-5", "flip-width", "roll-width"),
    *("coupling-odd-channels", "coupling-spline-vector", "coupling-checkerboard", "coupling-no-normalization"),
    *("conditional-image-vector", "conditional-no-hidden", "elementwise-vector"),
    *("affine-1d", "affine-asymmetric-3d", "affine-sigmoid-1d", "additive-1d"),
    *("rational-quadratic-1d", "rational-quadratic-2-bins-3d", "mixture-of-logistics-3d"),
    *("channels-5", "channels-2-swap", "channels-3x5x3", "checkerboard-1x3x4-swap", "checkerboard-2x2x4"),
    *("convnet", "autoregressive-image", "coupling-kept-image", "elementwise-mixture", "planar-numeric-image"),
    *("conditional-elementwise-mixture", "conditional-inverse-autoregressive", "autoregressive-spline"),
    *("base-diagonal-1", "base-laplace-1"),
    *("encoder-mlp-vector", "encoder-conv-pixel", "encoder-deep-set-single", "encoder-gru"),
}
"""Subjects each of whose settings, such as its event, its split or its transformer, is one of another subject too."""

PUBLISHED = {"identity": "s(0) = sigmoid(2) = 0.88, as published"}


def subjects(seed: int = 0) -> dict[str, Subject]:
    """All of them by name, with draws from this seed."""
    transformers = {
        f"{name}-{len(event)}d": TransformerSubject(
            make, event, expected_failures=PUBLISHED if name == "affine-sigmoid" else {}
        )
        for name, make in TRANSFORMERS.items()
        for event in ((5,), (2, 3, 2))
    }
    toys = ("moons", "circles", "rings", "spirals", "gaussians", "checkerboard")
    every = {
        **{name: BijectorSubject(make) for name, make in BIJECTORS.items()},
        **{f"conditional-{name}": BijectorSubject(*case) for name, case in CONDITIONAL.items()},
        **BETWEEN_DOMAINS,
        **ONE_WAY,
        "moebius": TransformerSubject(lambda: Moebius(TURN), (5,), domain=TURN),
        "moebius-wide": TransformerSubject(
            lambda: Moebius(Circle(-2.0, 5.0), radius=0.99), (3,), domain=Circle(-2.0, 5.0)
        ),
        "moebius-off-center": TransformerSubject(
            lambda: Moebius(Circle(100.0, 124.0)), (3,), domain=Circle(100.0, 124.0)
        ),
        "circular": TransformerSubject(lambda: CircularRationalQuadratic(TURN, bins=4), (5,), domain=TURN),
        **transformers,
        **SPLITS,
        **CONDITIONERS,
        **MASKED_CONDITIONERS,
        **ORDERS,
        **{
            f"normal-{len(event)}d": BaseSubject(lambda event=event: StandardNormal(event))
            for event in ((1,), (2,), ODD)
        },
        **{f"base-{name}": subject for name, subject in BASES.items()},
        **{f"encoder-{name}": subject for name, subject in ENCODERS.items()},
        **{f"toy-{name}": DatasetSubject(lambda name=name: ToyPoints(name, n=500, noise=0.05)) for name in toys},
        "digits": DatasetSubject(Digits),
        "diabetes": DatasetSubject(Diabetes),
        "draws": DatasetSubject(lambda: Draws(500, 4)),
        "breast-cancer": DatasetSubject(BreastCancer),
    }
    return {name: replace(subject, seed=seed) for name, subject in every.items()}


def of_each_class(names: Iterable[str]) -> set[str]:
    """Return those of these subjects of which each has a class, itself or in a part, that none before it has.

    Parts come before what is made of them.
    """
    every, seen, chosen = subjects(), set(), set()
    for name in sorted(names, key=lambda name: every[name].kind == "bijector"):
        subject = every[name]
        classes = {type(part) for part in subject.fresh().modules()} if isinstance(subject, ModuleSubject) else set()
        if not classes <= seen:
            chosen.add(name)
        seen |= classes
    return chosen
