"""Writes a flow as a verified bundle: a directory that flowkit_runtime serves without torch."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper
from torch import Tensor

from flowkit.bijectors import Noise
from flowkit.directions import lacks
from flowkit.domains import REALS, Domains, by_coordinate
from flowkit.errors import DirectionError, ExportError, InputError, RunError
from flowkit.export.any_size import at_other_size, smallest_steps
from flowkit.export.figures import check_quantile, excluded, measured
from flowkit.export.graphs import OPSET, OTHER_SIZE, Graphs, instruction_of
from flowkit.export.loops import with_bodies
from flowkit.export.precision import COMPUTED_IN, Precision
from flowkit.export.program import base_noise, dequantization_noise
from flowkit.export.web import PAGE, check_page, write_page
from flowkit.export.yardstick import ROWS, first_deviation, judge, reference_events
from flowkit.flow import Flow, inputs
from flowkit.flow.inputs import check_levels, check_shape
from flowkit.spec import (
    ContextSpec,
    Spec,
    canonical,
    latent_bases,
    likelihood,
    lock,
    model_hash,
    to_yaml,
    walk,
)
from flowkit.spec.run import LOCK, SPEC
from flowkit.version import __version__
from flowkit_runtime import Model, columns, verification
from flowkit_runtime.atomic import contents, is_free, making, naming
from flowkit_runtime.bundle import FORMAT, MANIFEST, REFERENCE, read_bundle, sealed
from flowkit_runtime.columns import Preprocessing
from flowkit_runtime.errors import BundleError, VerificationError
from flowkit_runtime.files import as_path, read_json
from flowkit_runtime.graph_check import OperatorError
from flowkit_runtime.session import open_graphs
from flowkit_runtime.verdict import Figure, table
from flowkit_runtime.verification import NamedArrays

WEIGHTS_FILE = "weights.bin"
_SMALL = 1024  # bytes below which a tensor stays in its graph


@dataclass(frozen=True)
class Options:
    """The ways in which graphs can be written.

    Attributes:
        opset: The version of the ONNX operators, 18 to 24.
        precision: The precision of the networks.
        shared_weights: Put the weights that both graphs have into one file beside them.
        any_size: Leave the height and width of images open.
        page: The title of a page that runs the flow in a browser, and shows held-out events; None for no page.
        quantile: The share of the held-out events that score below the threshold, between 0 and 1.
        preprocessing: How the columns of a table become events and contexts; None for that of the spec's data, if any.
        classes: p(c) of each class of the context by its name, in the order of the labels; None if it isn't known.
    """

    opset: int = OPSET
    precision: Precision = "float32"
    shared_weights: bool = False
    any_size: bool = False
    page: str | None = None
    quantile: float = 0.99
    preprocessing: Preprocessing | None = None
    classes: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Exported:
    """An export that was verified.

    Attributes:
        figures: The errors of the graphs, with their limits.
        manifest: The content of manifest.json, which has the figures too.
    """

    figures: list[Figure]
    manifest: dict[str, Any]

    def __repr__(self) -> str:
        return f"Exported({len(self.figures)} figures, all within their limits)"


def export(
    flow: Flow,
    directory: str | Path,
    x: Tensor | None = None,
    context: Tensor | None = None,
    weights: str = "raw",
    overwrite: bool = False,
    options: Options | None = None,
    begin: Callable[[str], None] = lambda step: None,
) -> Exported:
    """Write ``flow`` as a bundle, verified in onnxruntime against the flow in fp64.

    A flow that runs forward only has ``encode.onnx`` alone, and needs events, because it draws no samples. A flow that
    runs its inverse only has ``decode.onnx`` alone, takes no events, and is verified on latents of its base. The
    directory appears, or is filled, only when all is verified.

    Args:
        flow: The flow.
        directory: The directory to make.
        x: Held-out events, integers for integer data. On the first the graphs are verified, and the ``quantile`` of the
            scores of all is the threshold in the manifest. Without them the graphs are verified on samples of the flow.
        context: The context of each event, or a single one for all.
        weights: A name for the weights in the manifest, such as ``"ema"`` for a moving average.
        overwrite: Replace a bundle that is there.
        options: The ways in which graphs are written.
        begin: A function that is called with the name of each step as it begins.

    Returns:
        The figures of the verification, and the manifest.

    Raises:
        InputError: If an argument doesn't fit the flow.
        DirectionError: If events are missing or given for a flow that runs one way only.
        RunError: If something else is in the place of the directory.
        ExportError: If a layer can't be exported. The message names it.
        VerificationError: If a graph deviates from the flow. It is flowkit_runtime's.
        OSError: If the directory can't be written. The message names it.
    """
    directory, options = inputs.as_flowkit(as_path, "the directory of a bundle", directory), options or Options()
    _check_given(flow, x, context, options)
    if x is not None:
        context = inputs.per_sample(flow.context, context, (len(x),))
    _check_free(directory, overwrite)
    with naming(directory), making(directory, last=MANIFEST, overwrite=overwrite) as part:
        return _fill(part, flow, x, context, weights, options, begin)


def _check_given(flow: Flow, x: Tensor | None, context: Tensor | None, options: Options) -> None:
    """Check the arguments of an export, before anything that takes long. Raises InputError."""
    if options.precision not in COMPUTED_IN:
        raise InputError(f"precision must be {', '.join(COMPUTED_IN)}, not {options.precision!r}")
    check_quantile(options.quantile)
    if x is None and lacks(flow.directions, "inverse"):
        raise DirectionError("this flow runs forward only, so it draws no samples to be verified on: pass events x")
    if x is not None and lacks(flow.directions, "forward"):
        raise DirectionError("this flow runs its inverse only, so it encodes no events: leave out x")
    if options.page is not None:
        check_page(options.precision, x is not None, options.page)
    if x is None:
        if context is not None:
            raise InputError("a context belongs to events: give x too, or neither, to verify on samples")
        return
    check_shape(x, flow.event_shape)
    if not len(x):
        raise InputError("x holds no events: give some that are held out, or leave x out to verify on samples")
    if flow.levels is not None:
        check_levels(x, flow.levels)
    inputs.embed(flow.context, context, x)


def _check_free(directory: Path, overwrite: bool) -> None:
    """Raise RunError unless the directory is free, or holds a bundle and nothing else, and may be overwritten."""
    if is_free(directory):
        return
    is_bundle = (directory / MANIFEST).is_file()
    if not (is_bundle and overwrite):
        advice = "--overwrite replaces it, in Python overwrite=True" if is_bundle else "choose another"
        raise RunError(f"{directory} exists: {advice}")
    if others := _others(directory):
        raise RunError(
            f"{directory} holds {others[0]!r}, which is not of the bundle: move it, or choose another directory"
        )


def _others(directory: Path) -> list[str]:
    """List what a bundle's directory holds beside the files of its manifest. If that can't be read, all may go."""
    try:
        listed = {MANIFEST, *read_json(directory / MANIFEST)["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return sorted(entry.name for entry in contents(directory) if entry.name not in listed)


def _fill(
    part: Path,
    flow: Flow,
    x: Tensor | None,
    context: Tensor | None,
    weights: str,
    options: Options,
    begin: Callable[[str], None],
) -> Exported:
    exact = copy.deepcopy(flow).cpu().double().eval()
    other = at_other_size(exact) if options.any_size else None
    manifest = _describe(exact, weights, options)  # first, as a layer may be of no plugin
    begin("tracing the layers")
    graphs = Graphs(exact, options.opset, options.precision, options.any_size)
    begin("computing the answers in float64")
    answers, own = judge(exact, options.precision, reference_events(exact, x, context))
    _write_graphs(part, graphs, options, manifest)
    (part / SPEC).write_text(to_yaml(canonical(flow.to_spec())), encoding="utf-8")
    (part / LOCK).write_text(json.dumps(lock(flow.to_spec()), indent=2) + "\n", encoding="utf-8")
    begin("comparing onnxruntime with them")
    figures, model = _verified(part, graphs, exact, manifest, answers, own)
    if other is not None:
        _verify_resized(part, graphs, manifest, other, x, context)
    begin("scoring held-out events")
    manifest |= {"excluded": excluded(answers)}
    manifest |= measured(model, answers, x, context, options.precision, options.quantile)
    if options.page is not None:
        write_page(part, manifest, options.page)
        manifest["files"][PAGE] = _sha256(part / PAGE)
    (part / MANIFEST).write_bytes(sealed(manifest))
    return Exported(figures, manifest)


def _verified(
    part: Path, graphs: Graphs, exact: Flow, manifest: dict[str, Any], answers: NamedArrays, own: verification.Errors
) -> tuple[list[Figure], Model]:
    """Complete the bundle, verify it, and return the figures with the model that it contains.

    A VerificationError names the layer where a graph begins to deviate.
    """
    arrays: dict[str, Any] = dict(answers)
    np.savez(part / REFERENCE, **arrays)
    files = [path for path in sorted(part.iterdir()) if path.name != MANIFEST]
    manifest |= {"files": {path.name: _sha256(path) for path in files}, "torch_errors": own}
    (part / MANIFEST).write_bytes(sealed(manifest))
    try:
        bundle = read_bundle(part)
        opened = open_graphs(bundle, None)
        figures = verification.measure_open(bundle, opened)
    except BundleError as error:
        if unfit := _unfit(error, part, graphs):
            raise ExportError(unfit) from error
        raise
    if not all(figure.passed for figure in figures):
        where = first_deviation(exact, manifest["precision"], graphs.models, answers)
        raise VerificationError(
            f"onnxruntime deviates from the flow in fp64:\n{table(figures)}\n"
            f"{where or 'no layer deviates by itself: small errors add up'}"
        )
    manifest["verification"] = [asdict(figure) for figure in figures]
    return figures, Model(bundle, opened)


def _unfit(error: BundleError, part: Path, graphs: Graphs) -> str | None:
    """Say which layers have an operator that the runtime doesn't run, or return None if the error is another one."""
    cause = error.__cause__
    lacking = re.search(r"implementation for (\w+)\(\d+\) node with name '(\d+_\w+)", str(cause))
    if not lacking and not isinstance(cause, OperatorError):
        return None
    file = next(file for file in graphs.models if str(part / file) in str(error))
    if lacking:
        operator, names = lacking[1], [lacking[2]]
        why = f"onnxruntime has no {operator} for the type that the layer computes in; compute in that of x"
    else:
        assert isinstance(cause, OperatorError)
        nodes = with_bodies(graphs.models[file].graph.node)
        names = [node.name for node in nodes if node.op_type == cause.operator]
        why = f"flowkit_runtime refuses the graph, because {cause}; write it with other operators"
    layers = dict.fromkeys(graphs.layers[file][instruction_of(name)] for name in names)
    return f"{' or '.join(layers)} can't be exported to ONNX: {why}"


