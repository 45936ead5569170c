"""flowkit's weights in nflows, normflows, FrEIA and zuko: the same z and log-det, and where not, who is right.

The rows are in in_nflows.py, in_normflows.py, in_freia.py and in_zuko.py. All of it is in fp64. FrEIA 0.2 has no
spline, and no peer but zuko keeps a flow's scales within bounds, so that some rows take Glow's published sigmoid.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from flowkit_spline.rational_quadratic import RationalQuadratic
from tests.peers import in_freia, in_nflows, in_normflows, in_zuko  # noqa: F401, they add to ROWS
from tests.peers.rows import ROWS, Row
from tests.peers.subjects import steep_splines, write_subjects

pytestmark = pytest.mark.slow

SAME = 1e-12
"""The largest difference between two that compute the same, in fp64, absolute."""
JUDGE = 1e-9
"""How near to autodiff flowkit must be where a peer contradicts it."""

# Where a peer's number is not autodiff's: by what factor. A test fails when the peer gets mended.
FACTORS = {
    # One log-det per row of channels, however many positions there are: 1/6 on 3×2. Both are made for vectors
    # [batch, features], but take [batch, h, w, channels] and give z; short by h·w as of glow-tts issue 17.
    ("nflows LULinear on images, channels last conv1x1-plain-image", "log_det"): 1 / 6,
    ("normflows InvertibleAffine on images, channels last conv1x1-plain-image", "log_det"): 1 / 6,
    ("normflows InvertibleAffine on images, channels last conv1x1-plain-image", "inverse_log_det"): 1 / 6,
    # FrEIA's base class asks for -J with rev=True; this layer gives +J
    ("FrEIA LearnedElementwiseScaling and its bias actnorm-image", "inverse_log_det"): -1.0,
}
# M is documented as the convolution's kernel, and Mᵀ is what it convolves with. FixedLinearTransform(M) does apply M.
TRANSPOSED = "FrEIA Fixed1x1Conv(M=W) conv1x1-plain-image"
# log-dets are summed in a tensor of the default dtype, in place, which keeps it: fp32, though the layer's is fp64
ROUNDED = "normflows NormalizingFlow([ActNorm]) with torch's default dtype actnorm-image"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, in_peers_environment: Callable[..., str]) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("peers") / "subjects.npz"
    write_subjects(path)
    return json.loads(in_peers_environment("tests.peers.witness", path))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_same_weights_same_answers(row: Row, report: dict[str, Any]) -> None:
    measured = report["rows"][str(row)]
    for quantity in {"z", "x", "log_det", "inverse_log_det"} & measured.keys():
        if (str(row), quantity) in FACTORS or (str(row) == TRANSPOSED and quantity in "zx"):
            continue
        tolerance = 1e-6 if str(row) == ROUNDED and "log_det" in quantity else SAME
        assert measured[quantity] < tolerance, f"{quantity} of {row}: {measured[quantity]:.1e} from flowkit's"


@pytest.mark.parametrize(("row", "quantity"), FACTORS)
def test_where_a_log_det_differs_autodiff_is_with_flowkit(row: str, quantity: str, report: dict[str, Any]) -> None:
    measured = report["rows"][row]
    assert measured[f"{quantity}: flowkit from autodiff"] < JUDGE
    assert measured[f"{quantity}: times autodiff"] == pytest.approx(FACTORS[row, quantity], rel=1e-9)
    assert measured[f"{quantity}: from autodiff"] > 0.1


def test_freias_convolution_is_the_transposed_one(report: dict[str, Any]) -> None:
    assert report["rows"][TRANSPOSED]["z"] > 0.1
    assert report["rows"][TRANSPOSED.replace("M=W", "M=W.T")]["z"] < SAME


def test_normflows_sums_log_dets_in_fp32(report: dict[str, Any]) -> None:
    measured = report["rows"][ROUNDED]
    assert measured["log_det: dtype"] == measured["inverse_log_det: dtype"] == "torch.float32"
    assert measured["log_det: flowkit from autodiff"] < SAME < 1e-9 < measured["log_det: from autodiff"]


def test_steep_splines_invert_in_fp32_here_only(report: dict[str, Any]) -> None:
    """Rounding makes a discriminant negative: nflows issue 87, pull request 71, both open; normflows has its code."""
    assert report["steep splines"] == {"nflows": "AssertionError", "normflows": "AssertionError", "zuko": "NaN"}
    theta, x = steep_splines()
    spline = RationalQuadratic(bins=8, bound=3.0)
    back, log_derivative = spline.inverse(spline(x, theta)[0], theta)
    assert back.isfinite().all() and log_derivative.isfinite().all() and back.abs().max() <= 3
