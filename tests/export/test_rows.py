"""Rows of a batch are independent, or the export says which layer mixes them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import flowkit
from flowkit.bijectors import Bijector
from flowkit.errors import ExportError, PluginError
from flowkit.export.yardstick import judge, reference_events
from flowkit.flow import Flow
from flowkit.plugin import BijectorConfig
from flowkit_glow.actnorm import ActNorm


class Moved(Bijector):
    """y = x + forth(x), x = y + back(y), where only forth or only back is anything."""

    def __init__(self, event_shape, forth=torch.zeros_like, back=torch.zeros_like):
        super().__init__(event_shape)
        self.forth, self.back = forth, back

    def forward_and_log_det(self, x, context=None):
        return x + self.forth(x), x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y, context=None):
        return y + self.back(y), y.new_zeros(y.shape[0])


def with_layer(layer):
    return Flow([ActNorm((2,)), layer, ActNorm((2,))]).double().eval()


@pytest.mark.parametrize(
    "mixing",
    [
        lambda x: -x.mean(0),
        lambda x: -x.nanmean(0),
        lambda x: 0.1 * x.cumsum(0),
        lambda x: 0.1 * x.flip(0).cumsum(0).flip(0),
    ],
    ids=["mean", "mean of what is finite", "all before", "all behind"],
)
@pytest.mark.parametrize("way", ["forth", "back"])
def test_a_layer_that_mixes_rows_is_named(mixing, way):
    flow = with_layer(Moved((2,), **{way: mixing}))
    with pytest.raises(ExportError, match=r"^layer 1 \(Moved\) gives an event other values alone than among others"):
        judge(flow, "float32", reference_events(flow, torch.randn(80, 2), None))


@pytest.mark.parametrize("way", ["forth", "back"])
def test_random_numbers_that_no_graph_has_are_found_too(way):
    flow = with_layer(Moved((2,), **{way: lambda x: torch.full_like(x, np.random.default_rng().normal())}))
    with pytest.raises(ExportError, match=r"^layer 1 \(Moved\) gives an event other values .* each time"):
        judge(flow, "float32", reference_events(flow, torch.randn(80, 2), None))


def test_events_that_are_not_finite_are_not_taken_for_mixed():
    flow = with_layer(Moved((2,), forth=lambda x: x / 0))
    with pytest.raises(ExportError, match=r"not finite on held-out events: see layer 1 \(Moved\)"):
        judge(flow, "float32", reference_events(flow, torch.randn(80, 2), None))


class NearlyInverted(Bijector):
    """Its inverse leaves a small scale out, which is the error of torch as well as that of a graph."""

    def forward_and_log_det(self, x, context=None):
        return x * 1.003, x.new_full((x.shape[0],), 2 * math.log(1.003))

    def inverse_and_log_det(self, y, context=None):
        return y, y.new_full((y.shape[0],), -2 * math.log(1.003))


@pytest.mark.parametrize("likelihood", ["exact", "lower_bound"])
def test_a_wrong_inverse_is_found_unless_it_need_not_be_exact(likelihood):
    flowkit.register("mine/nearly", type("NearlyConfig", (BijectorConfig,), {}), NearlyInverted, likelihood=likelihood)
    flow = with_layer(NearlyInverted((2,)))
    if likelihood == "lower_bound":
        judge(flow, "float32", reference_events(flow, torch.randn(80, 2), None))
        return
    with pytest.raises(ExportError, match=r"decoding doesn't undo encoding: .* off by 0.003, in float64 too"):
        judge(flow, "float32", reference_events(flow, torch.randn(80, 2), None))


def test_a_layer_that_freezes_to_nothing_is_named():
    flow = with_layer(type("Lost", (NearlyInverted,), {"freeze": lambda self: None})((2,)))
    with pytest.raises(PluginError, match=r"freeze of Lost must return a module, .* not None"):
        flow.freeze()
