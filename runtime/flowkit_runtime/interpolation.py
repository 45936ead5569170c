"""Interpolates between latents."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Latents = tuple[NDArray[np.float32], ...]
_PARALLEL = 1e-6  # if the sine of the angle is below this, a straight line is taken


def path_between(ends: Sequence[NDArray[np.float32]], n: int, arc: bool = True) -> Latents:
    """Return n points on the arc from z_a to z_b, or on the straight line unless `arc`.

    Each array of `ends` holds its part of both, [2, *shape]. The straight line is for latents that aren't standard
    normal. It stays in the support of a uniform distribution, for example.

    The arc is spherical interpolation (White, "Sampling generative networks", 2016, arXiv:1609.04468), with all latents
    joined to one vector. With Ω the angle between z_a and z_b,

        z(t) = (sin((1-t)Ω) z_a + sin(tΩ) z_b) / sin Ω,   t = 0, 1/(n-1), …, 1.

    Nearly all of the mass of N(0, I) in D dimensions lies at a distance of about √D from 0, and two latents are nearly
    orthogonal. The middle of the straight line between them has a distance of only √(D/2), where there is almost no
    mass, and decodes to events with too little detail. On the arc, the squares of the two weights sum to 1 at Ω = π/2,
    so that z(t) is N(0, I) if z_a and z_b are. For close latents, Ω → 0, the arc becomes the straight line. (Dividing
    the straight line by √((1-t)² + t²) would also keep the distribution, but for close latents the path would leave
    their neighbourhood.) Opposite latents, Ω = π, determine no arc, so the straight line is taken.
    """
    a, b = (np.concatenate([end[i].ravel() for end in ends]).astype(np.float64) for i in (0, 1))
    t = np.linspace(0.0, 1.0, n)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    angle = np.arccos(np.clip(a @ b / norms, -1.0, 1.0)) if norms > 0 else 0.0
    if not arc or np.sin(angle) < _PARALLEL:
        weights = 1.0 - t, t
    else:
        weights = np.sin((1.0 - t) * angle) / np.sin(angle), np.sin(t * angle) / np.sin(angle)
    path = (np.outer(weights[0], a) + np.outer(weights[1], b)).astype(np.float32)  # [n, D]
    cuts = np.cumsum([end[0].size for end in ends])[:-1]
    parts = np.split(path, cuts, axis=1)
    return tuple(part.reshape(n, *end.shape[1:]) for part, end in zip(parts, ends, strict=True))
