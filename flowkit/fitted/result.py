"""Defines FittedFlow, which ``flowkit.fit`` returns."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from flowkit.errors import InputError
from flowkit.fitted.arrays import numbers
from flowkit.fitted.classes import log_joint, log_posterior, marginal_score
from flowkit.flow import Flow
from flowkit.flow.inputs import as_flowkit, check_shape, given_rows
from flowkit.plugin import Arrays, PartName
from flowkit.spec import Spec
from flowkit.train.batches import take
from flowkit.train.data import class_shares
from flowkit_runtime.columns import Preprocessing
from flowkit_runtime.inputs import class_indices

if TYPE_CHECKING:
    from flowkit.export import Options
    from flowkit.train.checkpoint import Row
    from flowkit.train.fit import Trained

Library = Literal["numpy", "torch"]
"""The library of an array."""

MOST_EVENTS = 10_000
"""The most held-out events that an export is verified with."""
AT_ONCE = 2**18
"""The approximate number of values of events that are scored together."""


def library_of(value: Any) -> Library:
    """Return the library of an array. Lists and numbers count as numpy's."""
    return "torch" if isinstance(value, Tensor) else "numpy"


class FittedFlow:
    """A flow that was fitted to arrays, and the history of its training. ``flowkit.fit`` returns it.

    Methods take numpy arrays and return numpy arrays, and with tensors they return tensors. A sample is of the kind of
    its context, if that is an array or a tensor, and otherwise of the kind that the flow was fitted to. Everything else
    that a flow does is in ``flow``.

    Attributes:
        flow: The flow, with the weights that did best in validation.
        history: A dict for each epoch: its number, step, lr, train, val, seconds and drift. train and val are mean
            scores in ``flow.unit``; val is None where the epoch wasn't validated.
        best_epoch: The epoch whose weights the flow has.
        classes: The share of each class among the events that were trained on, by its name, if the context is a class;
            otherwise None. A class is given to methods by its name or its number.
        preprocessing: How the columns of a table become events and contexts; None for arrays.
    """

    preprocessing: Preprocessing | None = None

    def __init__(self, flow: Flow, trained: Trained, data: Mapping[PartName, Arrays], library: Library) -> None:
        self.flow = flow
        self.best_epoch = trained.best_epoch
        self.classes = class_shares(data["train"], flow.context)
        self._rows: list[Row] = trained.rows
        self._held_out = take(data["val"], slice(MOST_EVENTS))
        self._library: Library = library

    @property
    def history(self) -> list[dict[str, Any]]:
        return [row.model_dump() for row in self._rows]

    @property
    def spec(self) -> Spec:
        """The spec of the flow, with the section `train` that it was fitted with."""
        return self.flow.to_spec()

    def log_prob(self, x: Any, context: Any = None) -> Any:
        """Return log p(x) in nats, [n], at continuous x in data units.

        If the context is a class and none is given, p(x) is marginal, Σ_c p(c) p(x | c) with the shares in ``classes``
        as p(c).

        Args:
            x: The events, [n, *event_shape].
            context: One row for each event, or a single one for all.

        Raises:
            InputError: If an argument can't be used. Integers have no density at a point: see ``score``.
        """
        return self._of_events(lambda x, context, _: self._log_prob(x, context), x, context)

    def score(self, x: Any, context: Any = None, draws: int = 1, seed: int = 0) -> Any:
        """Return how unlikely each event is, [n], in ``flow.unit``; lower is more likely.

        It is -log p(x) in nats for continuous data, and in bits/dim for integer data. Without a class, p(x) is
        marginal, as for ``log_prob``. ``score`` of a served bundle has the same meaning.

        Args:
            x: The events, [n, *event_shape].
            context: One row for each event, or a single one for all.
            draws: The number of draws of dequantization noise over which the score of integer data is averaged.
            seed: The seed of that noise.

        Raises:
            InputError: If an argument can't be used.
        """
        scores = self.flow.nll if self.flow.levels is None else self.flow.bits_per_dim
        if context is None and self.classes is not None:
            shares = list(self.classes.values())
            return self._of_events(
                lambda x, _, start: marginal_score(self.flow, x, shares, draws, seed, start), x, None
            )
        return self._of_events(lambda x, context, start: scores(x, context, draws, seed, start), x, context)

    def posterior(self, x: Any, draws: int = 1, seed: int = 0) -> Any:
        """Return p(c | x), how probable each class in ``classes`` is for each event, [n, classes].

        Args:
            x: The events, [n, *event_shape].
            draws: The number of draws of dequantization noise for integer data.
            seed: The seed of that noise.

        Raises:
            InputError: If the context isn't a class, or an argument can't be used.
        """
        if self.classes is None:
            raise InputError("the context of this flow isn't a class, so there are no probabilities of classes")
        shares = list(self.classes.values())
        return self._of_events(
            lambda x, _, start: log_posterior(self.flow, x, shares, draws, seed, start).exp(), x, None
        )

    def sample(
        self, n: int | tuple[int, ...], context: Any = None, temperature: float = 1.0, seed: int | None = None
    ) -> Any:
        """Draw events.

        Args:
            n: The number of events, or a shape. With (200, 5) and 5 contexts, 200 events are drawn for each of them.
            context: One row for each event, or a single one for all.
            temperature: The scale of normal noise: below 1 samples are likelier and less varied.
            seed: The seed of the noise. Without one each call differs.

        Returns:
            The events, ``[n, *event_shape]``, or ``[*n, *event_shape]`` if n is a shape.

        Raises:
            InputError: If an argument can't be used.
            DirectionError: If the flow runs forward only.
        """
        given = self._context(context)
        samples = self.flow.sample(n, given, temperature, seed)
        is_array = isinstance(context, Tensor | np.ndarray)
        return _like(library_of(context) if is_array else self._library, samples)

    def export(self, directory: str | Path, *, overwrite: bool = False, options: Options | None = None) -> Path:
        """Write the flow as a verified bundle, which ``flowkit_runtime.load`` serves. Return its directory.

        The graphs are verified on the held-out events. The bundle of a flow that was fitted to a table takes tables.

        Args:
            directory: The directory to make.
            overwrite: Replace a bundle that is there.
            options: The ways in which graphs are written.

        Raises:
            ExportError: If the flow can't be written as graphs.
            RunError: If the directory can't be written, or holds something else.
            VerificationError: If a graph deviates from the flow.
        """
        from flowkit.export import Options, export  # this import takes seconds

        x, context, _ = self._held_out
        flow = copy.deepcopy(self.flow).cpu()
        weights = "raw" if self.spec.train.ema is None else "ema"
        given = options or Options()
        own = replace(given, classes=self.classes, preprocessing=self.preprocessing or given.preprocessing)
        export(flow, directory, x, context, weights, overwrite, own)
        return Path(directory)

    def _log_prob(self, x: Tensor, context: Tensor | None) -> Tensor:
        if self.flow.levels is not None and not x.is_floating_point():
            raise InputError("x holds integers, and integer data has no density at a point: use score(x)")
        if context is None and self.classes is not None:
            return log_joint(self.flow, x, list(self.classes.values())).logsumexp(1)
        return self.flow.log_prob(x, context)

    def _of_events(self, scores: Callable[[Tensor, Tensor | None, int], Tensor], x: Any, context: Any) -> Any:
        """Compute a result for each event, from events, contexts and the number of the first row.

        Tensors keep their gradients, and arrays are computed in parts.
        """
        events, given = self._tensor("x", x), self._context(context)
        assert events is not None
        if self.flow.levels is None and not events.is_complex():
            events = events.to(self.flow.dtype)  # whole numbers are points, too
        check_shape(events, self.flow.event_shape)
        if library_of(x) == "torch":
            return scores(events, given, 0)
        with torch.no_grad():
            return _like("numpy", torch.cat([scores(*part) for part in self._parts(events, given)]))

    def _parts(self, x: Tensor, context: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None, int]]:
        """Divide events, and the contexts that belong to them. Yield them with the number of the first row."""
        rows = None if context is None else given_rows(self.flow.context, context, len(x))
        single = rows is not None and len(rows) == 1  # the flow encodes it once for all events of a part
        size = max(1, AT_ONCE // math.prod(self.flow.event_shape))
        for start in range(0, max(1, len(x)), size):
            part = slice(start, start + size)
            yield x[part], rows if rows is None or single else rows[part], start

    def _context(self, value: Any) -> Tensor | None:
        """Return contexts as a tensor. Classes that are given by their names get their numbers."""
        if value is not None and not isinstance(value, Tensor):
            value = as_flowkit(class_indices, value, tuple(self.classes or ()))
        return self._tensor("context", value)

    def _tensor(self, name: str, value: Any) -> Tensor | None:
        """Return an array as a tensor on the flow's device. Floats get its precision."""
        if value is None:
            return None
        tensor = value if isinstance(value, Tensor) else _from_numpy(numbers(name, value))
        return tensor.to(self.flow.device, self.flow.dtype if tensor.is_floating_point() else tensor.dtype)

    def _summary(self) -> list[tuple[str, str]]:
        """Return names and texts for people."""
        from flowkit.fitted.summary import summary

        return summary(self.flow, self._rows)

    def __repr__(self) -> str:
        return "\n".join([type(self).__name__, *(f"  {name}: {text}" for name, text in self._summary())])

    def _repr_html_(self) -> str:
        """Return the summary and the curve of the losses for a notebook."""
        from flowkit.fitted.summary import as_html

        return as_html(self._summary(), self._rows, self.flow.printed_unit)


def _from_numpy(array: np.ndarray) -> Tensor:
    """Return a tensor. torch has few operators for unsigned integers of more than 8 bits."""
    if array.dtype.kind == "u" and array.dtype != np.uint8:
        array = array.astype(np.int64)
    return torch.tensor(array.astype(array.dtype.newbyteorder("=")))


def _like(kind: Library, result: Tensor) -> Any:
    return result if kind == "torch" else result.cpu().numpy()