def _verify_resized(
    part: Path, graphs: Graphs, manifest: dict[str, Any], other: Flow, x: Tensor | None, context: Tensor | None
) -> None:
    """Verify the same graphs, as a bundle of their own, against the flow that is built for another size."""
    events = None if x is None else x[:ROWS].repeat(1, 1, *OTHER_SIZE)
    with tempfile.TemporaryDirectory(prefix=f"{part.name}.", dir=part.parent) as directory:
        shutil.copytree(part, directory, dirs_exist_ok=True)
        sizes = {"event": manifest["event"] | {"shape": other.event_shape}, "latents": other.latent_shapes}
        answers, own = judge(other, manifest["precision"], reference_events(other, events, context))
        _verified(Path(directory), graphs, other, manifest | sizes, answers, own)


def _describe(exact: Flow, weights: str, options: Options) -> dict[str, Any]:
    spec = exact.to_spec()
    return {
        "format": FORMAT,
        "flowkit": __version__,
        "model": model_hash(spec),
        "event": {
            "shape": list(exact.event_shape),
            "levels": exact.levels,
            "domain": _ends(spec.event.domains),
        },
        "context": _context(exact.context, options.classes),
        "latents": [list(shape) for shape in exact.latent_shapes],
        "directions": exact.directions,
        "bases": [base.name for base in latent_bases(spec, walk(spec))],
        "noise": _described(base_noise(exact)),
        "dequantization": _described(dequantization_noise(exact)),
        "likelihood": likelihood(spec),
        "preprocessing": _preprocessing(spec, options),
        "weights": weights,
        "opset": options.opset,
        "precision": options.precision,
        "weights_file": WEIGHTS_FILE if options.shared_weights else None,
        "sizes_are_multiples_of": smallest_steps(exact) if options.any_size else None,
    }


