"""What the page says of its model: the part of the manifest that it shows or needs, and the held-out events' scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def describe(manifest: dict[str, Any], reference: dict[str, np.ndarray], title: str) -> dict[str, Any]:
    """As JSON: title, shapes, the scores of the held-out events in the units of `Model.score`, their contexts."""
    event, x = manifest["event"], reference["x"]
    unit = math.prod(event["shape"]) * math.log(2.0) if event["levels"] else 1.0
    return {
        "title": title,
        **{name: manifest[name] for name in ("flowkit", "model", "event", "context", "latents", "base")},
        "threshold": manifest.get("threshold"),
        "weights_file": manifest.get("weights_file"),
        "range": [float(x.min()), float(x.max())],
        "scores": _rounded(-reference["log_prob"] / unit),
        "contexts": _rounded(reference["context"].reshape(len(x), -1)) if "context" in reference else None,
    }


def _rounded(array: np.ndarray) -> list[Any]:
    """As JSON: seven digits are what fp32 holds."""
    return [[float(f"{v:.7g}") for v in row] if row.ndim else float(f"{row:.7g}") for row in array]
