"""Computes the yardstick that graphs are judged by: the error that torch makes in the precision of the graphs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor

from flowkit.bijectors import Noise
from flowkit.directions import lacks
from flowkit.domains import Circle, by_coordinate
from flowkit.errors import ExportError
from flowkit.export.precision import COMPUTED_IN, Precision, in_precision, networks
from flowkit.export.program import (
    Program,
    any_context,
    base_noise,
    dequantization_noise,
    latent_names,
    programs_of,
)
from flowkit.export.stitching import cpu_session
from flowkit.flow import Flow
from flowkit.flow.layer_names import first_nonfinite, frozen_names
from flowkit.shapes import Shape
from flowkit.spec import Spec, likelihood
from flowkit_runtime import noise as random
from flowkit_runtime import verification
from flowkit_runtime.bundle import BASE, DECODER, DEQUANTIZER, ENCODER
from flowkit_runtime.verification import GROUPS, ROUNDINGS, YARDSTICK, Errors, NamedArrays

ROWS = 64
"""Held-out events that a bundle carries."""
_NOISE = 16
_FARTHEST = 6.0
"""No normal number that the runtime draws has a larger square, together with its pair, than two of these have."""
_FAR = (10.0, 1e3, 1e6)  # times the range of the data, below and above it
N_ROUNDINGS = 8
"""The number of random roundings of which torch's largest error is the yardstick."""
LOST = 0.01
"""A row isn't judged if torch's error on it is this share of the row's largest value, or more."""
_SAME = 1e-6
"""The most by which an event's values may depend on its batch, as a share of the largest value, in fp64."""

_UNDONE, _MORE_DIGITS = 1e-4, 1e3
"""The relative error of a round trip in fp64 that shows a wrong inverse, unless it is that much larger in fp32."""

_JUDGED_BY = {BASE: verification.SAMPLED, DEQUANTIZER: "u"}
"""A quantity that a graph gives, by its file. All others give latents, or events from these."""

NamedTensors = Mapping[str, Tensor]


def judge(exact: Flow, precision: Precision, reference: NamedArrays) -> tuple[NamedArrays, Errors]:
    """Return the reference with an array ``judged``, 1 for each row that counts, and torch's largest errors on those.

    A row is judged if no rounding moves torch's answers to it by 1% of their largest value. Raises ExportError if the
    flow isn't finite on a held-out row, if no held-out row is judged, or if rows depend on each other.
    """
    names, frozen, directions = frozen_names(exact), exact.freeze(), exact.directions
    held_out = reference["group"] == GROUPS.index("held-out")
    _check_held_out(exact, precision, {name: array[held_out] for name, array in reference.items()})
    roundings = _roundings(frozen, precision, _inputs(reference))
    own = [_answers(programs_of(flow, names, directions), feed) for flow, feed in roundings]
    reference = reference | _judged(reference, own)
    judged = reference["judged"] == 1
    if not judged[held_out].any():
        raise ExportError(
            f"in {precision} the flow can't be verified: a rounding of its weights or inputs moves torch's own answers "
            f"to every held-out event by more than {LOST:.0%}"
        )
    each = [verification.compare(latent_names(exact), exact.levels, reference, answer) for answer in own]
    quantities = verification.quantities_of(reference)
    largest = {
        g: {q: max((e[g][q] for e in each if q in e.get(g, ())), default=0.0) for q in quantities} for g in GROUPS
    }
    for errors in largest.values():
        if "round_trip" in errors:  # torch may undo its own roundings, which are not those of the graphs
            errors["round_trip"] = max(errors["round_trip"], errors["decoded"])
    return reference, largest


def _judged(reference: NamedArrays, own: Sequence[NamedArrays]) -> NamedArrays:
    """Return an array for each group of quantities that is judged by itself, 1 for each row that counts."""
    judged = {}
    for rows in dict.fromkeys(map(verification.judged_name, verification.quantities_of(reference))):
        usable = [_relative(reference, _answers_of(rows, each)) < LOST for each in own]
        judged[rows] = np.all(usable, axis=0).astype(np.float64)
    return judged


