"""What data holds, as far as a spec has to know it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.errors import DataError, PluginError
from flowkit.plugin import Dataset, Shape
from flowkit.plugin.dataset import SplitName
from flowkit.spec import read_spec
from flowkit.spec.identity import resolved
from flowkit.spec.line import line
from flowkit.starting.values import Values, measure

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
TRAIN_SHARE = 0.8
"""The share of a file's rows that `data/npy` trains on."""
MIN_ROWS = 10
"""The fewest rows of which `data/npy` makes three parts."""
MAX_LEVELS = 65536
MAX_CONTEXT = 100.0
"""A network that reads larger values learns badly."""


@dataclass(frozen=True)
class Look:
    """The facts behind the choices of a starting spec."""

    data: dict[str, Any]
    """The spec's section of that name."""
    rows: int
    """Events for training."""
    event: Shape
    values: Values
    context: dict[str, Any] | None = None
    """The spec's section of that name."""
    classes: int | None = None
    """Of labels that the data brings without having been asked."""
    doubts: tuple[str, ...] = ()
    """What may not be meant, and what to do about it."""

    @property
    def levels(self) -> int | None:
        """Of integers: the largest + 1, or the power of two above if that is near; bytes are bytes. Otherwise None."""
        if not self.values.integers:
            return None
        exact = max(2, int(self.values.highest) + 1)
        power = 1 << (exact - 1).bit_length()
        is_near = exact > 0.75 * power or (power == 256 and self.values.dtype == np.uint8)
        return power if is_near else exact

    def __str__(self) -> str:
        kind = "continuous" if self.levels is None else f"integers up to {int(self.values.highest):,}"
        return f"{self.rows:,} events to train on, {list(self.event)}, {kind}"


def look(data: str, context: Path | None = None) -> Look:
    """Look at a .npy file, a directory in MNIST's format, or ``{use: …}``: a dataset as a spec names it.

    ``context`` is a .npy file of labels [n] or arrays, one for each event of a .npy file. Raises DataError where no
    flow could be fitted to what is there, saying why and what to do; SpecError, PluginError of a dataset's name.
    """
    reference = data if data.lstrip().startswith("{") else None
    if reference is None and Path(data).is_dir():
        reference = line({"use": "data/mnist", "path": data})
    if reference is None:
        return _look_at_file(data, context)
    if context is not None:
        raise DataError("--context goes with a .npy file of events: a dataset brings its own")
    return _look_at_dataset(reference)


def _look_at_file(path: str, context: Path | None) -> Look:
    x = read_array(path)
    data = {"use": "data/npy", "path": path}
    if len(x) < MIN_ROWS:
        raise DataError(f"{path}: {len(x)} rows: it takes {MIN_ROWS} to train, validate and test")
    values = _measure([x], path)
    section, doubts = None, _doubts(values, path)
    if context is not None:
        data["context"] = str(context)
        contexts = read_array(str(context))
        if len(contexts) != len(x):
            raise DataError(f"{path} has {len(x)} rows, and {context} has {len(contexts)}")
        measured = measure([contexts], str(context))
        section = _context_section(contexts, measured, str(context))
        doubts += _doubts_about_context(measured, str(context))
    return Look(data, int(len(x) * TRAIN_SHARE), x.shape[1:], values, section, doubts=tuple(doubts))


def _look_at_dataset(reference: str) -> Look:
    spec = read_spec(f"flowkit: 1\nevent: {{shape: [1]}}\nflow: [{{use: glow/actnorm}}]\ndata: {reference}\n")
    assert spec.data is not None
    name, dataset = spec.data.name, spec.data.build()
    if not isinstance(dataset, Dataset):
        raise PluginError(f"{name}: its target must derive from flowkit.plugin.Dataset")
    parts = [dataset.load(split) for split in SPLITS]
    for split, part in zip(SPLITS, parts, strict=True):
        if len(part.x) == 0:
            raise DataError(f"{name}, {split} part: there are no events")
    values = _measure([part.x for part in parts], name)
    labels = [part.context for part in parts if part.context is not None and part.context.ndim == 1]
    classes = max(int(part.max()) + 1 for part in labels) if labels else None
    event = parts[0].x.shape[1:]
    return Look(
        resolved(spec)["data"], len(parts[0].x), event, values, classes=classes, doubts=tuple(_doubts(values, name))
    )


