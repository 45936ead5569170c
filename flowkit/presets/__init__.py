"""Builds specs of well-known flows: neural spline flows, MAF, RealNVP and Glow. This package doesn't import torch.

Each function returns a validated spec of a flow for events of a shape. Each flow begins with the map of the domain or
of the levels to the reals. Each layer begins with actnorm, so the first one normalizes the data. A coupling can't
divide events of one value. There, each layer transforms the value with parameters that a network computes from the
context, or with learned ones.
"""

from __future__ import annotations

from typing import Any

from flowkit.presets.images import glow_scales, realnvp_scales
from flowkit.presets.steps import (
    AFFINE,
    NARROW,
    Content,
    ShapeLike,
    Steps,
    elementwise,
    halves,
    layered,
    masked,
    mixed,
    new_spec,
)
from flowkit.shapes import Shape
from flowkit.spec import Spec

__all__ = ["glow", "maf", "nsf", "realnvp"]


def nsf(
    shape: ShapeLike,
    *,
    classes: int | None = None,
    context: ShapeLike | None = None,
    encoder: Content | None = None,
    domain: Any = None,
    levels: int | None = None,
    layers: int = 6,
    hidden: int = 64,
    bins: int = 8,
    bound: float = 4.0,
    autoregressive: bool = False,
) -> Spec:
    """Return a neural spline flow with rational-quadratic splines.

    By default it is RQ-NSF (C): each layer mixes the values with a learned matrix, and a coupling transforms half of
    them. Densities and samples take one pass. Images are squeezed and factored out as in Glow. With
    ``autoregressive=True`` it is RQ-NSF (AR), as zuko's NSF: each layer transforms all values, and a sample takes as
    many passes as the event has values.

    Args:
        shape: d or [d] for vectors of d values, [channels, height, width] for images.
        classes: The number of classes, for p(x | label) with labels 0 … classes - 1.
        context: The shape of the context, for p(x | context) with an array as the context.
        encoder: The network that summarizes the context for the flow, as ``context.encoder`` of a spec has it, such as
            ``{"use": "encoder/deep_set"}``.
        domain: The values that the data may take, as ``event.domain`` of a spec has it: ``"positive"``, ``[0, 1]``, or
            a list with one domain for each value of a vector.
        levels: The number of levels of integer data 0 … levels - 1.
        layers: The number of couplings or autoregressive layers. For images it is the number in each scale.
        hidden: The width of the hidden layers of each network, of which there are two.
        bins: The number of bins of each spline.
        bound: The splines are the identity outside [-bound, bound].
        autoregressive: Take autoregressive layers instead of couplings.

    Returns:
        A validated spec.

    Raises:
        SpecError: If a spec can't hold an argument.
        InputError: If ``layers`` is below 1.

    References:
        Durkan et al. 2019, "Neural Spline Flows".

    Examples:
        >>> import torch
        >>> from flowkit import Flow, presets
        >>> flow = Flow.from_spec(presets.nsf(3, classes=10))
        >>> flow.sample(5, torch.arange(5)).shape
        torch.Size([5, 3])
    """
    spline = {"use": "spline/rational_quadratic", "bins": bins, "bound": bound}

    def steps(event: Shape, conditional: bool) -> Steps:
        if autoregressive:
            return layered(masked(spline, hidden), layers)
        location = elementwise(AFFINE, hidden, conditional) if event == (1,) and conditional else []
        return [*location, *_mixing(event, spline, layers, hidden, conditional)]

    return new_spec(shape, steps, classes=classes, context=context, encoder=encoder, domain=domain, levels=levels)


def maf(
    shape: ShapeLike,
    *,
    classes: int | None = None,
    context: ShapeLike | None = None,
    encoder: Content | None = None,
    domain: Any = None,
    levels: int | None = None,
    layers: int = 6,
    hidden: int = 64,
) -> Spec:
    """Return a masked autoregressive flow with affine layers.

    Each layer transforms every value with a MADE. The order of the values alternates between natural and reversed. A
    density takes one pass, and a sample as many as the event has values.

    Args:
        shape: d or [d] for vectors of d values, [channels, height, width] for images.
        classes: The number of classes, for p(x | label) with labels 0 … classes - 1.
        context: The shape of the context, for p(x | context) with an array as the context.
        encoder: The network that summarizes the context for the flow, as ``context.encoder`` of a spec has it, such as
            ``{"use": "encoder/deep_set"}``.
        domain: The values that the data may take, as ``event.domain`` of a spec has it: ``"positive"``, ``[0, 1]``, or
            a list with one domain for each value of a vector.
        levels: The number of levels of integer data 0 … levels - 1.
        layers: The number of autoregressive layers.
        hidden: The width of the hidden layers of each network, of which there are two.

    Returns:
        A validated spec.

    Raises:
        SpecError: If a spec can't hold an argument.
        InputError: If ``layers`` is below 1.

    References:
        Papamakarios et al. 2017, "Masked Autoregressive Flow for Density Estimation".

    Examples:
        >>> from flowkit import Flow, presets
        >>> flow = Flow.from_spec(presets.maf(3, domain="positive"))
        >>> flow.sample(5).shape
        torch.Size([5, 3])
    """

    def steps(event: Shape, conditional: bool) -> Steps:
        return layered(masked(AFFINE, hidden), layers)

    return new_spec(shape, steps, classes=classes, context=context, encoder=encoder, domain=domain, levels=levels)