def _answers_of(rows: str, answers: NamedArrays) -> NamedArrays:
    """Return the answers that are judged on the rows of this name."""
    return {name: array for name, array in answers.items() if verification.judged_name(name) == rows}


def _check_held_out(exact: Flow, precision: Precision, reference: NamedArrays) -> None:
    """Raise ExportError if these rows depend on each other, or the flow isn't finite on one of them."""
    names, frozen, feed = frozen_names(exact), exact.freeze(), _inputs(reference)
    programs = programs_of(frozen, names, exact.directions)
    for program in programs.values():
        _check_rows(program, feed)
    exactly = _answers(programs, feed)
    own = programs_of(in_precision(frozen.float(), precision), names, exact.directions)
    rounded = _answers(own, {name: single(value) for name, value in feed.items()})
    if not np.isfinite(_relative(reference, rounded)).all():
        flow, where = in_precision(copy.deepcopy(exact).float(), precision), None
        if "x" in feed:
            where = first_nonfinite(flow, single(feed["x"]), feed.get("context"))
        raise ExportError(
            f"in {precision} the flow is not finite on held-out events: see {where or 'its base, or its inverse'}"
        )
    if "round_trip" in exactly:
        there_and_back = ({"round_trip": answers["round_trip"]} for answers in (exactly, rounded))
        _check_inverse(exact, *(_relative(reference, each) for each in there_and_back))


def _check_inverse(exact: Flow, undone: NDArray[np.float64], in_fp32: NDArray[np.float64]) -> None:
    """Raise ExportError if a round trip is off in fp64, by these errors of each row, and not by rounding alone."""
    if ((undone > _UNDONE) & (in_fp32 < _MORE_DIGITS * undone)).any() and _comes_back(exact.to_spec()):
        raise ExportError(
            f"decoding doesn't undo encoding: a held-out event is off by {undone.max():.2g}, in float64 too. "
            "The inverse of a layer is wrong: `flowkit plugins check` finds that"
        )


def _comes_back(spec: Spec) -> bool:
    """Return True if events must come back as they were: no layer is a bound, no circle has two numbers for a point.

    A flow of the dequantization noise makes a bound of the whole, which isn't judged here then.
    """
    on_circles = any(isinstance(domain, Circle) for domain in by_coordinate(spec.event.domains))
    return likelihood(spec) == "exact" and not on_circles


def first_deviation(
    exact: Flow, precision: Precision, models: Mapping[str, onnx.ModelProto], reference: NamedArrays
) -> str | None:
    """Return where a graph begins to deviate on the judged rows, or None if no layer deviates.

    ``models`` has the graphs by file. The values of each layer have the same limits as those of the whole graph.
    """
    names, frozen, directions = frozen_names(exact), exact.freeze(), exact.directions
    for file, model in models.items():
        rows = reference[verification.judged_name(_JUDGED_BY.get(file, "latents"))]
        feed = {name: value[torch.from_numpy(rows == 1)] for name, value in _inputs(reference).items()}
        program = programs_of(frozen, names, directions)[file]
        wanted, rounded = program.run(feed), _roundings(frozen, precision, feed)
        own = [_errors(programs_of(flow, names, directions)[file].run(inputs), wanted) for flow, inputs in rounded]
        given = _errors(_inner_values(model, {name: feed[name] for name in program.inputs}), wanted)
        for instruction in program.instructions:
            for name in given.keys() & set(instruction.outputs):
                limit = YARDSTICK * max(each[name] for each in own) + ROUNDINGS * float(wanted[name].abs().max())
                if not given[name] <= limit:
                    return f"{file} begins to deviate in {instruction.name}"
    return None


