"""Compare a bundle's graphs with the answers of the fp64 model that the bundle carries."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.bundle import REFERENCE, Bundle, read_bundle
from flowkit_runtime.errors import BundleError, VerificationError
from flowkit_runtime.files import read_npz
from flowkit_runtime.session import Graph, Provider, open_graphs

BATCH_SIZES = (1, 2, 7, 64)
MAX_ROWS = 1024
"""The most reference rows that a bundle may carry."""
QUANTITIES = ("latents", "log_prob", "decoded", "round_trip")
YARDSTICK = 3.0
"""How many times the error of the same model in fp32 torch the graphs may have."""
_ROUNDINGS = 8  # of the largest value in fp32: what any two orders of summation may differ by

Arrays = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Figure:
    """The largest error of one quantity over all reference rows and batch sizes.

    Attributes:
        quantity: latents in their own units, log_prob in bits/dim; decoded and round_trip in data units, for
            integer data as a share of its range [0, levels).
        error: of the graphs, against fp64.
        torch_fp32: of the same model in fp32 torch, against fp64.
        limit: the most that `error` may be: 3 times torch_fp32, and some roundings.
    """

    quantity: str
    error: float
    torch_fp32: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the limit; never for NaN."""
        return self.error <= self.limit


def verify(directory: str | PathLike[str], providers: Sequence[Provider] | None = None) -> list[Figure]:
    """Run both graphs on the reference rows, in batches of 1, 2, 7 and 64.

    Raises:
        BundleError: the bundle is missing, damaged or carries no usable reference.
        VerificationError: a quantity deviates by more than its limit; the message holds all figures.
    """
    bundle = read_bundle(directory)
    reference = _read_reference(bundle)
    encoder, decoder = open_graphs(bundle, providers)
    answers = [_answers(bundle, encoder, decoder, reference, size) for size in BATCH_SIZES]
    own = _own_errors(bundle)
    figures = [
        Figure(
            quantity,
            max(errors),
            own[quantity],
            YARDSTICK * own[quantity] + _rounding(quantity, reference, bundle),
        )
        for quantity, errors in _collect(
            compare(bundle.latent_names, bundle.levels, reference, answer) for answer in answers
        ).items()
    ]
    if not all(figure.passed for figure in figures):
        raise VerificationError(f"{directory} deviates from its fp64 model:\n{table(figures)}")
    return figures


def compare(latent_names: Sequence[str], levels: int | None, reference: Arrays, answer: Arrays) -> dict[str, float]:
    """The largest error of each quantity, in the units of Figure."""
    span = levels or 1
    dim = math.prod(reference["x"].shape[1:]) * math.log(2.0)
    return {
        "latents": max(_largest(answer[name] - reference[name]) for name in latent_names),
        "log_prob": _largest(answer["log_prob"] - reference["log_prob"]) / dim,
        "decoded": _largest(answer["decoded"] - reference["decoded"]) / span,
        "round_trip": _largest(answer["round_trip"] - reference["x"]) / span,
    }


def table(figures: Sequence[Figure]) -> str:
    """The figures as lines of text."""
    lines = [f"{'quantity':<12}{'onnxruntime':>13}{'torch fp32':>13}{'limit':>13}"]
    for f in figures:
        verdict = "" if f.passed else "   too large"
        lines.append(f"{f.quantity:<12}{f.error:>13.2e}{f.torch_fp32:>13.2e}{f.limit:>13.2e}{verdict}")
    return "\n".join(lines)


def _read_reference(bundle: Bundle) -> Arrays:
    path = bundle.directory / REFERENCE
    shapes = {"x": bundle.event_shape, "log_prob": (), "decoded": bundle.event_shape}
    shapes |= dict(zip(bundle.latent_names, bundle.latent_shapes, strict=True))
    if bundle.context is not None:
        shapes["context"] = bundle.context.shape
    try:
        return read_npz(path, shapes, MAX_ROWS)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} can't be read: {error}; export the bundle again") from error


def _own_errors(bundle: Bundle) -> dict[str, float]:
    own = bundle.manifest.get("torch_fp32")
    if not isinstance(own, dict) or not all(_is_float(own.get(quantity)) for quantity in QUANTITIES):
        raise BundleError(
            f"{bundle.directory}: the manifest has no torch_fp32 errors of {', '.join(QUANTITIES)}; "
            "export the bundle again"
        )
    return own


def _is_float(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # an integer may be any


def _answers(bundle: Bundle, encoder: Graph, decoder: Graph, reference: Arrays, size: int) -> Arrays:
    names = bundle.latent_names
    context = {"context": reference["context"]} if bundle.context is not None else {}
    encoded = _run(encoder, [*names, "log_prob"], {"x": reference["x"], **context}, size)
    (decoded,) = _run(decoder, ["x"], {**{name: reference[name] for name in names}, **context}, size)
    (back,) = _run(decoder, ["x"], {**dict(zip(names, encoded, strict=False)), **context}, size)
    return {**dict(zip([*names, "log_prob"], encoded, strict=True)), "decoded": decoded, "round_trip": back}


def _run(graph: Graph, outputs: Sequence[str], feed: Arrays, size: int) -> list[NDArray[np.float64]]:
    """All rows, ``size`` at a time."""
    typed = {name: array if array.dtype.kind == "i" else array.astype(np.float32) for name, array in feed.items()}
    rows = len(next(iter(typed.values())))
    parts = [
        graph.run(outputs, {name: array[start : start + size] for name, array in typed.items()})
        for start in range(0, rows, size)
    ]
    return [np.concatenate(column).astype(np.float64) for column in zip(*parts, strict=True)]


def _collect(errors: Iterator[dict[str, float]]) -> dict[str, list[float]]:
    each = list(errors)
    return {quantity: [one[quantity] for one in each] for quantity in each[0]}


def _rounding(quantity: str, reference: Arrays, bundle: Bundle) -> float:
    """Some roundings in fp32 of the largest value, in the units of Figure."""
    arrays = {"latents": [reference[name] for name in bundle.latent_names], "round_trip": [reference["x"]]}
    largest = max(_largest(array) for array in arrays.get(quantity) or [reference[quantity]])
    dim = math.prod(bundle.event_shape) * math.log(2.0)
    unit = {"latents": 1.0, "log_prob": dim}.get(quantity, bundle.levels or 1)
    return _ROUNDINGS * float(np.finfo(np.float32).eps) * largest / unit


def _largest(array: NDArray[np.float64]) -> float:
    return float(np.abs(array).max()) if array.size else 0.0
