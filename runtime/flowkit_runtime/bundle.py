"""Reads and checks a bundle: a directory that holds an exported flow, described by its manifest.json."""

import hashlib
import json
import math
import operator
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path, PureWindowsPath
from typing import Any, NoReturn

from flowkit_runtime.columns import Preprocessing, parsed
from flowkit_runtime.errors import BundleError, InputError, expect, quoted, shortened
from flowkit_runtime.files import as_path, open_file, parse_json, read_short, stays_inside

MANIFEST = "manifest.json"
ENCODER, DECODER, BASE, DEQUANTIZER = "encode.onnx", "decode.onnx", "base.onnx", "dequantize.onnx"
GRAPHS: dict[str, tuple[str, ...]] = {"both": (ENCODER, DECODER), "forward": (ENCODER,), "inverse": (DECODER,)}
"""The graphs of the layers by the directions of a flow: forward is x -> z, inverse is z -> x."""
LATENT, NOISE, DEQUANTIZATION = "z", "noise", "dequantization_noise"
"""The names of latents and of noise in the graphs, before their numbers."""
REFERENCE = "reference.npz"
FORMAT = 4
"""The version of the manifest that is written and read."""
CHECKSUM = "sha256"

MAX_SIZE = 2**24
"""The most values of one event or context, as in specs."""
MAX_DIMENSIONS = 8
"""The most dimensions of a shape. Events in specs have one or three."""
MAX_LEVELS = 65536
"""The most levels of integer data, and the most classes, as in specs."""
_ROUNDING = 1e-6  # the largest error of the sum of probabilities
MAX_NOISE = 4096
"""The most arrays of noise that samples are made from."""
MAX_NAME = 63
"""The most characters of a file's name. In UTF-8 they take 252 bytes at most."""
MAX_FILE = 2**31
"""The most bytes of a file. ONNX files can't be larger."""

LIKELIHOODS = {
    "exact": "",
    "lower_bound": " (from a lower bound of the likelihood)",
    "estimate": " (from an estimate of the likelihood)",
}
"""The kinds of likelihood, and what is printed behind the unit of scores for each."""

_EXPORT = "flowkit export RUN -o DIR"
_AGAIN = f"copy the bundle again, or export it again with `{_EXPORT}`"


@dataclass(frozen=True)
class Context:
    """The kind of context that a conditional flow takes with each row.

    Attributes:
        shape: shape of one row's context; () for a class index.
        classes: number of classes if the context is a class index, None if it is a float array.
        names: the names of the classes; empty if they aren't known.
        probabilities: p(c) of each class, its share in the training data; empty if they aren't known.
    """

    shape: tuple[int, ...]
    classes: int | None
    names: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, or their numbers as texts if they have no names."""
        return self.names or tuple(map(str, range(self.classes or 0)))

    def __str__(self) -> str:
        """Return what a row's context is, for messages."""
        if self.classes is None:
            return f"floats {[*self.shape]}"
        if self.names:
            return f"a class ({shortened(', '.join(self.names))})"
        return f"a class from 0 to {self.classes - 1}"


@dataclass(frozen=True)
class NoiseArray:
    """One array of random numbers that samples are made from.

    Attributes:
        kind: "normal" or "uniform".
        shape: shape of one row.
    """

    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Threshold:
    """The score above which an event is called anomalous.

    Attributes:
        score: the threshold, in the units of `Model.score`; lower is likelier.
        quantile: the share of held-out events with a score of at most `score`.
        events: the number of held-out events.
    """

    score: float
    quantile: float
    events: int