def _inputs(reference: NamedArrays) -> dict[str, Tensor]:
    """Return what the graphs take: x, the integers k, the latents, the noise, the context."""
    taken = "z_", "noise_", "dequantization_noise_"
    return {
        name: torch.from_numpy(array)
        for name, array in reference.items()
        if name in ("x", "k", "context") or name.startswith(taken)
    }


def _roundings(frozen: Flow, precision: Precision, feed: NamedTensors) -> Iterator[tuple[Flow, dict[str, Tensor]]]:
    """Yield the flow in the precision of the graphs, and its inputs in fp32, with all values rounded at random.

    Each weight, buffer and input is multiplied by 1 ± ε/2, where ε is that of the type in which computations use it.
    Uniform noise is left as it is: all of its numbers are exact in fp32.
    """
    drawn = base_noise(frozen) | dequantization_noise(frozen)
    exact = {name for name, each in drawn.items() if each.kind == "uniform"}
    for seed in range(N_ROUNDINGS):
        generator, flow = torch.Generator().manual_seed(seed), copy.deepcopy(frozen)
        theirs = {id(t) for *_, network in networks(flow) for t in (*network.parameters(), *network.buffers())}
        for tensor in (*flow.parameters(), *flow.buffers()):
            dtype = COMPUTED_IN[precision] if id(tensor) in theirs else torch.float32
            tensor.data = round_at_random(tensor, dtype, generator)
        rounded = {
            name: single(value if name in exact else round_at_random(value, torch.float32, generator))
            for name, value in feed.items()
        }
        yield in_precision(flow.float(), precision), rounded


def round_at_random(value: Tensor, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Return the value with half a unit in the last place of a type added to each number, or subtracted."""
    if not value.is_floating_point():
        return value.data
    sign = torch.randint(2, value.shape, generator=generator, dtype=value.dtype) * 2 - 1
    return value.data * (1 + torch.finfo(dtype).eps / 2 * sign)


def _answers(programs: Mapping[str, Program], feed: NamedTensors) -> NamedArrays:
    """Return the answers of a flow's programs to the reference rows, as ``verification.compare`` takes them."""
    answers: dict[str, Tensor] = {}
    if (encode := programs.get(ENCODER)) is not None:
        encoded = encode.run(feed)
        answers = {name: encoded[name] for name in encode.outputs}
    if (decode := programs.get(DECODER)) is not None:
        decoded = {"decoded": decode.run(feed)["x"]}
        answers |= decoded | ({"round_trip": decode.run({**feed, **answers})["x"]} if answers else {})
    answers |= _from_noise(programs, feed)
    return {name: value.numpy() for name, value in answers.items()}


def _from_noise(programs: Mapping[str, Program], feed: NamedTensors) -> dict[str, Tensor]:
    """Return what the graphs that take noise give, by the names that a bundle has for it.

    These are sampled latents, and the dequantization noise with its log-density. It is empty without such graphs.
    """
    answers: dict[str, Tensor] = {}
    if (sample := programs.get(BASE)) is not None:
        values = sample.run(feed)
        answers |= {verification.sampled_name(name): values[name] for name in sample.outputs}
    if (dequantize := programs.get(DEQUANTIZER)) is not None:
        values = dequantize.run(feed)
        answers |= {name: values[name] for name in dequantize.outputs}
    return answers


def _relative(reference: NamedArrays, answers: NamedArrays) -> NDArray[np.float64]:
    """Return each row's largest error, as a share of its largest value; NaN where something isn't finite."""
    worst = np.zeros(len(reference["group"]))
    with np.errstate(over="ignore", invalid="ignore"):
        for name, answer in answers.items():
            wanted = reference["x" if name == "round_trip" else name].reshape(len(worst), -1)
            error = abs(answer.reshape(wanted.shape) - wanted).max(axis=1)
            worst = np.maximum(worst, error / np.maximum(1.0, abs(wanted).max(axis=1)))
    return worst


def _errors(values: NamedTensors, wanted: NamedTensors) -> dict[str, float]:
    return {name: float((value.double() - wanted[name]).abs().max()) for name, value in values.items()}


def _inner_values(model: onnx.ModelProto, feed: NamedTensors) -> dict[str, Tensor]:
    """Return all values of a graph that a program names. The names of all other values have a slash."""
    model = copy.deepcopy(model)
    outputs = {value.name for value in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if "/" not in name]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in outputs)
    session = cpu_session(model.SerializeToString())
    results = session.run(names, {name: single(value).numpy() for name, value in feed.items()})
    return {name: torch.from_numpy(result) for name, result in zip(names, results, strict=True)}


