"""Spline couplings in flowjax: XLA instead of torch, jitted, on all cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import coupling_flow
from flowjax.train.losses import MaximumLikelihoodLoss
from torch import Tensor

if TYPE_CHECKING:
    from benchmarks.splines import Splines


class Jitted:
    """coupling_flow: it permutes the features between couplings, and always transforms the last half."""

    module = None

    def __init__(self, setting: Splines) -> None:
        flow = coupling_flow(
            jax.random.key(0),
            base_dist=Normal(jnp.zeros(setting.features)),
            transformer=RationalQuadraticSpline(knots=setting.bins - 1, interval=setting.bound),  # inner knots
            flow_layers=setting.couplings,
            nn_width=setting.hidden,
            nn_depth=setting.layers,
        )
        trained = {"is_leaf": lambda leaf: isinstance(leaf, paramax.NonTrainable)}
        self.learned, self.rest = eqx.partition(flow, eqx.is_inexact_array, **trained)

    @property
    def parameters(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.learned))

    def start(self, x: Tensor) -> None:
        """Nothing: it compiles at the first step."""

    def step(self, task: str, x: Tensor) -> Callable[[], Any]:
        data = jnp.asarray(x.cpu().numpy())
        if task == "train":
            loss = eqx.filter_jit(eqx.filter_value_and_grad(MaximumLikelihoodLoss()))
            return lambda: jax.block_until_ready(loss(self.learned, self.rest, data))
        log_prob = eqx.filter_jit(lambda learned, v: eqx.combine(learned, self.rest).log_prob(v))
        return lambda: jax.block_until_ready(log_prob(self.learned, data))


def splines(setting: Splines) -> Jitted:
    """Raises what jax raises where it can't run."""
    return Jitted(setting)
