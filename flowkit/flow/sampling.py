"""Draws noise, and the latents that base distributions make of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.bijectors import Base, Noise, full_precision
from flowkit.bijectors.base_distribution import as_uniform
from flowkit.flow.inputs import as_flowkit, channels_last
from flowkit_runtime import noise


def draw_noise(wanted: Noise, like: Tensor, scale: float, seed: int | None, stream: int, start: int) -> Tensor:
    """Return noise [n, *shape] for n events.

    Args:
        wanted: The kind of noise, and its shape for one event. Normal noise is scaled, uniform noise isn't.
        like: A tensor [n, …] on the device and in the precision of the events.
        scale: The standard deviation of normal noise.
        seed: The seed. The same seed and stream give the same noise in flowkit_runtime. Without a seed the noise is
            drawn from torch's global generator.
        stream: The stream of the seed.
        start: The first row of the stream that is used.

    Raises:
        InputError: If the seed is out of range.
    """
    shape, is_normal = (len(like), *wanted.shape), wanted.kind == "normal"
    if seed is None:
        drawn = (torch.randn if is_normal else torch.rand)(shape, dtype=like.dtype, device=like.device)
        return drawn * scale if is_normal else as_uniform(drawn)
    numbers = as_flowkit(noise.normal if is_normal else noise.uniform, seed, stream, shape, start)
    return torch.from_numpy(numbers * scale if is_normal else numbers).to(like)


def draw_latents(
    bases: Sequence[Base],
    like: Tensor,
    context: Tensor | None,
    temperature: float,
    seed: int | None,
    first_stream: int = 0,
    start: int = 0,
) -> tuple[Tensor, ...]:
    """Return latents z_1, …, z_L, each [n, *shape], with gradients for the parameters of the bases and the context.

    Each array of noise has a stream of its own, in the order of the latents, from ``first_stream`` on. The context is
    as bases read it. The other arguments are those of ``draw_noise``.
    """
    latents, streams = [], itertools.count(first_stream)
    with full_precision(like.device):
        for base in bases:
            drawn = [draw_noise(each, like, temperature, seed, next(streams), start) for each in base.noise]
            latents.append(channels_last(base.from_noise(drawn, context)))
    return tuple(latents)