@dataclass(frozen=True)
class Bundle:
    """A checked bundle.

    Attributes:
        directory: its directory.
        manifest: its manifest.json as parsed.
        event_shape: shape of one event.
        levels: number of integer levels of the data, None for continuous data.
        domain: the ends (low, high) between which values of the data lie, either of which may be infinite: one pair for
            all values, or one for each coordinate. None if they may be any number.
        context: the kind of context, None for an unconditional flow.
        latent_shapes: shape of each latent of one event, in the order z_1, z_2, ...
        directions: "both", or "forward" or "inverse" if the flow has one direction only.
        bases: names of the base distributions of the latents.
        noise: what the graph of the bases makes latents from, by the names of its inputs; None if all latents are
            standard normal, and there is no such graph.
        dequantization: what the graph of the dequantization noise u is made from, by the names of its inputs; None if u
            is uniform, and there is no such graph.
        likelihood: how the likelihood is computed, a key of LIKELIHOODS.
        weights_file: name of the file with the weights that both graphs share; None if each graph holds its own.
        steps: the divisors of height and width if the graphs take images of any size, otherwise None.
        threshold: the threshold of anomalies, None if none was calibrated.
        preprocessing: how the columns of a table become events and contexts; None if the flow wasn't trained on one.
    """

    directory: Path
    manifest: dict[str, Any]
    event_shape: tuple[int, ...]
    levels: int | None
    domain: tuple[tuple[float, float], ...] | None
    context: Context | None
    latent_shapes: tuple[tuple[int, ...], ...]
    directions: str
    bases: tuple[str, ...]
    noise: dict[str, NoiseArray] | None
    dequantization: dict[str, NoiseArray] | None
    likelihood: str
    weights_file: str | None
    steps: tuple[int, ...] | None
    threshold: Threshold | None
    preprocessing: Preprocessing | None

    @property
    def latent_names(self) -> list[str]:
        """The names of the latents in the graphs."""
        return numbered(LATENT, len(self.latent_shapes))

    @property
    def graphs(self) -> tuple[str, ...]:
        """The files of its graphs."""
        further = {BASE: self.noise, DEQUANTIZER: self.dequantization}
        return (*GRAPHS[self.directions], *(file for file, noise in further.items() if noise is not None))

    def check_has(self, graph: str) -> None:
        """Raise BundleError if there is no such graph, because the flow runs in the other direction only."""
        if graph in self.graphs:
            return
        way, lack = {
            "forward": ("data -> latent", "it draws no samples and decodes nothing"),
            "inverse": ("latent -> data", "it gives no densities, scores or latents"),
        }[self.directions]
        raise BundleError(f"{self.directory} holds {self.graphs[0]} alone, because its flow runs {way} only: {lack}")

    @property
    def printed_unit(self) -> str:
        """The unit of scores as it is printed."""
        return printed_unit(self.levels, self.likelihood)


def numbered(name: str, n: int) -> list[str]:
    """Return the names of n tensors of a graph: name_1, …, name_n."""
    return [f"{name}_{i}" for i in range(1, n + 1)]


def printed_unit(levels: int | None, likelihood: str) -> str:
    """Return the unit of scores, and whether they come from a bound or an estimate of the likelihood."""
    return ("nats" if levels is None else "bits/dim") + LIKELIHOODS[likelihood]


def read_bundle(directory: str | PathLike[str]) -> Bundle:
    """Read the manifest of `directory`, and check it and every file that it lists against their SHA-256.

    Raises:
        BundleError: there is no bundle, its manifest is damaged, malformed or of an unknown format, or a listed
            file is missing, changed, unreadable or outside the directory.
        InputError: `directory` is no path.
    """
    root = as_path("the directory of a bundle", directory)
    try:
        manifest = _read_manifest(root)
        bundle = _parse(root, manifest)
        for name in bundle.graphs:
            if name not in manifest["files"]:
                _malformed(root, f"files lists no {name}")
        for name, digest in manifest["files"].items():
            _check_file(root, name, digest)
    except OSError as error:
        raise BundleError(f"{error.filename or root} can't be read: {error.strerror or error}") from error
    return bundle


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """Return the content of a manifest.json that ends with its own checksum.

    The field `sha256` holds the SHA-256 of the same content with that field empty.
    """
    return _json(manifest, hashlib.sha256(_json(manifest, "")).hexdigest())


