"""How far the peers' answers are from flowkit's and from autodiff's.

Runs in an environment that has the peers, and not flowkit: ``python -m tests.peers.witness SUBJECTS.npz`` prints JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tests.peers import in_freia, in_nflows, in_normflows, in_zuko  # noqa: F401, they add to ROWS
from tests.peers.rows import ROWS, Subject


def main(path: str) -> None:
    torch.set_default_dtype(torch.float64)
    warnings.simplefilter("ignore")
    archive = np.load(path)
    report = {"rows": {str(row): row.measure(Subject(archive, row.subject)) for row in ROWS}}
    report["steep splines"] = steep_splines(*(torch.from_numpy(archive[f"steep/{key}"]) for key in ("theta", "x")))
    print(json.dumps(report, indent=1))


def steep_splines(theta: Tensor, x: Tensor) -> dict[str, str]:
    """What each peer's inverse makes of its own forward in fp32, its floors on widths, heights and slopes kept."""
    from nflows.transforms.splines import unconstrained_rational_quadratic_spline as nflows
    from normflows.utils.splines import unconstrained_rational_quadratic_spline as normflows
    from zuko.transforms import MonotonicRQSTransform

    parts = theta.split([8, 8, 7], 1)
    zuko = MonotonicRQSTransform(*parts, bound=3.0)
    return {
        "nflows": _round_trip(lambda v, inverse: nflows(v, *parts, inverse=inverse, tail_bound=3.0)[0], x),
        "normflows": _round_trip(lambda v, inverse: normflows(v, *parts, inverse=inverse, tail_bound=3.0)[0], x),
        "zuko": _round_trip(lambda v, inverse: zuko.inv(v) if inverse else zuko(v), x),
    }


def _round_trip(spline: Callable[[Tensor, bool], Tensor], x: Tensor) -> str:
    try:
        return "NaN" if spline(spline(x, False), True).isnan().any() else "finite"
    except AssertionError:
        return "AssertionError"


if __name__ == "__main__":
    main(sys.argv[1])
