"""Densities of the peers' base distributions with flowkit's weights.

Runs in an environment that has the peers, and not flowkit: ``python -m tests.peers.bases BASES.npz`` prints, as JSON,
the largest difference of each from flowkit's log p(z).
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def diag_gaussian(of: Weights) -> Tensor:
    from normflows.distributions import DiagGaussian

    base = DiagGaussian(of["mean"].shape)
    base.loc.data, base.log_scale.data = of["mean"][None], of["log_scale"][None]
    return base.log_prob(of["z"])


def class_cond_diag_gaussian(of: Weights) -> Tensor:
    from normflows.distributions import ClassCondDiagGaussian

    base = ClassCondDiagGaussian(of["mean"].shape[1:], len(of["mean"]))
    base.loc.data, base.log_scale.data = of["mean"].movedim(0, -1), of["log_scale"].movedim(0, -1)
    return base.log_prob(of["z"], of["context"])


def gaussian_mixture(of: Weights) -> Tensor:
    from normflows.distributions import GaussianMixture

    base = GaussianMixture(*of["mean"].shape)
    base.loc.data, base.log_scale.data = of["mean"][None], of["log_scale"][None]
    base.weight_scores.data = of["logits"][None]
    return base.log_prob(of["z"])


def gmm(of: Weights) -> Tensor:
    from zuko.mixtures import GMM

    base = GMM(of["mean"].shape[1], components=len(of["mean"]), covariance_type="diagonal", epsilon=0.0)
    for parameter, name in zip(base.phi, ("logits", "mean", "log_scale"), strict=True):
        parameter.data = of[name]
    return base().log_prob(of["z"])


def diag_normal(of: Weights) -> Tensor:
    from zuko.distributions import DiagNormal

    return DiagNormal(of["mean"], of["log_scale"].exp()).log_prob(of["z"])


WITNESSES: dict[str, tuple[str, Callable[[Weights], Tensor]]] = {
    "normflows DiagGaussian": ("diagonal", diag_gaussian),
    "zuko DiagNormal": ("diagonal", diag_normal),
    "normflows GaussianMixture": ("mixture", gaussian_mixture),
    "zuko GMM": ("mixture", gmm),
    "normflows ClassCondDiagGaussian": ("class", class_cond_diag_gaussian),
}
"""Each peer's distribution, and the base of flowkit's that it is."""


@torch.no_grad()
def main(path: str) -> None:
    torch.set_default_dtype(torch.float64)
    warnings.simplefilter("ignore")
    arrays = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
    report = {}
    for name, (base, density) in WITNESSES.items():
        of = {key.removeprefix(f"{base}/"): value for key, value in arrays.items() if key.startswith(f"{base}/")}
        report[name] = float((density(of) - of["log_prob"]).abs().max())
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
