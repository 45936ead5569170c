"""Says what verification found: the figure of one quantity, a verdict in a few lines, and a table of all figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WORDS = {
    "latents": "latents",
    "log_prob": "log-density",
    "decoded": "decoded events",
    "round_trip": "round trip",
    "sampled": "latents from noise",
    "u": "dequantization noise",
    "log_q": "its log-density",
}
"""The quantities, as the verdict names them."""
LEGEND = """\
Each limit is 3 times the error of torch in the same precision, plus roundings.
Off-data rows are constants, checkerboards and noise. Extremes are values far
outside of the data, where float32 keeps few digits: torch is off there as well."""


@dataclass(frozen=True)
class Figure:
    """The largest error of one quantity over one group of reference rows and all batch sizes.

    Attributes:
        rows: the group: held-out, off-data or extremes. Rows with an error of more than 1% in torch are excluded; the
            manifest counts them.
        quantity: a key of WORDS.
        unit: the unit of the errors: nats or bits/dim of log-densities, "of range" for decoded integer data, whose
            errors are shares of the range [0, levels); otherwise empty, for the units of the latents or of the data.
        error: the error of the graphs against fp64.
        torch: the error against fp64 of the same model in torch, in the graphs' precision: the largest over eight
            roundings.
        limit: the largest allowed `error`: 3 times torch's, plus 8ε of the largest value.
    """

    rows: str
    quantity: str
    unit: str
    error: float
    torch: float
    limit: float

    @property
    def passed(self) -> bool:
        """True if the error is within the limit. It is False for NaN."""
        return self.error <= self.limit

    @property
    def percent(self) -> int:
        """The error as a percentage of its limit, rounded up."""
        return math.ceil(100 * self.error / self.limit) if self.error else 0


def verdict(figures: Sequence[Figure]) -> str:
    """Return what figures that have all passed say: the errors on held-out events, and how far the others reach."""
    lines = ["verified: onnxruntime computes what the model computes in float64"]
    lines.append(f"  {'on events like the data':<36}{'error':>9}{'allowed':>10}")
    for figure in figures:
        if figure.rows == "held-out":
            name = f"{WORDS[figure.quantity]}{figure.unit and ', '}{figure.unit}"
            lines.append(f"    {name:<34}{figure.error:>9.1e}{figure.limit:>10.1e}")
    if others := [figure.percent for figure in figures if figure.rows != "held-out"]:
        lines.append(f"  on constants, noise and extreme values, errors reach {max(others)}% of what is allowed")
    return "\n".join(lines)


def table(figures: Sequence[Figure]) -> str:
    """Return all figures as lines of text, and what they mean."""
    lines = [f"{'rows':<10}{'quantity':<12}{'onnxruntime':>13}{'torch':>13}{'limit':>13}{'of limit':>11}"]
    for f in figures:
        share = f"{f.percent}%" if f.passed else "too large"
        lines.append(f"{f.rows:<10}{f.quantity:<12}{f.error:>13.2e}{f.torch:>13.2e}{f.limit:>13.2e}{share:>11}")
    return "\n".join([*lines, LEGEND])
