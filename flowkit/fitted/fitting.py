"""Defines fit, which fits a flow to arrays."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from rich.console import Console

from flowkit import presets
from flowkit.errors import DataWarning, InputError
from flowkit.fitted.given import FitInput, of_arrays, of_table
from flowkit.fitted.result import FittedFlow
from flowkit.plugin import Arrays, PartName
from flowkit.plugin.rows import shuffled_rows
from flowkit.spec import Spec, read_spec
from flowkit.starting import Look, hidden_width, train_section
from flowkit.train import fit_arrays
from flowkit.train.data import fitting_arrays
from flowkit.train.report import shows_bars
from flowkit_runtime.frames import is_table

PRESETS: dict[str, Callable[..., Spec]] = {name: getattr(presets, name) for name in presets.__all__}
NAME = re.compile(r"[\w-]*")
"""The form of texts that are taken for the name of a preset."""
NAMES: dict[PartName, str] = {"train": "x", "val": "the validation data"}
"""The names of the parts of the data in messages."""


def fit(
    x: Any,
    context: Any = None,
    spec: str | os.PathLike[str] | Mapping[str, Any] | Spec = "nsf",
    *,
    label: str | int | None = None,
    weight: Any = None,
    validation: Any = 0.1,
    progress: bool = True,
    lr: float | None = None,
    **train: Any,
) -> FittedFlow:
    """Fit a flow to data by maximum likelihood, and return it with its history.

    Like ``flowkit.train``, this makes the process keep the memory that it frees. torch's global generator and number of
    threads are afterwards as they were before. It warns (DataWarning) of data that may not be what was meant. Ctrl-C,
    or the button of a notebook, ends the training: what comes back has the best weights so far, with a warning
    (InterruptedWarning). Before the end of the first epoch there are none, and KeyboardInterrupt is raised.

    Args:
        x: The events, an array or a tensor [n, d] or [n, channels, height, width]. Floats are continuous data. Integers
            0, 1, … are data with levels. Or a Dataset of torch, whose items are events, or pairs of an event and its
            context; they are read into memory, each once. Or a table: a DataFrame of pandas or polars, an Arrow table,
            or a mapping of columns. Its columns become events and contexts as `flowkit new` does it for files.
        context: Labels 0 … k - 1 [n], or names of classes [n], or an array [n, *shape] to condition on. An array
            [n, t, d] holds sets or sequences of t vectors, which an encoder summarizes. For a table it is another one,
            or a list of columns of x. Without it, numbers make the event, and categories and times the context.
        spec: The name of a preset (nsf, maf, realnvp or glow), which is made for the data, or a spec: a validated one,
            a dict, a text, or a file's path. Only the columns of a table are used of its section `data`.
        label: The column of a table with the class of each row, which is then the context.
        weight: A number for each event, an array or a tensor [n], or the name of a table's column. The losses of
            training and validation are weighted means. An event of weight 0 is left out.
        validation: The share of the events that is held out at random, or the held-out data itself: x, or a tuple of x,
            context and weight. The flow's weights that do best on it are kept.
        progress: Show a bar on a terminal and in a notebook.
        lr: The learning rate, which is ``train.optimizer.lr`` of a spec.
        **train: Fields of a spec's section `train`, such as ``epochs=20``. They override those of the spec. Without
            such a section, other fields depend on the number of events, as in the specs of `flowkit new`.

    Returns:
        The flow with its history, a ``FittedFlow``. For a table it is a ``FittedTable``, which takes tables.

    Raises:
        InputError: If an argument can't be used.
        DataError: If no flow can be fitted to the data, or it doesn't fit the spec.
        SpecError: If the spec or a field of ``train`` isn't valid.
        TrainingError: If a loss isn't finite.

    Examples:
        >>> import flowkit, numpy
        >>> random = numpy.random.default_rng(0)
        >>> x, labels = random.normal(size=(200, 2)), random.integers(2, size=200)
        >>> fitted = flowkit.fit(x, labels, epochs=1, progress=False)
        >>> fitted.sample(5, context=1).shape, fitted.log_prob(x, labels).shape
        ((5, 2), (200,))

        A table has columns for events and contexts:

        >>> flats = {"city": ["Ulm", "Bonn"] * 50, "area": x[:100, 0], "price": x[:100, 1]}
        >>> fitted = flowkit.fit(flats, context=["city"], epochs=1, progress=False)
        >>> sorted(fitted.sample(3, {"city": ["Ulm"]}))
        ['area', 'city', 'price']
    """
    given = None if isinstance(spec, str) and spec in PRESETS else _read(spec)
    if label is not None and not is_table(x):
        raise InputError("label names a column, and x is no table: pass the classes as the context")
    column = None if label is None else str(label)
    found = of_table(x, context, given, column, weight) if is_table(x) else of_arrays(x, context, given, weight)
    look = found.look
    for doubt in look.doubts:
        warnings.warn(doubt, DataWarning, stacklevel=2)
    chosen = _with_training(given or _preset(str(spec), look, found.domain), look.rows, train, lr)
    if chosen.context is None and look.context is not None:
        raise InputError(f"the spec has no context, so its flow would not read yours: add `context: {look.context}`")
    parts = _parts(found, validation, chosen.train.seed)
    data = {part: fitting_arrays(arrays, chosen, NAMES[part]) for part, arrays in parts.items()}
    console = Console()
    flow, trained = fit_arrays(chosen, data, console if progress and shows_bars(console) else Console(quiet=True))
    return found.result(flow, trained, data)


def _preset(name: str, look: Look, domain: Any) -> Spec:
    """Return the spec of a preset for the data. Warns (DataWarning) that contexts [n, t, d] are taken for sets."""
    context = look.context or {}
    if "encoder" in context:
        shape = context["shape"]
        advice = f'{name}({list(look.event)}, context={shape}, encoder={{"use": "encoder/gru"}})'
        message = f"contexts of shape {shape} are taken for sets, without an order; for sequences pass spec="
        warnings.warn(f"{message}flowkit.presets.{advice}", DataWarning, stacklevel=3)
    return PRESETS[name](
        look.event,
        classes=context.get("classes"),
        context=context.get("shape"),
        encoder=context.get("encoder"),
        domain=domain,
        levels=look.levels,
        hidden=hidden_width(look.event, look.rows),
    )


def _read(spec: Any) -> Spec:
    """Return a spec that was given. Raises InputError or SpecError."""
    if isinstance(spec, str) and NAME.fullmatch(spec) and not os.path.exists(spec):
        raise InputError(f"there is no preset {spec!r}, and no file of that name: presets are {', '.join(PRESETS)}")
    return spec if isinstance(spec, Spec) else read_spec(spec)


def _with_training(spec: Spec, rows: int, train: Mapping[str, Any], lr: float | None) -> Spec:
    """Return the spec without `data`, with these fields of `train` and this learning rate. Raises SpecError."""
    content = spec.model_dump(mode="json", exclude={"data", "train"})
    section = spec.train.model_dump(mode="json", exclude_unset=True)
    if "train" not in spec.model_fields_set:
        whole = {name: value for name in ("batch_size", "epochs") if _is_count(value := train.get(name))}
        section = train_section(rows, **whole)
        if train.get("minutes") is not None:
            del section["epochs"]
    section |= train
    optimizer = section.get("optimizer", {})
    if lr is not None and isinstance(optimizer, Mapping):  # otherwise the optimizer isn't valid
        section["optimizer"] = {**optimizer, "lr": lr}
    return read_spec(content | {"train": section})


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) > 0


def _parts(found: FitInput, validation: Any, seed: int) -> dict[PartName, Arrays]:
    """Return the training and the validation part of the data. Raises InputError."""
    whole = found.arrays
    if not isinstance(validation, Real):
        return {"train": whole, "val": _validation(found, validation)}
    n, share = len(whole.x), float(validation)
    held_out = max(1, round(n * share)) if 0 < share < 1 else 0
    if not 0 < held_out < n:
        raise InputError(f"validation is {validation!r}: give a share between 0 and 1 of the {n} events, or the data")
    order = shuffled_rows(n, np.random.default_rng(seed))
    return {"train": whole.take(order[held_out:]), "val": whole.take(order[:held_out])}


def _validation(found: FitInput, validation: Any) -> Arrays:
    """Read the validation data: x, or a tuple of x, context and weight. Raises InputError."""
    entries = validation if isinstance(validation, tuple) else (validation,)
    if not 0 < len(entries) <= 3:
        raise InputError(f"validation has {len(entries)} entries: give a share, x, or a tuple of x, context and weight")
    try:
        held_out = found.read(*entries)
    except InputError as error:
        raise InputError(f"{NAMES['val']}: {error}") from None
    parts = [part for part in (found.arrays, held_out) if part.context is not None]
    kinds = ["texts" if part.classes else "numbers" for part in parts]
    if len(set(kinds)) > 1:  # the texts would be numbered in an order of their own
        raise InputError(f"the labels of x are {kinds[0]}, and those of validation are {kinds[1]}: give one kind")
    return held_out
