"""The events that graphs are verified on, like the data and unlike it, and the fp64 flow's answers to them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from flowkit.export.program import encoder_and_decoder
from flowkit.flow import Flow
from flowkit_runtime.verification import GROUPS, Arrays

ROWS = 64
"""Held-out events that a bundle carries."""
_NOISE = 16
_FAR = (10.0, 1e3, 1e6)  # times the range of the data


def reference(exact: Flow, events: Tensor | None, context: Tensor | None) -> Arrays:
    """Return events of every group with the fp64 flow's answers to them, as a bundle carries them.

    The arrays are ``x``, ``context``, the latents, ``log_prob``, the events ``decoded`` from the latents in fp32, and
    ``group``, an index into GROUPS. ``events`` are held out, as the data has them; without them, samples of the flow
    are taken.
    """
    if events is None:
        context = None if exact.context is None else _any_context(exact)
        events = exact.sample(ROWS, context, seed=0)
    held_out = exact.dequantize(events[:ROWS], torch.Generator().manual_seed(0))
    parts = [held_out, _unlike(exact, held_out), _extremes(exact, held_out)]
    groups = np.repeat(np.arange(len(GROUPS), dtype=np.float64), [len(part) for part in parts])
    feed = {"x": single(torch.cat(parts)).double()}
    if context is not None:
        context = context[torch.arange(len(groups)) % min(len(context), ROWS)]
        feed["context"] = single(context).double() if context.is_floating_point() else context
    encode, decode = encoder_and_decoder(exact, [type(layer).__name__ for layer in exact.layers])
    encoded = encode.run(feed)
    answers = {name: encoded[name] for name in encode.outputs}
    latents = {name: single(encoded[name]).double() for name in decode.inputs if name in answers}
    answers["decoded"] = decode.run(feed | latents)["x"]
    return {name: value.numpy() for name, value in (feed | answers).items()} | {"group": groups}


def single(value: Tensor) -> Tensor:
    """Return numbers in fp32, as a graph takes them, and classes as they are."""
    return value.float() if value.is_floating_point() else value


def _range(flow: Flow, held_out: Tensor) -> tuple[float, float]:
    """What the values of the data lie between."""
    if flow.levels is not None:
        return 0.0, float(flow.levels)
    return held_out.min().item(), held_out.max().item()


def _unlike(flow: Flow, held_out: Tensor) -> Tensor:
    """Constants, checkerboards and noise in the range of the data."""
    low, high = _range(flow, held_out)
    shape = flow.event_shape
    constants = [torch.full(shape, low + share * (high - low)) for share in (1 / 512, 1 / 2, 511 / 512)]
    parity = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij")).sum(0)
    boards = [
        torch.where((parity // size + flip) % 2 == 0, constants[0], constants[2]) for size in (1, 2) for flip in (0, 1)
    ]
    noise = torch.rand(_NOISE, *shape, generator=torch.Generator().manual_seed(0)) * (high - low) + low
    return torch.cat([torch.stack([*constants, *boards]), noise]).double()


def _extremes(flow: Flow, held_out: Tensor) -> Tensor:
    """Values far outside of the range of the data, infinite, and NaN."""
    low, high = _range(flow, held_out)
    far = [value for times in _FAR for value in (low - times * (high - low), high + times * (high - low))]
    return torch.stack([torch.full(flow.event_shape, value) for value in (*far, math.inf, math.nan)]).double()


def _any_context(flow: Flow) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    assert flow.context is not None
    if flow.context.classes is not None:
        return torch.randint(flow.context.classes, (ROWS,), generator=generator)
    return torch.randn(ROWS, *(flow.context.shape or ()), generator=generator)