def _ends(domains: Domains) -> list[list[float | None]] | None:
    """Return the ends of the domain as a manifest has them: a pair for all values or for each, null for infinite."""
    if domains == REALS:
        return None
    pairs = ((domain.low, domain.high) for domain in by_coordinate(domains))
    return [[end if math.isfinite(end) else None for end in pair] for pair in pairs]


def _context(context: ContextSpec | None, classes: Mapping[str, float] | None) -> dict[str, Any] | None:
    """Return the context as a manifest has it, with the names and probabilities of classes if they are known."""
    if context is None:
        return None
    described = context.model_dump(mode="json", exclude_none=True)
    if classes is None:
        return described
    if context.classes != len(classes):
        raise InputError(f"there are probabilities of {len(classes)} classes; the flow's context is {described}")
    return {**described, "names": list(classes), "probabilities": list(classes.values())}


def _preprocessing(spec: Spec, options: Options) -> dict[str, Any] | None:
    """Return how the columns of a table become events and contexts. Raises InputError if they don't fit the flow."""
    given = options.preprocessing or spec.preprocessing
    if given is not None and given.label is not None and options.classes is None:
        raise InputError(f"the classes of the column {given.label.column!r} are unknown: pass Options(classes=…)")
    is_class = spec.context is not None and spec.context.classes is not None
    own = None if spec.context is None else () if is_class else spec.context.own_shape
    if given is not None and given.shapes != (spec.event.shape, own):
        event, context = (None if shape is None else list(shape) for shape in given.shapes)
        raise InputError(f"the preprocessing makes events {event} and contexts {context}, which this flow doesn't take")
    return None if given is None else columns.described(given)


