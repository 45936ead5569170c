"""Generates counter-based noise: every number is a pure function of (seed, stream, position).

The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011;
reference code: Random123). Block i of a stream is

    philox4x32_10(counter = (i mod 2^32, i div 2^32, stream, 0), key = (seed mod 2^32, seed div 2^32))

Its four 32-bit words (w0, w1, w2, w3) give two uniforms of 23 bits, in the middle of their cells,

    (floor(w0 / 2^9) + 1/2) / 2^23,   (floor(w2 / 2^9) + 1/2) / 2^23,

which are exact in float32, and never 0 or 1. Or they give, by Box and Muller (1958), two normals,

    r = sqrt(-2 ln(1 - u0)),   n0 = r cos(2 pi u1),   n1 = r sin(2 pi u1),

from u0 = (floor(w0 / 2^5) 2^26 + floor(w1 / 2^6)) / 2^53, and u1 likewise from (w2, w3).

The element at row-major flat index j of an array is number (j mod 2) of block (j div 2). A row therefore does not
depend on how many rows follow it, and chunks drawn with `start` agree with the whole.

The arrays of noise of a sample use the streams 0, 1, 2, … in the order of the latents: a standard normal latent has one
array, another as many as its base declares. Dequantization draw d uses stream 2^31 + d. If the dequantization noise is
made from M arrays, these are the M streams from 2^31 + d M on. `runtime/test_vectors.json` in the repository holds
values to check other implementations against.
"""

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.errors import InputError, quoted, shortened
from flowkit_runtime.inputs import enough_memory, integer

DEQUANTIZATION_STREAM = 1 << 31

_ROUNDS = 10
_LOW = 0xFFFFFFFF
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85

Words = NDArray[np.uint32]
Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


@enough_memory()
def uniform(seed: int, stream: int, shape: Sequence[int], start: int = 0) -> NDArray[np.float64]:
    """Return uniform numbers (k + 1/2) / 2^23 between 0 and 1, with 23 random bits each.

    Args:
        seed: integer in [0, 2^64).
        stream: integer in [0, 2^32); different streams of a seed are independent.
        shape: shape of the result; its first axis counts rows.
        start: the row of the stream, of 2^65 numbers, at which the result begins.

    Raises:
        InputError: an argument is not an integer in its range, the stream is too short, or there isn't enough memory
            for the shape.
    """
    return _draw(seed, stream, shape, start, _uniform_pair)


@enough_memory()
def normal(seed: int, stream: int, shape: Sequence[int], start: int = 0) -> NDArray[np.float64]:
    """Return standard normal numbers. The arguments and errors are those of `uniform`."""
    return _draw(seed, stream, shape, start, _box_muller)


def philox4x32(counter: Sequence[NDArray[Any]], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Return Philox4x32-10 of arrays of counters.

    Args:
        counter: the four counter words, arrays of 32-bit values that broadcast together.
        key: the two 32-bit key words.

    Returns:
        The four output words.
    """
    c0, c1, c2, c3 = (word.astype(np.uint32) for word in np.broadcast_arrays(*counter))
    buffers = np.empty((2, 2, *c0.shape, 2), "<u4")  # the words 1 and 3 stay in that of the round before
    k0, k1 = key
    for number in range(_ROUNDS):
        halves = buffers[number % 2]  # the low and the high half of each product
        product0, product2 = halves.view("<u8")[..., 0]
        np.multiply(c0, _MULTIPLIERS[0], out=product0, dtype=np.uint64)
        np.multiply(c2, _MULTIPLIERS[1], out=product2, dtype=np.uint64)
        (low0, low2), (high0, high2) = halves[..., 0], halves[..., 1]
        np.bitwise_xor(c1, high2, out=c0)
        np.bitwise_xor(c3, high0, out=c2)
        c0 ^= np.uint32(k0)
        c2 ^= np.uint32(k1)
        c1, c3 = low2, low0
        k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW, (k1 + _KEY_STEPS[1]) & _LOW
    return c0, c1, c2, c3


def _draw(
    seed: int, stream: int, shape: Sequence[int], start: int, transform: Callable[..., Pair]
) -> NDArray[np.float64]:
    seed, stream = integer("seed", seed, 0, 1 << 64), integer("stream", stream, 0, 1 << 32)
    shape = _sizes(shape)
    count, first = math.prod(shape), integer("start", start, 0) * math.prod(shape[1:])
    if count > sys.maxsize // 16:  # a pair of numbers takes 16 bytes
        raise InputError(f"shape asks for {shortened(count)} numbers, more than one array can hold")
    block, end = first // 2, (first + count + 1) // 2
    if end > 1 << 64:
        raise InputError(f"start is {shortened(start)}, and a stream ends before that: it has 2^64 blocks")
    pair = transform(*_words(seed, stream, block, end - block))
    flat = np.stack(pair, axis=1).reshape(-1)
    return flat[first - 2 * block :][:count].reshape(shape)


def _sizes(shape: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(shape, list | tuple):
        raise InputError(f"shape must be a list of sizes, got {quoted(shape)}")
    return tuple(integer("shape", size, 0) for size in shape)


def _words(seed: int, stream: int, block: int, blocks: int) -> tuple[Words, Words, Words, Words]:
    index = np.uint64(block) + np.arange(blocks, dtype="<u8")
    low, high = index.view("<u4").reshape(-1, 2).T
    return philox4x32((low, high, np.full(1, stream), np.zeros(1, int)), (seed & _LOW, seed >> 32))


def _uniform_pair(w0: Words, w1: Words, w2: Words, w3: Words) -> Pair:
    return _middle_of_cell(w0), _middle_of_cell(w2)


def _middle_of_cell(word: Words) -> NDArray[np.float64]:
    middle = (word >> np.uint32(9)).astype(np.float64)
    middle += 0.5
    middle *= 2.0**-23
    return middle


def _unit_interval(high: Words, low: Words) -> NDArray[np.float64]:
    return (high >> np.uint32(5)) * 2.0**-27 + (low >> np.uint32(6)) * 2.0**-53


def _box_muller(w0: Words, w1: Words, w2: Words, w3: Words) -> Pair:
    u0, u1 = _unit_interval(w0, w1), _unit_interval(w2, w3)
    radius = np.sqrt(-2.0 * np.log(1.0 - u0))  # 1 - u lies in (0, 1], so the logarithm is finite
    angle = 2.0 * np.pi * u1
    return radius * np.cos(angle), radius * np.sin(angle)
