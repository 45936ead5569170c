"""Looks at data as far as a starting spec has to know it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.errors import DataError
from flowkit.plugin import Rows, Shape
from flowkit.plugin.dataset import FRACTIONS, load_parts
from flowkit.plugin.rows import chunks
from flowkit.plugin.spelling import line
from flowkit.spec import read_spec
from flowkit.spec.text import read_text
from flowkit.starting.checks import (
    MIN_ROWS,
    array_section,
    check_data,
    check_range,
    check_rows,
    context_section,
    doubts_about,
    doubts_about_context,
    doubts_about_order,
)
from flowkit.starting.table import TableLook, look_at_table
from flowkit.starting.values import ValueRange, value_range
from flowkit_runtime.errors import FlowRuntimeError
from flowkit_runtime.files import map_npy
from flowkit_runtime.streaming.images import SUFFIXES, common_shape, folders_in, image_files
from flowkit_runtime.streaming.tables import TABLES

BYTES = ("data/images", "data/mnist")
"""The datasets whose values are bytes, however dark the images are."""
SOME_IMAGES = 100
"""The approximate number of images that are opened to choose a size."""


@dataclass(frozen=True)
class Look:
    """The facts behind the choices of a starting spec."""

    data: dict[str, Any]
    """The spec's section of that name."""
    rows: int
    """Events for training."""
    event: Shape
    values: ValueRange
    context: dict[str, Any] | None = None
    """The spec's section of that name."""
    offered: dict[str, Any] | None = None
    """The section that `context` would be for labels or arrays that the data brings without having been asked."""
    doubts: tuple[str, ...] = ()
    """The choices that may not be meant, and what to do about them."""
    known_levels: int | None = None
    """The levels of a dataset that always has as many."""

    @property
    def levels(self) -> int | None:
        """The levels of integers: the largest + 1, or the power of two above if that is near; 256 for bytes.

        A dataset may know them. None for continuous data.
        """
        if self.known_levels is not None:
            return self.known_levels
        if not self.values.integers:
            return None
        exact = max(2, int(self.values.highest) + 1)
        power = 1 << (exact - 1).bit_length()
        is_near = exact > 0.75 * power or (power == 256 and self.values.dtype == np.uint8)
        return power if is_near else exact

    def __str__(self) -> str:
        kind = "continuous" if self.levels is None else f"integers up to {int(self.values.highest):,}"
        return f"{self.rows:,} events to train on, {list(self.event)}, {kind}"


def look(
    data: str,
    context: str | Path | None = None,
    event: str | None = None,
    label: str | None = None,
    weight: str | None = None,
) -> Look | TableLook:
    """Look at data. Return the facts on which a starting spec depends.

    ``data`` is a .npy file, a table, a folder of images or of MNIST's files, or ``{use: …}``, a dataset as in a spec.
    ``event`` and ``context`` are columns of a table as a line of CSV has them, separated by commas; ``label`` and
    ``weight`` are one column each, or "" for none. For a .npy file, ``context`` is a .npy file of labels [n] or arrays,
    one for each event.

    Raises DataError if no flow could be fitted to the data; it says why, and what to do. Raises SpecError or
    PluginError for the name of a dataset.
    """
    if event is not None and not _names(event):
        raise DataError(f"--event {event!r} names no column")
    if Path(data).suffix.lower() in TABLES:
        return look_at_table(data, _names(event), _names(None if context is None else str(context)), label, weight)
    for option, given in (("--event", event), ("--label", label), ("--weight", weight)):
        if given is not None:
            raise DataError(f"{option} names columns of a table, and {data} is none")
    if data.lstrip().startswith("{") or Path(data).is_dir():
        if context is not None:
            raise DataError("--context goes with a .npy file of events: a dataset brings its own")
        return _look_at_dataset(_in_directory(Path(data)) if Path(data).is_dir() else data)
    return _look_at_file(data, None if context is None else Path(context))


def _names(text: str | None) -> list[str]:
    """Return the names in a line of CSV. A name in quotes may have commas, and blanks around it."""
    try:
        return [name for row in csv.reader([text or ""], skipinitialspace=True, strict=True) for name in row if name]
    except csv.Error as error:
        raise DataError(f"{text!r} is no list of columns as CSV has them: {error}") from error


def _look_at_file(path: str, context: Path | None) -> Look:
    x = map_rows(path)
    check_data(x, path)
    if len(x) < MIN_ROWS:
        raise DataError(f"{path}: {len(x)} events: it takes {MIN_ROWS} to train, validate and test")
    seen = look_at_arrays(x, None if context is None else map_rows(str(context)), path, str(context))
    data = {"use": "data/npy", "path": path} | ({} if context is None else {"context": str(context)})
    doubts = (*seen.doubts, *doubts_about_order(seen.context or {}, str(context)))
    return replace(seen, data=data, rows=int(len(x) * FRACTIONS[0]), doubts=doubts)


