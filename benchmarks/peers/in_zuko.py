"""Spline couplings and autoregressive flows in zuko, which has no layers for images."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from zuko.distributions import DiagNormal
from zuko.flows import MAF, Flow, UnconditionalDistribution
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.transforms import MonotonicRQSTransform

from benchmarks.contender import Density

if TYPE_CHECKING:
    from benchmarks.autoregressive import MaskedFlow
    from benchmarks.splines import Splines


def splines(setting: Splines) -> Density:
    """GeneralCouplingTransform with zuko's own MLP of the same sizes; NSF(passes=2) is autoregressive in blocks."""
    base = UnconditionalDistribution(
        DiagNormal, torch.zeros(setting.features), torch.ones(setting.features), buffer=True
    )
    flow = Flow([_coupling(setting, index) for index in range(setting.couplings)], base)
    return Density(flow, lambda x: flow().log_prob(x), latents=lambda x: flow().transform(x))


def autoregressive(setting: MaskedFlow) -> Density:
    """MAF, or with its univariate transformation NSF, whose bound is 5 unless it is made so."""
    spline = {
        "univariate": partial(MonotonicRQSTransform, bound=setting.bound),
        "shapes": [(setting.bins,), (setting.bins,), ((setting.bins or 1) - 1,)],
    }
    options = spline if setting.bins else {}
    hidden = [setting.hidden] * setting.hidden_layers
    flow = MAF(setting.features, transforms=setting.layers, hidden_features=hidden, **options)
    return Density(flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)), lambda x: flow().transform(x))


def _coupling(setting: Splines, index: int) -> GeneralCouplingTransform:
    return GeneralCouplingTransform(
        setting.features,
        mask=torch.tensor(setting.transformed(index)) == 0,
        univariate=partial(MonotonicRQSTransform, bound=setting.bound),
        shapes=[(setting.bins,), (setting.bins,), (setting.bins - 1,)],
        hidden_features=[setting.hidden] * setting.layers,
    )
