"""Verifies a bundle: compares its graphs with the outputs of the fp64 model, which the bundle contains."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.bundle import BASE, DECODER, DEQUANTIZER, ENCODER, REFERENCE, Bundle, is_number, read_bundle
from flowkit_runtime.errors import BundleError, VerificationError
from flowkit_runtime.files import read_npz
from flowkit_runtime.providers import Provider
from flowkit_runtime.session import Graph, open_graphs
from flowkit_runtime.verdict import Figure, table

BATCH_SIZES = (1, 2, 7, 64)
_PASSES = BATCH_SIZES[-1:], BATCH_SIZES[:-1]
"""Each pass runs all rows, in batches whose sizes take turns. So each row is run twice.

A pass for each size would spend most of its time on batches of one or two rows: a graph with a loop over the values of
an event takes as long for one row as for dozens."""
MAX_ROWS = 1024
"""The most reference rows that a bundle may contain."""
GROUPS = ("held-out", "off-data", "extremes")
"""The groups of reference rows.

They are held-out data; constants, noise and checkerboards in the range of the data; and values far outside of it,
infinite and NaN.
"""
QUANTITIES = ("latents", "log_prob", "decoded", "round_trip")
SAMPLED = "sampled"
"""One more quantity, of bundles with a graph of the bases: the latents that it makes from noise."""
DEQUANTIZED = ("u", "log_q")
"""Two more quantities, of bundles with a graph of the dequantization noise: the noise, and its log-density."""
DENSITIES = ("log_prob", "log_q")
YARDSTICK = 3.0
"""The largest error of the graphs, relative to that of the same model in torch in the same precision."""
ROUNDINGS = 8 * float(np.finfo(np.float32).eps)
"""A few roundings in fp32, relative to the largest value. Two orders of summation may differ by this much."""

NamedArrays = dict[str, NDArray[np.float64]]
Errors = dict[str, dict[str, float]]
"""{group: {quantity: largest error}}."""


def verify(directory: str | PathLike[str], providers: Sequence[Provider] | None = None) -> list[Figure]:
    """Run all graphs on the reference rows, in batches of 64 and of 1, 2 and 7 in turn, and return the figures.

    Raises:
        BundleError: the bundle is missing or damaged, or contains no usable reference.
        VerificationError: an error exceeds its limit; the message holds all figures.
    """
    figures = measure(directory, providers)
    if not all(figure.passed for figure in figures):
        raise VerificationError(f"{directory} deviates from its fp64 model:\n{table(figures)}")
    return figures


def measure(directory: str | PathLike[str], providers: Sequence[Provider] | None = None) -> list[Figure]:
    """Return the figures of `verify`, even if they exceed their limits."""
    bundle = read_bundle(directory)
    return measure_open(bundle, open_graphs(bundle, providers))


def measure_open(bundle: Bundle, graphs: Mapping[str, Graph]) -> list[Figure]:
    """Return the figures of `verify` for a bundle whose graphs are open."""
    reference = _read_reference(bundle)
    own = _own_errors(bundle, quantities_of(reference))
    answers = [_answer(bundle, graphs, reference, sizes) for sizes in _PASSES]
    return list(_judge(bundle.latent_names, bundle.levels, reference, answers, own))


def _judge(
    names: Sequence[str], levels: int | None, reference: NamedArrays, answers: Sequence[NamedArrays], own: Errors
) -> Iterator[Figure]:
    """Yield the figures of the graphs' answers at all batch sizes. ``names`` are those of the latents."""
    each = [compare(names, levels, reference, answer) for answer in answers]
    for group, errors in each[0].items():
        for quantity in errors:
            error, torch = max(one[group][quantity] for one in each), own[group][quantity]
            rounding = _rounding(quantity, _rows(reference, group, quantity), names, levels)
            yield Figure(group, quantity, _unit_name(quantity, levels), error, torch, YARDSTICK * torch + rounding)