def realnvp(
    shape: ShapeLike,
    *,
    classes: int | None = None,
    context: ShapeLike | None = None,
    encoder: Content | None = None,
    domain: Any = None,
    levels: int | None = None,
    layers: int = 6,
    hidden: int = 64,
) -> Spec:
    """Return a RealNVP: affine couplings that transform alternating halves.

    Each scale of an image has ``layers`` couplings of a checkerboard, a squeeze, and ``layers`` couplings of halves of
    the channels. Then half of the channels leave.

    Args:
        shape: d or [d] for vectors of d values, [channels, height, width] for images.
        classes: The number of classes, for p(x | label) with labels 0 … classes - 1.
        context: The shape of the context, for p(x | context) with an array as the context.
        encoder: The network that summarizes the context for the flow, as ``context.encoder`` of a spec has it, such as
            ``{"use": "encoder/deep_set"}``.
        domain: The values that the data may take, as ``event.domain`` of a spec has it: ``"positive"``, ``[0, 1]``, or
            a list with one domain for each value of a vector.
        levels: The number of levels of integer data 0 … levels - 1.
        layers: The number of couplings. For images it is the number in each scale.
        hidden: The width of the hidden layers of each network, of which there are two.

    Returns:
        A validated spec.

    Raises:
        SpecError: If a spec can't hold an argument.
        InputError: If ``layers`` is below 1.

    References:
        Dinh et al. 2017, "Density estimation using Real NVP".

    Examples:
        >>> from flowkit import Flow, presets
        >>> flow = Flow.from_spec(presets.realnvp(3))
        >>> flow.sample(5).shape
        torch.Size([5, 3])
    """

    def steps(event: Shape, conditional: bool) -> Steps:
        if event == (1,):
            return layered([elementwise(AFFINE, hidden, conditional)], layers)
        if len(event) == 3:
            return realnvp_scales(event, layers, hidden)
        return layered(halves(AFFINE, event, hidden, "glow/channels"), layers)

    return new_spec(shape, steps, classes=classes, context=context, encoder=encoder, domain=domain, levels=levels)


def glow(
    shape: ShapeLike,
    *,
    classes: int | None = None,
    context: ShapeLike | None = None,
    encoder: Content | None = None,
    domain: Any = None,
    levels: int | None = None,
    layers: int = 6,
    hidden: int = 64,
) -> Spec:
    """Return a Glow: actnorm, a learned 1×1 convolution and an affine coupling in each layer.

    An image is squeezed before each scale. After it half of the channels leave, with a learned prior. A vector has one
    scale.

    Args:
        shape: d or [d] for vectors of d values, [channels, height, width] for images.
        classes: The number of classes, for p(x | label) with labels 0 … classes - 1.
        context: The shape of the context, for p(x | context) with an array as the context.
        encoder: The network that summarizes the context for the flow, as ``context.encoder`` of a spec has it, such as
            ``{"use": "encoder/deep_set"}``.
        domain: The values that the data may take, as ``event.domain`` of a spec has it: ``"positive"``, ``[0, 1]``, or
            a list with one domain for each value of a vector.
        levels: The number of levels of integer data 0 … levels - 1.
        layers: The number of couplings. For images it is the number in each scale.
        hidden: The width of the hidden layers of each network, of which there are two.

    Returns:
        A validated spec.

    Raises:
        SpecError: If a spec can't hold an argument.
        InputError: If ``layers`` is below 1.

    References:
        Kingma & Dhariwal 2018, "Glow: Generative Flow with Invertible 1×1 Convolutions".

    Examples:
        >>> from flowkit import Flow, presets
        >>> flow = Flow.from_spec(presets.glow([1, 8, 8], levels=17, layers=2, hidden=8))
        >>> flow.sample(5).shape
        torch.Size([5, 1, 8, 8])
    """

    def steps(event: Shape, conditional: bool) -> Steps:
        return _mixing(event, NARROW if len(event) == 3 else AFFINE, layers, hidden, conditional)

    return new_spec(shape, steps, classes=classes, context=context, encoder=encoder, domain=domain, levels=levels)


def _mixing(event: Shape, transformer: Content, layers: int, hidden: int, conditional: bool) -> Steps:
    """Return layers that mix the channels before each coupling."""
    if event == (1,):
        return layered([elementwise(transformer, hidden, conditional)], layers)
    if len(event) == 3:
        return glow_scales(event, transformer, layers, hidden)
    return layered([mixed(transformer, event, hidden)], layers)
