"""Computes densities, latents and events of one batch with the graphs of a flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.bundle import BASE, DECODER, DEQUANTIZER, ENCODER, Bundle, NoiseArray
from flowkit_runtime.inputs import Array, finite
from flowkit_runtime.noise import DEQUANTIZATION_STREAM, normal, uniform
from flowkit_runtime.session import Graph

Float32s = NDArray[np.float32]


class FlowGraphs:
    """The graphs of a bundle as functions of arrays, whose values the caller has checked.

    `contexts` has one row for each row of the batch. It is None for an unconditional flow.
    """

    def __init__(self, bundle: Bundle, graphs: Mapping[str, Graph]) -> None:
        self._bundle, self._graphs = bundle, graphs

    def log_prob(self, x: Float32s, contexts: Array | None) -> Float32s:
        """Return the log-densities at points, [n]."""
        (log_prob,) = self._run(ENCODER, ["log_prob"], {"x": x}, contexts)
        return log_prob

    def encode(self, x: Float32s, contexts: Array | None) -> list[Float32s]:
        """Return the latents of points."""
        return self._run(ENCODER, self._bundle.latent_names, {"x": x}, contexts)

    def decode(self, latents: Sequence[Float32s], contexts: Array | None) -> Float32s:
        """Return the points of latents."""
        (x,) = self._run(DECODER, ["x"], dict(zip(self._bundle.latent_names, latents, strict=True)), contexts)
        return x

    def sample_latents(self, seed: int, temperature: float, contexts: Array | None, rows: slice) -> list[Float32s]:
        """Return latents that are drawn for these rows: noise, or what the graph of the bases makes from noise."""
        names, noise = self._bundle.latent_names, self._bundle.noise
        if noise is None:
            shapes = zip(names, self._bundle.latent_shapes, strict=True)
            normals = {name: NoiseArray("normal", shape) for name, shape in shapes}
            return list(_draw(normals, seed, temperature, rows).values())
        latents = self._run(BASE, names, _draw(noise, seed, temperature, rows), contexts)
        return [finite(name, z, rows.start) for name, z in zip(names, latents, strict=True)]

    def dequantize(
        self, values: NDArray[np.float64], seed: int, draw: int, start: int
    ) -> tuple[Float32s, NDArray[np.float64]]:
        """Return the points k + u for one draw of the noise u of integers k, and ln q(u | k), [n].

        `start` is the number of the first row.
        """
        noise = self._bundle.dequantization
        if noise is None:
            u = uniform(seed, DEQUANTIZATION_STREAM + draw, values.shape, start)
            return add_noise(values, u), np.zeros(len(values))
        rows, first_stream = slice(start, start + len(values)), DEQUANTIZATION_STREAM + draw * len(noise)
        drawn = _draw(noise, seed, 1.0, rows, first_stream)
        of_noise, log_q = self._run(DEQUANTIZER, ["u", "log_q"], {"k": values.astype(np.float32), **drawn}, None)
        return add_noise(values, of_noise.astype(np.float64)), log_q.astype(np.float64)

    def _run(
        self, graph: str, outputs: Sequence[str], arrays: Mapping[str, Array], contexts: Array | None
    ) -> list[Float32s]:
        feed = dict(arrays) if contexts is None else {**arrays, "context": contexts}
        return self._graphs[graph].run(outputs, {name: np.ascontiguousarray(array) for name, array in feed.items()})


def add_noise(values: NDArray[np.float64], u: NDArray[np.float64]) -> Float32s:
    """Return k + u for integers k and noise 0 <= u < 1, as float32.

    float32 can round k + u up to k + 1, which is outside k's cell and, for the top level, outside the data's range.
    """
    noisy, following = (values + u).astype(np.float32), (values + 1).astype(np.float32)
    is_outside = noisy >= following
    noisy[is_outside] = np.nextafter(following[is_outside], np.float32(0))
    return noisy


def _draw(
    arrays: Mapping[str, NoiseArray], seed: int, temperature: float, rows: slice, first_stream: int = 0
) -> dict[str, Float32s]:
    """Return arrays of noise for these rows by name, each of a stream of its own."""
    drawn = {}
    for stream, (name, each) in enumerate(arrays.items(), first_stream):
        shape = (rows.stop - rows.start, *each.shape)
        if each.kind == "uniform":
            drawn[name] = uniform(seed, stream, shape, rows.start).astype(np.float32)  # exact
            continue
        with np.errstate(over="ignore"):  # overflow gives inf, which is rejected
            drawn[name] = finite(name, temperature * normal(seed, stream, shape, rows.start), rows.start)
    return drawn
