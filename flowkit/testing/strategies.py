"""Offers hypothesis strategies for your tests: event shapes, contexts, batches, modules with moved parameters.

from hypothesis import given, strategies as st
from flowkit.testing.strategies import batches, events, perturbed

@given(events().flatmap(lambda event: st.tuples(perturbed(lambda: MyLayer(event)), batches(event))))
def test_it_goes_back(case):
    layer, x = case
    y, _ = layer.forward_and_log_det(x)
    torch.testing.assert_close(layer.inverse_and_log_det(y)[0], x)

Needs hypothesis. Whole checks run on drawn shapes too: ``check_bijector(lambda: MyLayer(event), seed=seed)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from flowkit.plugin import Shape
from flowkit.testing.perturbation import perturb, seeded

Module = TypeVar("Module", bound=nn.Module)

SEEDS = st.integers(0, 2**31 - 1)


def events(max_size: int = 24) -> st.SearchStrategy[Shape]:
    """Draw event shapes of at most so many values: (d,), and (channels, height, width), even, odd and 1."""
    return st.one_of(st.tuples(st.integers(1, max_size)), images(max_size))


def images(max_size: int = 24, multiple_of: int = 1) -> st.SearchStrategy[Shape]:
    """Draw shapes of images only, with sides that are multiples of this number."""
    side = st.integers(1, max(1, math.isqrt(max_size) // multiple_of)).map(lambda n: n * multiple_of)
    sides = st.tuples(side, side).filter(lambda pair: math.prod(pair) <= max_size)
    return sides.flatmap(lambda pair: st.tuples(st.integers(1, max_size // math.prod(pair)), *map(st.just, pair)))


def contexts(max_size: int = 8) -> st.SearchStrategy[Shape | None]:
    """Draw shapes of contexts, and None for no context."""
    return st.none() | events(max_size)


def batches(shape: Shape, max_rows: int = 4) -> st.SearchStrategy[Tensor]:
    """Draw events of this shape, fp64 [rows, *shape]: normal draws, times 0.01 to 100, or no rows."""

    def draw(rows: int, exponent: int, seed: int) -> Tensor:
        with seeded(seed):
            return torch.randn(rows, *shape, dtype=torch.float64) * 10.0**exponent

    return st.builds(draw, st.integers(0, max_rows), st.sampled_from([0, 0, 0, -2, -1, 1, 2]), SEEDS)


def perturbed(make: Callable[[], Module], max_scale: float = 0.3) -> st.SearchStrategy[Module]:
    """Draw what ``make`` builds, in fp64 and evaluation mode, with its parameters moved by `perturb`."""

    def draw(scale: float, seed: int) -> Module:
        with seeded(seed):
            module = make().double().eval()
            perturb(module, scale)
        return module

    return st.builds(draw, st.floats(max_scale / 100, max_scale), SEEDS)