def _described(noise: Mapping[str, Noise]) -> list[dict[str, Any]] | None:
    return [{"kind": each.kind, "shape": list(each.shape)} for each in noise.values()] or None


def _write_graphs(part: Path, graphs: Graphs, options: Options, manifest: dict[str, Any]) -> None:
    models = copy.deepcopy(graphs.models)
    for model in models.values():
        helper.set_model_props(
            model, {name: str(manifest[name]) for name in ("flowkit", "model", "weights", "precision")}
        )
    if options.shared_weights:
        _share_weights(models.values(), part / WEIGHTS_FILE)
    for name, model in models.items():
        (part / name).write_bytes(model.SerializeToString(deterministic=True))


def _share_weights(models: Iterable[onnx.ModelProto], path: Path) -> None:
    """Move the large tensors of the graphs to a file, each once, as ONNX's external data."""
    places: dict[bytes, int] = {}
    with path.open("wb") as file:
        for tensor in (tensor for model in models for tensor in model.graph.initializer):
            content = tensor.raw_data
            if len(content) < _SMALL or tensor.data_type == onnx.TensorProto.INT64:  # shapes are read with the graph
                continue
            if content not in places:
                places[content] = file.tell()
                file.write(content)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in {"location": path.name, "offset": places[content], "length": len(content)}.items():
                tensor.external_data.add(key=key, value=str(value))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