def _check_rows(program: Program, feed: NamedTensors) -> None:
    """Raise ExportError, naming the layer, if one gives the first or last event other values alone than in a batch."""
    values = program.run(feed)
    for instruction in program.instructions:
        for row in (slice(0, 1), slice(-1, None)):
            among = {name: value[row] for name, value in values.items()}
            for name, alone in zip(instruction.outputs, instruction.run(among), strict=True):
                tolerance = _SAME * max(1.0, float(among[name].abs().max()))
                if not torch.allclose(alone, among[name], rtol=0, atol=tolerance, equal_nan=True):
                    raise ExportError(
                        f"{instruction.name} gives an event other values alone than among others, or others each time: "
                        "it must compute each event by itself, without statistics of the batch or random numbers"
                    )


@torch.no_grad()
def reference_events(exact: Flow, events: Tensor | None, context: Tensor | None) -> NamedArrays:
    """Return events of every group with the fp64 flow's answers to them, as a bundle carries them.

    The arrays are ``x``, ``context``, the latents, ``log_prob``, the events ``decoded`` from the latents in fp32, and
    ``group``, an index into GROUPS. If the bases have a graph of their own, there are noise and the latents that it
    gives, too. With a flow of the dequantization noise there are the integers ``k``, the noise that ``u`` is made from,
    ``u`` and ``log_q``. ``events`` are held-out events as the data has them. If they are None, samples of the flow take
    their place. A flow that runs forward only has no ``decoded``; one that runs its inverse only has latents and
    ``decoded`` alone.
    """
    feed, groups = _latents(exact) if lacks(exact.directions, "forward") else _events(exact, events, context)
    feed |= _noise(base_noise(exact), groups)
    programs = programs_of(exact, [type(layer).__name__ for layer in exact.layers], exact.directions)
    answers, latents = _from_noise(programs, feed), {}
    if (encode := programs.get(ENCODER)) is not None:
        encoded = encode.run(feed)
        answers |= {name: encoded[name] for name in encode.outputs}
        latents = {name: single(encoded[name]).double() for name in latent_names(exact)}
    if (decode := programs.get(DECODER)) is not None:
        answers["decoded"] = decode.run(feed | latents)["x"]
    return {name: value.numpy() for name, value in (feed | answers).items()} | {"group": groups}


def _events(
    exact: Flow, events: Tensor | None, context: Tensor | None
) -> tuple[dict[str, Tensor], NDArray[np.float64]]:
    """Return events of every group, with what else graphs take of them, and the group of each row."""
    if events is None:
        context = any_context(exact, ROWS)
        events = exact.sample(ROWS, context, seed=0)
    held_out, _ = exact.dequantize(events[:ROWS], seed=0)
    x, groups = _and_unlike(held_out, *_range(exact, held_out))
    feed = {"x": x, **_context_rows(context, len(groups))}
    if exact.dequantizer is not None:
        feed |= {"k": x.floor(), **_noise(dequantization_noise(exact), groups, random.DEQUANTIZATION_STREAM)}
    return feed, groups


