"""Defines FittedTable, which ``flowkit.fit`` returns for a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flowkit.domains import REALS, by_coordinate
from flowkit.errors import InputError
from flowkit.fitted.result import FittedFlow
from flowkit.fitted.tables import (
    TableLibrary,
    as_contexts,
    as_events,
    as_labels,
    as_table,
    column_of,
    joined,
)
from flowkit.flow import Flow
from flowkit.flow.inputs import as_flowkit
from flowkit.plugin import Arrays, PartName
from flowkit.starting import TableLook
from flowkit_runtime.columns import Preprocessing
from flowkit_runtime.frames import TableColumns, is_table
from flowkit_runtime.inputs import inside

if TYPE_CHECKING:
    from flowkit.train.fit import Trained


class FittedTable(FittedFlow):
    """A flow that was fitted to a table. Methods take tables with the same columns, and samples are tables, too.

    Arrays of events and contexts are taken as ``FittedFlow`` takes them.

    Attributes:
        preprocessing: How columns become events and contexts.
    """

    preprocessing: Preprocessing

    def __init__(
        self,
        flow: Flow,
        trained: Trained,
        data: Mapping[PartName, Arrays],
        library: TableLibrary,
        preprocessing: Preprocessing,
    ) -> None:
        super().__init__(flow, trained, data, "numpy")
        self.preprocessing = preprocessing
        self._tables: TableLibrary = library

    def log_prob(self, x: Any, context: Any = None) -> Any:
        """Return log p(event | context) in nats, [n], for the rows of a table, NaN where a value is missing.

        Without the column of the labels, p is marginal, as for arrays.

        Args:
            x: A table with the columns of the events, and those of the context unless ``context`` has them.
            context: Another table with the columns of the context. If the context is a class, a value of its column, or
                a list of such values, stands for a table with that column. A single class is that of all rows.

        Raises:
            InputError: If a column is missing, or a value can't be used.
        """
        return -self.score(x, context) if is_table(x) else super().log_prob(x, context)

    def score(self, x: Any, context: Any = None, draws: int = 1, seed: int = 0) -> Any:
        """Return -log p(event | context) in nats, [n], for the rows of a table, NaN where a value is missing.

        Integers and categories of the event are dequantized with noise that depends on ``seed`` and the row.

        Args:
            x: As for ``log_prob``.
            context: As for ``log_prob``.
            draws: The number of draws of noise for an array of integers. For a table it has no effect.
            seed: The seed of the noise.

        Raises:
            InputError: If a column is missing, or a value can't be used.
        """
        if not is_table(x):
            return super().score(x, context, draws, seed)
        events, contexts = as_events(self.preprocessing, self._columns(x, context), seed)
        kept = self._complete(events)
        return _in_rows(kept, super().score(events[kept], None if contexts is None else contexts[kept]))

    def posterior(self, x: Any, draws: int = 1, seed: int = 0) -> Any:
        """Return p(c | event), how probable each class is for the rows of a table, [n, classes].

        It is NaN where a value is missing.

        Args:
            x: A table with the columns of the events.
            draws: The number of draws of noise for an array of integers. For a table it has no effect.
            seed: The seed of the noise.

        Raises:
            InputError: If the context isn't a class, a column is missing, or a value can't be used.
        """
        if not is_table(x):
            return super().posterior(x, draws, seed)
        events, _ = as_events(replace(self.preprocessing, label=None), joined(x), seed)
        kept = self._complete(events)
        return _in_rows(kept, super().posterior(events[kept]))

    def sample(
        self, n: int | tuple[int, ...], context: Any = None, temperature: float = 1.0, seed: int | None = None
    ) -> Any:
        """Draw events as a table of the library that was fitted to.

        The columns of the context stand beside those of the events. For an array of contexts, events are an array.

        Args:
            n: The number of events, or of events for each row of the context.
            context: A table of contexts. If the context is a class, a value of its column, or a list of such values,
                stands for a table with that column.
            temperature: The scale of normal noise: below 1 samples are likelier and less varied.
            seed: The seed of the noise. Without one each call differs.

        Returns:
            A table with n rows, or n for each row of the context.

        Raises:
            InputError: If the flow needs a context and gets none, or an argument can't be used.
        """
        label = self.preprocessing.label
        if label is not None:
            context = as_labels(context, label.column)
        if not (is_table(context) or (context is None and self.flow.context is None)):
            if self.flow.context is not None and (context is None or isinstance(context, str)):
                raise InputError(self._wanted)
            return super().sample(n, context, temperature, seed)
        if isinstance(n, tuple):
            raise InputError("n is the number of samples, or of samples for each row of the context")
        if context is None:
            return as_table(self.preprocessing, super().sample(n, None, temperature, seed), self._tables)
        if self.flow.context is None:
            raise InputError(self._wanted)
        contexts = as_contexts(self.preprocessing, context)
        events = super().sample((n, len(contexts)), contexts, temperature, seed)  # [n, rows, d]
        flat = events.swapaxes(0, 1).reshape(-1, events.shape[-1])
        return as_table(self.preprocessing, flat, self._tables, context, np.repeat(np.arange(len(contexts)), n))

    def _columns(self, x: Any, context: Any) -> TableColumns:
        """Return the columns of a table, and those of its context. Raises InputError if the context is of no use."""
        label, first = self.preprocessing.label, self.preprocessing.event[0].column
        if label is not None and context is not None:
            context = as_labels(context, label.column, len(column_of(joined(x), first)))
        if not (context is None or is_table(context)):
            raise InputError(self._wanted)
        return joined(x, context)

    def _summary(self) -> list[tuple[str, str]]:
        return [("density", TableLook.of(self.preprocessing).density), *super()._summary()]

    @property
    def _wanted(self) -> str:
        """Say which context is wanted, for messages."""
        if self.flow.context is None:
            return "this flow takes no context: leave it out"
        classes = "" if self.preprocessing.label is None else ", a class, or a list of classes"
        return f"this flow needs a context: a table with {self.preprocessing.context_columns}{classes}"

    def _complete(self, events: np.ndarray) -> np.ndarray:
        """Return which events lack no value. Raises InputError for a value outside of the domain, as a bundle does."""
        domains = self.spec.event.domains
        ends = tuple((domain.low, domain.high) for domain in by_coordinate(domains))
        names = [column.column for column in self.preprocessing.event]
        as_flowkit(inside, "x", events, 0, None if domains == REALS else ends, names)
        return ~np.isnan(events[:, 0])


def _in_rows(kept: np.ndarray, results: np.ndarray) -> np.ndarray:
    """Return the results in the rows that are kept, and NaN in the others."""
    filled = np.full((len(kept), *results.shape[1:]), np.nan)
    filled[kept] = results
    return filled