def compare(names: Sequence[str], levels: int | None, reference: NamedArrays, answer: NamedArrays) -> Errors:
    """Return the largest errors of an answer, in the units of Figure."""
    errors: dict[str, NDArray[np.float64]] = {}
    for quantity, arrays in _arrays(names).items():
        if arrays[0] in answer:
            with np.errstate(over="ignore", invalid="ignore"):  # some rows aren't finite
                differences = [_by_row(answer[name] - _wanted(reference, name)) for name in arrays]
            errors[quantity] = np.max(differences, axis=0) / unit_of(quantity, reference, levels)
    masks = {group: {quantity: _mask(reference, group, quantity) for quantity in errors} for group in GROUPS}
    largest = {
        group: {quantity: float(errors[quantity][rows].max()) for quantity, rows in of_group.items() if rows.any()}
        for group, of_group in masks.items()
    }
    return {group: of_group for group, of_group in largest.items() if of_group}


def _arrays(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the arrays of an answer that make up each quantity. ``names`` are those of the latents."""
    single = {quantity: [quantity] for quantity in ("log_prob", "decoded", "round_trip", *DEQUANTIZED)}
    return {"latents": [*names], **single, SAMPLED: [sampled_name(name) for name in names]}


def _wanted(reference: NamedArrays, name: str) -> NDArray[np.float64]:
    """Return what an array of an answer should be."""
    return reference["x" if name == "round_trip" else name]


def sampled_name(latent: str) -> str:
    """Return the name of the latent that the graph of the bases makes from noise, beside that which x is encoded to."""
    return f"{SAMPLED}_{latent}"


def quantities_of(reference: Iterable[str]) -> tuple[str, ...]:
    """Return the quantities that a bundle is judged by, given the names of its reference's arrays.

    A flow that has one direction only lacks some of them.
    """
    there = set(reference)
    needed = {"latents": {"log_prob"}, "round_trip": {"log_prob", "decoded"}, SAMPLED: {sampled_name("z_1")}}
    return tuple(each for each in (*QUANTITIES, SAMPLED, *DEQUANTIZED) if needed.get(each, {each}) <= there)


def _read_reference(bundle: Bundle) -> NamedArrays:
    path = bundle.directory / REFERENCE
    shapes: dict[str, tuple[int, ...]] = {"group": (), "judged": ()}
    shapes |= {"x": bundle.event_shape, "log_prob": ()} if ENCODER in bundle.graphs else {}
    shapes |= {"decoded": bundle.event_shape} if DECODER in bundle.graphs else {}
    shapes |= dict(zip(bundle.latent_names, bundle.latent_shapes, strict=True))
    if bundle.noise is not None:
        shapes |= {name: each.shape for name, each in bundle.noise.items()}
        shapes |= dict(zip(map(sampled_name, bundle.latent_names), bundle.latent_shapes, strict=True))
        shapes |= {judged_name(SAMPLED): ()}
    if bundle.dequantization is not None:
        shapes |= {name: each.shape for name, each in bundle.dequantization.items()}
        shapes |= {"k": bundle.event_shape, "u": bundle.event_shape, "log_q": (), judged_name("u"): ()}
    if bundle.context is not None:
        shapes["context"] = bundle.context.shape
    try:
        return read_npz(path, shapes, range(1, MAX_ROWS + 1))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} can't be read: {error}; export the bundle again") from error


def _own_errors(bundle: Bundle, quantities: Sequence[str]) -> Errors:
    own = bundle.manifest.get("torch_errors")
    if not isinstance(own, dict) or not all(group in own and _is_complete(own[group], quantities) for group in GROUPS):
        raise BundleError(
            f"{bundle.directory}: the manifest has no torch_errors of {', '.join(quantities)} for "
            f"{', '.join(GROUPS)}; export the bundle again"
        )
    return own


def _is_complete(errors: Any, quantities: Sequence[str]) -> bool:
    return isinstance(errors, dict) and all(is_number(errors.get(quantity)) for quantity in quantities)


def _answer(bundle: Bundle, graphs: Mapping[str, Graph], reference: NamedArrays, sizes: Sequence[int]) -> NamedArrays:
    """Run the graphs on the reference rows, in batches whose ``sizes`` take turns, and return their outputs."""
    names = bundle.latent_names
    context = {"context": reference["context"]} if "context" in reference else {}
    answer: NamedArrays = {}
    if ENCODER in graphs:
        outputs = [*names, "log_prob"]
        encoded = _run(graphs[ENCODER], outputs, {"x": reference["x"], **context}, sizes)
        answer |= dict(zip(outputs, encoded, strict=True))
    if DECODER in graphs:
        own = {name: answer[name] for name in names if name in answer}
        for quantity, latents in {"decoded": {name: reference[name] for name in names}, "round_trip": own}.items():
            if latents:
                (answer[quantity],) = _run(graphs[DECODER], ["x"], {**latents, **context}, sizes)
    if BASE in graphs:
        noise = {name: reference[name] for name in bundle.noise or ()}
        sampled = _run(graphs[BASE], names, {**noise, **context}, sizes)
        answer |= dict(zip(map(sampled_name, names), sampled, strict=True))
    if DEQUANTIZER in graphs:
        feed = {name: reference[name] for name in ("k", *(bundle.dequantization or ()))}
        answer |= dict(zip(DEQUANTIZED, _run(graphs[DEQUANTIZER], DEQUANTIZED, feed, sizes), strict=True))
    return answer


def _run(graph: Graph, outputs: Sequence[str], feed: NamedArrays, sizes: Sequence[int]) -> list[NDArray[np.float64]]:
    """Run a graph on all rows, in batches whose ``sizes`` take turns, and return the named outputs."""
    with np.errstate(over="ignore"):
        typed = {name: array if array.dtype.kind == "i" else array.astype(np.float32) for name, array in feed.items()}
    rows = len(next(iter(typed.values())))
    parts = [
        graph.run(outputs, {name: array[batch] for name, array in typed.items()}) for batch in _batches(rows, sizes)
    ]
    return [np.concatenate(column).astype(np.float64) for column in zip(*parts, strict=True)]


def _batches(rows: int, sizes: Sequence[int]) -> Iterator[slice]:
    """Yield the rows of each batch. The ``sizes`` take turns, and the last batch may be smaller."""
    start = 0
    for size in cycle(sizes):
        if start >= rows:
            return
        yield slice(start, start := start + size)


def judged_name(quantity: str) -> str:
    """Return the name of the array that is 1 for each row by which a quantity, or an array of answers, is judged.

    Noise doesn't depend on x, so what graphs make from it is judged on rows of its own.
    """
    if quantity in DEQUANTIZED:
        return "judged_u"
    return f"judged_{SAMPLED}" if quantity.startswith(SAMPLED) else "judged"


def _mask(reference: NamedArrays, group: str, quantity: str) -> NDArray[np.bool_]:
    """Return a mask of the rows that belong to the group and by which the quantity is judged."""
    return (reference["group"] == GROUPS.index(group)) & (reference[judged_name(quantity)] == 1)


def _rows(reference: NamedArrays, group: str, quantity: str) -> NamedArrays:
    mask = _mask(reference, group, quantity)
    return {name: array[mask] for name, array in reference.items()}


def _rounding(quantity: str, reference: NamedArrays, names: Sequence[str], levels: int | None) -> float:
    """Return ROUNDINGS of the largest value, in the units of Figure."""
    largest = max(float(_by_row(_wanted(reference, name)).max()) for name in _arrays(names)[quantity])
    return ROUNDINGS * largest / unit_of(quantity, reference, levels)


def unit_of(quantity: str, reference: NamedArrays, levels: int | None) -> float:
    """Return the unit of a quantity in a Figure, such as D log 2 nats for bits/dim."""
    if levels is None or quantity not in (*DENSITIES, "decoded", "round_trip"):
        return 1.0
    return math.prod(reference["x"].shape[1:]) * math.log(2.0) if quantity in DENSITIES else float(levels)


def _unit_name(quantity: str, levels: int | None) -> str:
    """Return the name of the unit of a quantity in a Figure. It is empty for the units of the latents or the data."""
    if quantity in DENSITIES:
        return "nats" if levels is None else "bits/dim"
    return "of range" if levels is not None and quantity in ("decoded", "round_trip") else ""


def _by_row(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest absolute value of each row. It is infinite if a value isn't finite."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.abs(array.reshape(len(array), -1)).max(axis=1), nan=np.inf, posinf=np.inf)