def _latents(exact: Flow) -> tuple[dict[str, Tensor], NDArray[np.float64]]:
    """Return latents of every group, drawn from the base or unlike these, with contexts, and the group of each row."""
    context = any_context(exact, ROWS)
    rows = [_and_unlike(z, z.min(), z.max()) for z in exact.sample_latents(ROWS, context, seed=0)]
    groups = rows[0][1]
    feed = {name: z for name, (z, _) in zip(latent_names(exact), rows, strict=True)}
    return feed | _context_rows(context, len(groups)), groups


def _noise(wanted: Mapping[str, Noise], groups: NDArray[np.float64], first_stream: int = 0) -> dict[str, Tensor]:
    """Return noise for each row, of the seed 0 and one stream for each array.

    In the last group, of extremes, it lies at the ends of its range.
    """
    noise = {}
    for stream, (name, each) in enumerate(wanted.items(), first_stream):
        shape = (len(groups), *each.shape)
        extreme = torch.from_numpy(groups == GROUPS.index("extremes")).view(-1, *(1 for _ in each.shape))
        if each.kind == "normal":
            drawn = single(torch.from_numpy(random.normal(0, stream, shape))).double()
            noise[name] = torch.where(extreme, _FARTHEST * drawn.sign(), drawn)
        else:
            drawn = torch.from_numpy(random.uniform(0, stream, shape))
            noise[name] = torch.where(extreme, (drawn > 0.5) * (1 - 2**-23) + 2**-24, drawn)
    return noise


def _and_unlike(like: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, NDArray[np.float64]]:
    """Return rows of every group, fp64 values of fp32, and the group of each row.

    ``like`` are those of the first group. ``low`` and ``high`` are the ends of their range.
    """
    shape = tuple(like.shape[1:])
    parts = [like, *(low + (high - low) * share for share in (_unlike(shape), _extremes(shape)))]
    groups = np.repeat(np.arange(len(GROUPS), dtype=np.float64), [len(part) for part in parts])
    return single(torch.cat(parts)).double(), groups


def _context_rows(context: Tensor | None, n: int) -> dict[str, Tensor]:
    """Return the context of n rows, repeated in turn; empty if there is none."""
    if context is None:
        return {}
    context = context[torch.arange(n) % min(len(context), ROWS)]
    return {"context": single(context).double() if context.is_floating_point() else context}


def _range(exact: Flow, held_out: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ends of the data's range: of each coordinate if their domains differ, otherwise of all values."""
    if exact.levels:
        return held_out.new_zeros(()), held_out.new_tensor(exact.levels)
    if exact.spec is not None and isinstance(exact.spec.event.domains, tuple):
        return held_out.amin(0), held_out.amax(0)
    return held_out.min(), held_out.max()


def single(value: Tensor) -> Tensor:
    """Return numbers in fp32, as a graph takes them, and classes as they are."""
    return value.float() if value.is_floating_point() else value


def _unlike(shape: Shape) -> Tensor:
    """Return constants, checkerboards and noise, as shares of the data's range."""
    constants = torch.tensor([1 / 512, 1 / 2, 511 / 512], dtype=torch.float64)
    parity = torch.from_numpy(np.indices(shape).sum(0))
    boards = [constants[(parity // size + flip) % 2 * 2] for size in (1, 2) for flip in (0, 1)]
    noise = torch.rand(_NOISE, *shape, generator=torch.Generator().manual_seed(0)).double()
    return torch.cat([_filled(constants, shape), torch.stack(boards), noise])


def _extremes(shape: Shape) -> Tensor:
    """Return events far below and above the range of the data, as shares of it, of infinity, and of NaN."""
    values = [value for times in _FAR for value in (-times, 1 + times)]
    return _filled(torch.tensor([*values, math.inf, math.nan], dtype=torch.float64), shape)


def _filled(values: Tensor, shape: Shape) -> Tensor:
    """Return an event for each value, which has that value everywhere."""
    return values.reshape(-1, *(1 for _ in shape)).expand(-1, *shape)