def read_array(path: str) -> np.ndarray:
    """Map a .npy file into memory. Raises DataError if it isn't one, or holds anything but numbers."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(
            f"there is no {path}: name a .npy file, a directory with MNIST's files, or '{{use: data/digits}}'"
        ) from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path} holds several arrays: save one of them with numpy.save")
    return array


def _measure(parts: Sequence[np.ndarray], where: str) -> Values:
    """The range of events that a flow can be fitted to. Raises DataError if they aren't such."""
    x = parts[0]
    if x.dtype.kind not in "iuf":
        raise DataError(f"{where} holds {x.dtype}: save integers or floats, such as x.astype('uint8')")
    _check_event(x.shape, where)
    values = measure(parts, where)
    if values.integers and values.lowest < 0:
        raise DataError(f"{where}: integers from {values.lowest} on: levels begin at 0: save x - x.min(), or floats")
    if values.integers and values.highest >= MAX_LEVELS:
        raise DataError(f"{where}: integers up to {values.highest}: levels end at {MAX_LEVELS - 1}: save floats")
    if values.constants == math.prod(x.shape[1:]):
        raise DataError(f"{where}: every event is the same: there is nothing to learn")
    return values


def _check_event(shape: Shape, where: str) -> None:
    """Raises DataError unless ``shape`` is [n, d] or [n, channels, height, width]."""
    n, *event = shape or [0]
    if len(shape) not in (2, 4):
        advice = {1: "x[:, None] for [n, 1]", 3: "x[:, None] for images of one channel"}.get(
            len(shape), "x.reshape(len(x), -1) for vectors"
        )
        raise DataError(
            f"{where} has shape {list(shape)}: events are [n, d] or [n, channels, height, width]: save {advice}"
        )
    if n and not math.prod(event):
        raise DataError(f"{where} has shape {list(shape)}: its events hold nothing")
    if len(event) == 3 and event[2] in (1, 3, 4) and min(event[:2]) > event[2]:
        raise DataError(
            f"{where} has shape {list(shape)}, height and width first, it seems: "
            f"events are [n, channels, height, width]: save np.moveaxis(x, -1, 1)"
        )


def _doubts(values: Values, where: str) -> list[str]:
    """About continuous data, whose density has no bound where values repeat."""
    if values.integers:
        return []
    doubts = []
    if values.whole:
        doubts.append(f"{where}: floats, but whole numbers: if these are counts or grey levels, save x.astype('uint8')")
    elif values.bytes_over_255:
        doubts.append(f"{where}: multiples of 1/255: bytes, it seems: save (x * 255).round().astype('uint8')")
    if values.constants:
        doubts.append(
            f"{where}: {values.constants} of {values.low.size} entries are the same in every event: leave them out, "
            "or their density grows without bound"
        )
    return doubts


def _context_section(contexts: np.ndarray, values: Values, where: str) -> dict[str, Any]:
    if contexts.ndim in (2, 4):
        return {"shape": list(contexts.shape[1:])}
    if contexts.ndim != 1:
        raise DataError(f"{where} has shape {list(contexts.shape)}: contexts are labels [n], or arrays [n, d]")
    if not values.integers:
        raise DataError(f"{where} has shape [n] and floats: labels are integers; for numbers save c[:, None]")
    if values.lowest < 0 or not 0 < values.highest < MAX_LEVELS:
        raise DataError(
            f"{where}: labels from {values.lowest} to {values.highest}: labels are 0 … k - 1, k from 2 to {MAX_LEVELS}"
        )
    return {"classes": int(values.highest) + 1}


def _doubts_about_context(values: Values, where: str) -> list[str]:
    largest = max(abs(values.lowest), abs(values.highest))
    if values.low.ndim == 0 or largest <= MAX_CONTEXT:
        return []
    return [f"{where}: values up to {largest:g}: networks read them as they are: standardize them"]