def _json(manifest: Mapping[str, Any], checksum: str) -> bytes:
    rest = {name: value for name, value in manifest.items() if name != CHECKSUM}
    return (json.dumps({**rest, CHECKSUM: checksum}, indent=2, allow_nan=False) + "\n").encode()


def resized(bundle: Bundle, size: Sequence[int]) -> Bundle:
    """Return the bundle for images of another height and width.

    Raises:
        InputError: its graphs take one size only, or don't take this one.
    """
    if bundle.steps is None:
        raise InputError(
            f"{bundle.directory} has graphs for events of shape {list(bundle.event_shape)} alone: leave size out, or "
            "export the run again with --any-size"
        )
    try:
        sizes = [operator.index(n) for n in size]
    except Exception:  # a TypeError, or anything from the value's own code
        sizes = []
    fits = len(sizes) == 2 and all(n > 0 and n % step == 0 for n, step in zip(sizes, bundle.steps, strict=True))
    if not fits or math.prod(sizes) * bundle.event_shape[0] > MAX_SIZE:
        wanted = f"a height and a width, multiples of {list(bundle.steps)}"
        raise InputError(f"size must be {wanted}, got {quoted(size)}")
    before = bundle.event_shape[1:]
    event, *latents = (
        (c, *(n * part // whole for n, part, whole in zip(sizes, parts, before, strict=True)))
        for c, *parts in (bundle.event_shape, *bundle.latent_shapes)
    )
    return replace(bundle, event_shape=event, latent_shapes=tuple(latents))


def _read_manifest(root: Path) -> dict[str, Any]:
    path = root / MANIFEST
    if not path.is_file():
        raise BundleError(_no_bundle(root))
    _check_link(root, path)
    try:
        raw = read_short(path)
        manifest = parse_json(raw)
    except OSError as error:
        raise BundleError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{path} is not valid JSON ({error}); {_AGAIN}") from error
    if not isinstance(manifest, dict):
        _malformed(root, "it is not an object")
    if manifest.get("format") != FORMAT:
        raise BundleError(_other_format(path, manifest.get("format")))
    _check_manifest(path, raw, manifest.get(CHECKSUM))
    return manifest


def _other_format(path: Path, given: Any) -> str:
    is_newer = type(given) is int and given > FORMAT
    remedy = "upgrade flowkit-runtime" if is_newer else f"export the run again with `{_EXPORT}`"
    return f"{path} has format {shortened(repr(given))}; this flowkit-runtime reads format {FORMAT}: {remedy}"


def _check_manifest(path: Path, raw: bytes, digest: Any) -> None:
    """Check the content of a manifest against its own checksum, which `sealed` computed."""
    empty = raw.replace(f'"{CHECKSUM}": "{digest}"'.encode(errors="replace"), f'"{CHECKSUM}": ""'.encode())
    if hashlib.sha256(empty).hexdigest() != digest:
        raise BundleError(f"{path} does not match its own SHA-256: it was changed or damaged; {_AGAIN}")


def _no_bundle(root: Path) -> str:
    if any((root / graph).exists() for graph in (ENCODER, DECODER)):
        return f"{root} has ONNX graphs, but {MANIFEST} is missing; {_AGAIN}"
    if (root / "spec.yaml").is_file():
        return (
            f"{root} looks like a training run, not a bundle: export it first with "
            f"`flowkit export {root} -o DIR` and load DIR"
        )
    problem = f"has no {MANIFEST}" if root.is_dir() else "is not a directory"
    return f"{root} {problem}; a bundle is a directory with {MANIFEST} and ONNX graphs, made by `{_EXPORT}`"


def _parse(root: Path, manifest: dict[str, Any]) -> Bundle:
    try:
        event, context = manifest["event"], manifest["context"]
        levels = event["levels"]
        files, latents = manifest["files"], manifest["latents"]
        expect(isinstance(files, dict), "files", files, "an object")
        expect(isinstance(latents, list) and len(latents) > 0, "latents", latents, "a list of shapes")
        given = None if context is None else _context(context)
        table = manifest.get("preprocessing")
        bundle = Bundle(
            directory=root,
            manifest=manifest,
            event_shape=_shape("event.shape", event["shape"]),
            levels=None if levels is None else _whole("event.levels", levels, 2, MAX_LEVELS),
            domain=_domain(event.get("domain"), event["shape"]),
            context=given,
            latent_shapes=tuple(_shape("latents", shape) for shape in latents),
            directions=_one_of(GRAPHS, "directions", manifest.get("directions", "both")),
            bases=_bases(manifest),
            noise=_noise_arrays("noise", NOISE, manifest["noise"]),
            dequantization=_noise_arrays("dequantization", DEQUANTIZATION, manifest["dequantization"]),
            likelihood=_one_of(LIKELIHOODS, "likelihood", manifest["likelihood"]),
            weights_file=_weights_file(manifest),
            steps=_steps(manifest),
            threshold=_threshold(manifest.get("threshold")),
            preprocessing=None if table is None else parsed(table, given.names if given else ()),
        )
    except KeyError as error:
        _malformed(root, f"it lacks the field {error}")
    except TypeError as error:
        _malformed(root, str(error))
    sizes = math.prod(bundle.event_shape), sum(map(math.prod, bundle.latent_shapes))
    if sizes[0] != sizes[1]:
        _malformed(root, f"an event has {sizes[0]} values, its latents together {sizes[1]}")
    if bundle.preprocessing is not None and bundle.preprocessing.shapes != (
        bundle.event_shape,
        None if bundle.context is None else bundle.context.shape,
    ):
        _malformed(root, "preprocessing makes events or contexts of another shape")
    return bundle


def _domain(value: Any, shape: Any) -> tuple[tuple[float, float], ...] | None:
    if value is None:
        return None
    is_each = isinstance(value, list) and len(value) in {1, *(shape if len(shape) == 1 else ())}
    expect(is_each, "event.domain", value, "one pair, or one for each coordinate")
    return tuple(map(_ends, value))


def _ends(pair: Any) -> tuple[float, float]:
    """Return the ends of a domain, of which null is an infinite one."""
    are_ends = isinstance(pair, list) and len(pair) == 2 and all(end is None or is_number(end) for end in pair)
    expect(are_ends, "event.domain", pair, "a pair [low, high]")
    low, high = -math.inf if pair[0] is None else float(pair[0]), math.inf if pair[1] is None else float(pair[1])
    expect(low < high, "event.domain", pair, "a pair that rises")
    return low, high


def is_number(value: Any) -> bool:
    """Return True for a number that a float can hold. An integer may be too large."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _one_of(known: Collection[str], field: str, value: Any) -> str:
    expect(isinstance(value, str) and value in known, field, value, f"one of {', '.join(known)}")
    return str(value)


def _bases(manifest: dict[str, Any]) -> tuple[str, ...]:
    names = manifest["bases"]
    is_each = isinstance(names, list) and len(names) == len(manifest["latents"])
    expect(is_each, "bases", names, "a list with a name for each latent")
    return tuple(map(str, names))


def _noise_arrays(field: str, name: str, value: Any) -> dict[str, NoiseArray] | None:
    if value is None:
        return None
    is_list = isinstance(value, list) and 0 < len(value) <= MAX_NOISE
    expect(is_list, field, value, f"a list of 1 to {MAX_NOISE} arrays")
    for array in value:
        is_array = isinstance(array, dict) and array.get("kind") in ("normal", "uniform")
        expect(is_array, field, array, "normal or uniform")
    arrays = [NoiseArray(array["kind"], _shape(f"{field}.shape", array["shape"])) for array in value]
    return dict(zip(numbered(name, len(arrays)), arrays, strict=True))


def _weights_file(manifest: dict[str, Any]) -> str | None:
    name = manifest.get("weights_file")
    is_listed = name is None or (isinstance(name, str) and name in manifest["files"])
    expect(is_listed, "weights_file", name, "among files")
    return name


def _steps(manifest: dict[str, Any]) -> tuple[int, ...] | None:
    value = manifest.get("sizes_are_multiples_of")
    if value is None:
        return None
    steps = _shape("sizes_are_multiples_of", value)
    are_of_images = len(steps) == 2 and len(manifest["event"]["shape"]) == 3
    expect(are_of_images, "sizes_are_multiples_of", value, "of images")
    return steps


def _context(value: dict[str, Any]) -> Context:
    if "classes" in value:
        classes = _whole("context.classes", value["classes"], 1, MAX_LEVELS)
        return Context((), classes, _names(value.get("names", []), classes), _shares(value, classes))
    return Context(shape=_shape("context.shape", value["shape"]), classes=None)


def _names(value: Any, classes: int) -> tuple[str, ...]:
    are_texts = isinstance(value, list) and all(isinstance(each, str) and each for each in value)
    is_each = are_texts and len(value) in (0, classes) and len(set(value)) == len(value)
    expect(is_each, "context.names", value, f"{classes} different texts")
    return tuple(value)


def _shares(value: dict[str, Any], classes: int) -> tuple[float, ...]:
    """Return the probabilities of the classes."""
    shares = value.get("probabilities", [])
    are_numbers = isinstance(shares, list) and all(is_number(share) and 0 <= share <= 1 for share in shares)
    is_each = are_numbers and (not shares or (len(shares) == classes and abs(sum(shares) - 1) <= _ROUNDING))
    expect(is_each, "context.probabilities", shares, f"{classes} numbers that sum to 1")
    return tuple(map(float, shares))


def _threshold(value: Any) -> Threshold | None:
    if value is None:
        return None
    expect(isinstance(value, dict), "threshold", value, "an object")
    score, quantile = value["score"], value["quantile"]
    expect(is_number(score), "threshold.score", score, "a number")
    expect(is_number(quantile) and 0 <= quantile <= 1, "threshold.quantile", quantile, "a number from 0 to 1")
    events = _whole("threshold.events", value["events"], 1, sys.maxsize)
    return Threshold(float(score), float(quantile), events)


def _shape(field: str, value: Any) -> tuple[int, ...]:
    is_list = isinstance(value, list) and len(value) <= MAX_DIMENSIONS
    expect(is_list, field, value, f"a list of at most {MAX_DIMENSIONS} sizes")
    shape = tuple(_whole(field, size, 1, MAX_SIZE) for size in value)
    expect(math.prod(shape) <= MAX_SIZE, field, value, f"a shape of at most {MAX_SIZE} values")
    return shape


def _whole(field: str, value: Any, low: int, high: int) -> int:
    expect(type(value) is int and low <= value <= high, field, value, f"an integer from {low} to {high}")
    return int(value)


def _check_file(root: Path, name: str, digest: Any) -> None:
    # A Windows path splits at both kinds of separator and at a drive letter.
    if name in {"", ".", ".."} or "\0" in name or len(name) > MAX_NAME or PureWindowsPath(name).name != name:
        _malformed(root, f"files lists {shortened(repr(name))}, which is not a plain file name")
    path = root / name
    if not path.is_file():
        problem = "is no regular file" if path.exists() else "is missing"
        raise BundleError(f"{path} {problem}, though {MANIFEST} lists it; {_AGAIN}")
    _check_link(root, path)
    if path.stat().st_size > MAX_FILE:
        raise BundleError(f"{path} has more than {MAX_FILE} bytes: no file of a bundle is as long")
    with open_file(path) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise BundleError(f"{path} does not match its SHA-256 in {MANIFEST}; {_AGAIN}")


def _check_link(root: Path, path: Path) -> None:
    if not stays_inside(path, root):
        raise BundleError(f"{path} is a link that leaves the bundle; put the file itself there")


def _malformed(root: Path, problem: str) -> NoReturn:
    raise BundleError(f"{root / MANIFEST} is malformed: {problem}; {_AGAIN}")
