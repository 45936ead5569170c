"""Turns the data that Python code has into numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from flowkit.errors import InputError
from flowkit.flow.inputs import as_flowkit
from flowkit.plugin import Arrays
from flowkit_runtime.errors import quoted, shortened
from flowkit_runtime.inputs import as_array, class_indices, real


def as_arrays(x: Any, context: Any = None, weight: Any = None, classes: tuple[str, ...] = ()) -> Arrays:
    """Return events, contexts and weights as numpy arrays of numbers.

    Each is a numpy array, a tensor, or what numpy makes an array of. Or ``x`` is a Dataset of torch. Its items are
    events, or pairs (tuples) of an event and its context. Labels may be texts. These are the names of classes, which
    are numbered in alphabetical order, or as in ``classes``. Raises InputError for anything else that isn't real
    numbers.
    """
    if isinstance(x, str | PathLike):
        raise InputError(f"x is {shortened(repr(x))}, no data: read the file first, with pandas.read_csv or numpy.load")
    if isinstance(x, Dataset):
        if context is not None:
            raise InputError(
                "x is a Dataset: let its items be pairs of an event and its context, and leave out context"
            )
        x, context = _columns_of(x)
    if isinstance(weight, str):
        raise InputError(f"weight is {weight!r}: x is no table with such a column, so give a number for each event")
    events = numbers("x", x)
    if context is None or not _are_texts(context):
        classes = ()
    else:
        classes = classes or tuple(map(str, np.unique(as_array("context", context))))
        context = as_flowkit(class_indices, context, classes)
    return Arrays(
        events,
        None if context is None else numbers("context", context),
        weights=None if weight is None else weights_of(weight, len(events)),
        classes=classes,
    )


def _are_texts(values: Any) -> bool:
    """Return True for an array or a list of texts."""
    if isinstance(values, str | Tensor):
        return False
    array = as_flowkit(as_array, "context", values)
    are_texts = [isinstance(each, str) for each in array.flat] if array.dtype.kind == "O" else []
    if any(are_texts) and not all(are_texts):
        row = are_texts.index(False)
        raise InputError(f"context has texts, and {quoted(array.flat[row])} in row {row}: give each event a class")
    return array.dtype.kind == "U" or any(are_texts)


def weights_of(weight: Any, n: int) -> np.ndarray:
    """Return weights as a numpy array [n]. Raises InputError if they are no n numbers."""
    weights = numbers("weight", weight)
    if weights.shape != (n,):
        raise InputError(f"weight has shape {list(weights.shape)}: give a number for each of the {n} events")
    return weights


def _columns_of(dataset: Dataset[Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the items of a dataset into memory, each once. Raises InputError unless all have one form."""
    given: Any = dataset
    items = list(given) if isinstance(dataset, IterableDataset) else [given[i] for i in range(len(given))]
    pairs = [item if isinstance(item, tuple) else (item,) for item in items]
    if {len(pair) for pair in pairs} not in ({1}, {2}):
        raise InputError("all items of a Dataset must be events, or all must be pairs of an event and its context")
    x, *context = (
        _stacked(name, values) for name, values in zip(("event", "context"), zip(*pairs, strict=True), strict=False)
    )
    return x, context[0] if context else None


def _stacked(name: str, values: Sequence[Any]) -> np.ndarray:
    arrays = [numbers(f"the {name} of item {i} of the Dataset", value) for i, value in enumerate(values)]
    other = next((i for i, array in enumerate(arrays) if array.shape != arrays[0].shape), None)
    if other is not None:
        shapes = f"{list(arrays[other].shape)}, and that of item 0 {list(arrays[0].shape)}"
        raise InputError(f"the {name} of item {other} of the Dataset has shape {shapes}")
    return np.stack(arrays)


def numbers(name: str, value: Any) -> np.ndarray:
    """Return a numpy array of integers or floats. False and True become 0 and 1. Raises InputError."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype is torch.bfloat16 else value  # numpy has no bfloat16
    array = as_flowkit(real, name, value)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # torch has no such floats
        return array.astype(np.float64)
    return array.astype(np.uint8) if array.dtype.kind == "b" else array