def look_at_arrays(
    x: np.ndarray | Rows,
    context: np.ndarray | Rows | None,
    where: str = "x",
    context_where: str = "context",
    classes: int | None = None,
) -> Look:
    """Look at events [n, *event], and at labels [n] or arrays if they have contexts. No dataset of specs has them.

    ``where`` and ``context_where`` are what messages call them. ``classes`` is the number of classes, if it is known.
    Raises DataError if no flow could be fitted to them.
    """
    check_data(x, where)
    values = value_range([x], where)
    check_range(values, where)
    seen = Look({}, len(x), x.shape[1:], values, doubts=tuple(doubts_about(values, where)))
    if context is None:
        return seen
    check_rows(context, len(x), context_where)
    found = value_range([context], context_where)
    section = context_section(context, found, context_where, classes)
    doubts = [] if "encoder" in section else doubts_about_context(found, context_where)  # an encoder standardizes
    return replace(seen, context=section, doubts=(*seen.doubts, *doubts))


def _in_directory(directory: Path) -> str:
    """Return the dataset of a directory with images, or else with MNIST's files, as specs name it."""
    if (shape := _shape_of_images(directory)) is not None:
        return line({"use": "data/images", "path": str(directory), "shape": shape})
    if not any(directory.glob("*-ubyte*")):
        raise DataError(
            f"{directory} and the folders in it hold no images ({', '.join(sorted(SUFFIXES))}), and it doesn't hold "
            "MNIST's four files: put the images there, those of each class into a folder of their own"
        )
    return line({"use": "data/mnist", "path": str(directory)})


def _shape_of_images(directory: Path) -> list[int] | None:
    """Return the shape for the images in a directory and in its folders; None if there are none."""
    try:
        files = [file for folder in [directory, *folders_in(directory)] for file in image_files(folder)[:SOME_IMAGES]]
        return common_shape(files[:: len(files) // SOME_IMAGES + 1]) if files else None
    except FlowRuntimeError as error:
        raise DataError(str(error)) from error


def _with_shape(reference: str) -> str:
    """Return a reference to a dataset. If it is `data/images` without a shape, it gets that of the files."""
    given = read_text(f"data: {reference}\n").data["data"]
    path = given.get("path")
    if given.get("use") != "data/images" or given.get("shape") or not isinstance(path, str) or not Path(path).is_dir():
        return reference
    return line({**given, "shape": _shape_of_images(Path(path)) or [1, 1, 1]})  # without images it says so itself


def _look_at_dataset(reference: str) -> Look:
    data = _with_shape(reference)
    spec = read_spec(f"flowkit: 1\nevent: {{shape: [1]}}\nflow: [{{use: glow/actnorm}}]\ndata: {data}\n")
    assert spec.data is not None
    name, parts = spec.data.name, dict(load_parts(spec.data))
    for split, part in parts.items():
        check_data(part.x, f"{name}, {split} part")
    values = value_range([part.x for part in parts.values()], name)
    check_range(values, name)
    train, given = parts["train"].x, _offered([part.context for part in parts.values() if part.context is not None])
    one_value = train.shape[1:] == (1,)  # a dataset of one value and a context is meant for p(value | context)
    return Look(
        data=spec.model_dump(mode="json")["data"],
        rows=len(train),
        event=train.shape[1:],
        values=values,
        context=given if one_value else None,
        offered=None if one_value else given,
        doubts=tuple(doubts_about(values, name)),
        known_levels=256 if name in BYTES else None,
    )


def _offered(contexts: Sequence[np.ndarray | Rows]) -> dict[str, Any] | None:
    """Return the section for the contexts of a dataset's parts; None without contexts, or if there is one class."""
    if not contexts:
        return None
    if contexts[0].ndim > 1:
        return array_section(contexts[0].shape[1:])
    classes = max(int(some.max()) + 1 for part in contexts for _, some in chunks(part))
    return {"classes": classes} if classes > 1 else None


def map_rows(path: str) -> Rows:
    """Map a .npy file into memory. Raises DataError unless it is an array of rows of numbers."""
    try:
        array = map_npy(Path(path))
    except FileNotFoundError as error:
        folder = "a folder of images or of MNIST's files"
        advice = f"name a .npy file, a table, {folder}, or a dataset, such as '{{use: data/digits}}'"
        raise DataError(f"there is no {path}: {advice}") from error
    except (OSError, ValueError) as error:
        if Path(path).suffix.lower() not in (".npy", ".npz"):
            raise DataError(
                f"{path} is neither a .npy file nor a table ({', '.join(TABLES)}): save it as one"
            ) from error
        raise DataError(f"{path} is not a .npy file of numbers ({error}): save one array with numpy.save") from error
    if array.ndim == 0:
        raise DataError(f"{path} must hold one array, a row an event: save it with numpy.save")
    if array.dtype.kind in "SU":
        advice = "x.astype(float), or numpy.unique(x, return_inverse=True)[1] for classes"
        raise DataError(f"{path} holds texts: save numbers, such as {advice}")
    if array.dtype.kind not in "iuf":
        raise DataError(f"{path} holds {array.dtype}: save integers or floats, such as x.astype('uint8')")
    return Rows(array)
