"""Paths between latents."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Latents = tuple[NDArray[np.float32], ...]
_PARALLEL = 1e-6  # sin of the angle below which the arc is a straight line, or not determined


def path_between(ends: Sequence[NDArray[np.float32]], n: int) -> Latents:
    """n points on the arc from z_a to z_b; each array of `ends` holds the two of them, [2, *shape].

    Spherical interpolation (White, "Sampling generative networks", 2016, arXiv:1609.04468), all latents taken as
    one vector: with Ω the angle between z_a and z_b,

        z(t) = (sin((1-t)Ω) z_a + sin(tΩ) z_b) / sin Ω,   t = 0, 1/(n-1), …, 1.

    Nearly all of N(0, I) in D dimensions lies at a distance of about √D from 0, and two latents are nearly
    orthogonal. The straight line between them passes at √(D/2), where there is as good as no probability: what it
    decodes to is too plain. On the arc the weights' squares sum to 1 at Ω = π/2, so that z(t) is N(0, I) if z_a and
    z_b are; and between neighbours, Ω → 0, it becomes the straight line. (Dividing the straight line by
    √((1-t)² + t²), which keeps the distribution as well, would leave the neighbourhood.) Opposite ends, Ω = π,
    determine no arc: the straight line is taken.
    """
    a, b = (np.concatenate([end[i].ravel() for end in ends]).astype(np.float64) for i in (0, 1))
    t = np.linspace(0.0, 1.0, n)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    angle = np.arccos(np.clip(a @ b / norms, -1.0, 1.0)) if norms > 0 else 0.0
    if np.sin(angle) < _PARALLEL:
        weights = 1.0 - t, t
    else:
        weights = np.sin((1.0 - t) * angle) / np.sin(angle), np.sin(t * angle) / np.sin(angle)
    path = (np.outer(weights[0], a) + np.outer(weights[1], b)).astype(np.float32)  # [n, D]
    cuts = np.cumsum([end[0].size for end in ends])[:-1]
    parts = np.split(path, cuts, axis=1)
    return tuple(part.reshape(n, *end.shape[1:]) for part, end in zip(parts, ends, strict=True))
