"""Computes densities, scores, latents and samples of a loaded flow."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowkit_runtime.bundle import (
    DECODER,
    ENCODER,
    Bundle,
    Threshold,
    read_bundle,
    resized,
)
from flowkit_runtime.columns import Preprocessing
from flowkit_runtime.errors import BundleError, InputError, RowError, shortened
from flowkit_runtime.frames import TableColumns, is_table
from flowkit_runtime.graphs import FlowGraphs
from flowkit_runtime.inputs import (
    Array,
    batch,
    checked_temperature,
    context_rows,
    count,
    enough_memory,
    finite,
    grid,
    inside,
    integer,
    is_integral,
    points,
    real,
    row_slices,
    sample_context,
    sample_shape,
)
from flowkit_runtime.interpolation import path_between
from flowkit_runtime.noise import DEQUANTIZATION_STREAM
from flowkit_runtime.preprocessing import complete_context, decode, encode
from flowkit_runtime.providers import Provider
from flowkit_runtime.session import Graph, open_graphs

BATCH_SIZE = 256
Progress = Callable[[int], None]


def load(
    directory: str | PathLike[str],
    providers: Sequence[Provider] | None = None,
    threads: int | None = None,
    size: Sequence[int] | None = None,
) -> Model:
    """Load the bundle that `flowkit export RUN -o DIR` wrote to `directory`.

    Args:
        directory: The directory of the bundle.
        providers: onnxruntime execution providers, in order of preference; all of them must load. By default CUDA
            if the installed onnxruntime and the machine support it, otherwise the CPU. CUDA computes without TF32
            unless its options say otherwise. `Model.providers` lists those in use.
        threads: The most threads that one call of a graph may use; by default the number of cores.
        size: Height and width of the images, for a bundle exported with `--any-size`; by default those of the data.

    Returns:
        The flow, with its graphs open in onnxruntime.

    Raises:
        BundleError: If there is no bundle, or it is damaged or unsupported.
        InputError: If `directory` is no path, a named provider is unknown or can't be loaded, `threads` is below 1, or
            the graphs don't take this `size`.
    """
    bundle = read_bundle(directory)
    if size is not None:
        bundle = resized(bundle, size)
    return Model(bundle, open_graphs(bundle, providers, threads))


class Model:
    """A flow p(x) = p(z) |det dz/dx|, or p(x | context), which `load` returns.

    Arrays hold one event per row, [n, *event_shape], in data units. A context has one row per event, or is a single row
    for all events: if `context.classes` is set, indices of classes, or their names; otherwise floats [n,
    *context.shape]. Every method processes `batch_size` rows at a time, so that the memory for the networks does not
    grow with n, and raises InputError for an argument that it can't use. `progress` is called after each batch with the
    number of rows that are done. The bundle of a flow that runs in one direction only has one graph. A method that
    needs the other one raises BundleError.

    Attributes:
        directions: "both", "forward" if the flow only encodes and scores, "inverse" if it only decodes and samples.
        event_shape: The shape of one event.
        levels: Data are whole numbers 0 .. levels - 1; None for continuous data.
        domain: The ends (low, high) between which values of the data lie: one pair for all, or one for each coordinate;
            None if they may be any number. Events outside are refused.
        context: The kind of context; None for an unconditional flow.
        latent_shapes: The shape of each latent of one event.
        latent_names: The names of the latents, z_1, z_2, …, in the graphs and in .npz files.
        threshold: The threshold of anomalies; None if none was calibrated.
        preprocessing: How the columns of a table become events and contexts; None if the flow wasn't trained on one.
        printed_unit: The unit of scores as it is printed. It says so if they come from a bound of the likelihood.
        providers: The execution providers of onnxruntime in use, in order of preference.
        manifest: The bundle's manifest.json as parsed.
    """

    def __init__(self, bundle: Bundle, graphs: Mapping[str, Graph]) -> None:
        self.directions = bundle.directions
        self.event_shape = bundle.event_shape
        self.levels = bundle.levels
        self.domain = bundle.domain
        self.context = bundle.context
        self.latent_shapes = bundle.latent_shapes
        self.latent_names = bundle.latent_names
        self.threshold = bundle.threshold
        self.preprocessing = bundle.preprocessing
        self.printed_unit = bundle.printed_unit
        self.providers: tuple[str, ...] = tuple(next(iter(graphs.values())).session.get_providers())
        self.manifest: dict[str, Any] = bundle.manifest
        self._bundle, self._graphs = bundle, graphs
        self._flow = FlowGraphs(bundle, graphs)

    def from_table(self, table: Any, seed: int = 0) -> tuple[NDArray[np.float64], Array | None]:
        """Return the events and the contexts of a table, for the other methods: ``model.score(*model.from_table(df))``.

        If the flow was trained without the rows that lack a value, such rows give events of NaN, which have no score.
        The column of the labels may be absent: the contexts are then None, and scores are marginal. Contexts alone are
        made by `context_from_table`.

        Args:
            table: A DataFrame of pandas or polars, an Arrow table, or a mapping from names to arrays or lists, or to
                the single values of one row. It has the columns that the flow was trained on.
            seed: The seed of the noise of integers and categories.

        Raises:
            BundleError: If the flow wasn't trained on a table.
            InputError: If a column is missing, or a value can't be used.
        """
        return encode(self._table(), TableColumns(table), seed=integer("seed", seed, 0, 1 << 64))

    def context_from_table(self, table: Any) -> Array:
        """Return the contexts of a table, one for each row. The columns of the event aren't needed.

        Args:
            table: A table, as for `from_table`, with the columns of the context.

        Raises:
            BundleError: If the flow wasn't trained on a table.
            InputError: If the flow takes no context, a column or a value is missing, or a value can't be used.
        """
        if not self._table().contexts:
            raise InputError("this flow takes no context")
        return complete_context(self._table(), TableColumns(table))

    def to_table(self, x: ArrayLike) -> dict[str, Array]:
        """Return events as the columns of the table that the flow was trained on, by name. It undoes `from_table`.

        Integers are whole numbers again, categories are texts, and times are numpy's.

        Args:
            x: The events, [n, *event_shape].

        Raises:
            BundleError: If the flow wasn't trained on a table.
            InputError: If x has another shape.
        """
        return decode(self._table(), batch("x", x, self.event_shape))

    def _without_lacking(self, events: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Return events in which a point of the domain takes the place of those that lack a value, and which these are.

        Their rows keep their places, so that errors name the right ones.
        """
        if self.preprocessing is None or self.preprocessing.missing == "refuse":
            return events, np.zeros(len(events), bool)
        lacking: NDArray[np.bool_] = np.asarray(np.isnan(events).all(axis=1))
        low, high = np.transpose(self.domain or [(-math.inf, math.inf)])
        return np.where(lacking[:, None], np.clip(0.0, low, high), events), lacking

    @property
    def marginalizes(self) -> bool:
        """True if scores without a context are ln p(x) = ln Σ_c p(c) p(x | c), because the p(c) are known."""
        return self.context is not None and bool(self.context.probabilities)

    def threshold_for(self, context: ArrayLike | None) -> Threshold | None:
        """Return the threshold of scores with this context. Marginal scores have none: it is one given the class.

        Args:
            context: The context of the scores, or None.
        """
        return None if context is None and self.context is not None else self.threshold

    def _batch(self, x: ArrayLike) -> Array:
        """Return events [n, *event_shape], whose values aren't checked."""
        if self.preprocessing is not None and is_table(x):
            raise InputError("x is a table: pass the x and the context that model.from_table(table) returns")
        return batch("x", x, self.event_shape)

    def _given(self, context: ArrayLike | None) -> ArrayLike | None:
        """Return a context. Raises InputError if it is a table, or if it is missing and columns make it."""
        if self.preprocessing is None:
            return context
        pass_it = "pass what model.context_from_table(table) returns"
        if is_table(context):
            raise InputError(f"context is a table: {pass_it}")
        if context is None and self.preprocessing.context:
            columns = shortened(self.preprocessing.context_columns)
            raise InputError(f"this flow needs a context, of {columns}: {pass_it}")
        return context

    def _table(self) -> Preprocessing:
        if self.preprocessing is None:
            raise BundleError("this flow wasn't trained on a table with named columns: pass arrays")
        return self.preprocessing

    @enough_memory()
    def log_prob(
        self, x: ArrayLike, context: ArrayLike | None = None, *, batch_size: int = BATCH_SIZE, start: int = 0
    ) -> NDArray[np.float32]:
        """Return the log-density ln p(x) at continuous points, in nats per event, [n].

        If the context is a class and none is given, it is the marginal one, ln Σ_c p(c) p(x | c). The p(c) are the
        shares of the classes in the training data.

        Args:
            x: The points, [n, *event_shape].
            context: One row for each event, or a single one for all.
            batch_size: The number of rows that are computed together.
            start: The number of the first row, for errors.

        Raises:
            InputError: If an argument can't be used, or x holds integers and the flow has levels: integer data has no
                density at a point.
            BundleError: If the flow decodes only.
        """
        self._bundle.check_has(ENCODER)
        start, events = integer("start", start, 0), self._batch(x)
        if self.levels is not None and is_integral(events):
            raise InputError(
                "x holds integers, and integer data has no density at a point: use .score(x), which adds "
                "the uniform dequantization noise"
            )
        contexts = self._scored_with(context, len(events), start)
        result = np.empty(len(events), np.float32)
        for rows, given in _batches(len(events), batch_size, contexts):
            x_rows = self._points("x", events[rows], start + rows.start)
            result[rows] = self._density(x_rows, given)
        return result

    @enough_memory()
    def score(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        draws: int = 1,
        seed: int = 0,
        *,
        batch_size: int = BATCH_SIZE,
        start: int = 0,
    ) -> NDArray[np.float64]:
        """Return how unlikely each event is, [n]; lower is more likely.

        With levels the score is in bits per dimension,

            -mean_d ln p(x + u_d) / (D ln 2),   u_d ~ U[0, 1)^D,   D = prod(event_shape).

        If the bundle has a flow of the noise, u_d ~ q(u | x), and ln q(u_d | x) is subtracted from each ln p(x + u_d).

        Its expectation over u is an upper bound of the discrete -log2 P(x) / D. Without levels the score is -ln p(x) in
        nats. It is NaN for events that lack a value, which `from_table` gives as NaN. If the context is a class and
        none is given, p(x) is marginal, as for `log_prob`.

        Args:
            x: The events, [n, *event_shape]. With levels they are whole numbers, of any real dtype.
            context: One row for each event, or a single one for all.
            draws: The number of draws u_d. It has no effect without levels.
            seed: The seed of the noise: u_d is a function of (seed, d, row).
            batch_size: The number of rows that are computed together.
            start: If x is part of a longer sequence, the row at which it begins. The noise, and the rows that errors
                name, are then those of the whole sequence.

        Raises:
            InputError: If an argument can't be used.
            BundleError: If the flow decodes only.

        References:
            Theis, van den Oord and Bethge 2016, "A note on the evaluation of generative models".
        """
        self._bundle.check_has(ENCODER)
        start = integer("start", start, 0)
        draws, seed = integer("draws", draws, 1, DEQUANTIZATION_STREAM + 1), integer("seed", seed, 0, 1 << 64)
        events, lacking = self._without_lacking(self._batch(x))
        contexts = self._scored_with(context, len(events), start)
        total = np.zeros(len(events))
        for rows, given in _batches(len(events), batch_size, contexts):
            for x_rows, log_q in self._noisy(events[rows], draws, seed, start + rows.start):
                total[rows] += self._density(x_rows, given) - log_q
        total[lacking] = np.nan
        return -total / self._nats(draws)

    @enough_memory()
    def posterior(
        self, x: ArrayLike, draws: int = 1, seed: int = 0, *, batch_size: int = BATCH_SIZE, start: int = 0
    ) -> NDArray[np.float64]:
        """Return p(c | x), how probable each class is for each event, [n, classes]. Each row sums to 1.

        By Bayes' rule it is proportional to p(c) p(x | c). With levels, p(x | c) is the mean of p(x + u_d | c) / q(u_d
        | x) over `draws` draws of noise. Events that lack a value give NaN.

        Args:
            x: The events, as for `score`.
            draws: The number of draws u_d. It has no effect without levels.
            seed: The seed of the noise.
            batch_size: The number of rows that are computed together.
            start: The number of the first row, as for `score`.

        Raises:
            InputError: If an argument can't be used.
            BundleError: If the context isn't a class, or the bundle doesn't know how frequent the classes are.
        """
        return self.marginal_score_and_posterior(x, draws, seed, batch_size=batch_size, start=start)[1]

    @enough_memory()
    def marginal_score_and_posterior(
        self, x: ArrayLike, draws: int = 1, seed: int = 0, *, batch_size: int = BATCH_SIZE, start: int = 0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what `score` without a context and `posterior` return, in the time of one of them.

        Args:
            x: The events, as for `score`.
            draws: The number of draws u_d. It has no effect without levels.
            seed: The seed of the noise.
            batch_size: The number of rows that are computed together.
            start: The number of the first row, as for `score`.

        Raises:
            InputError: If an argument can't be used.
            BundleError: If the context isn't a class, or the bundle doesn't know how frequent the classes are.
        """
        self._bundle.check_has(ENCODER)
        if not self.marginalizes:
            raise BundleError("this bundle has no probabilities of classes: export a run whose context is a class")
        start = integer("start", start, 0)
        draws, seed = integer("draws", draws, 1, DEQUANTIZATION_STREAM + 1), integer("seed", seed, 0, 1 << 64)
        events, lacking = self._without_lacking(self._batch(x))
        assert self.context is not None
        scores, posterior = np.empty(len(events)), np.empty((len(events), len(self.context.probabilities)))
        for rows, _ in _batches(len(events), batch_size):
            noisy = self._noisy(events[rows], draws, seed, start + rows.start)
            joints = np.stack([self._joint(x_rows) - log_q[:, None] for x_rows, log_q in noisy])  # [draws, n, classes]
            scores[rows] = -np.logaddexp.reduce(joints, axis=2).sum(0)
            joint = np.logaddexp.reduce(joints, axis=0)
            with np.errstate(invalid="ignore"):  # no class may have a finite density
                posterior[rows] = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
        scores[lacking] = posterior[lacking] = np.nan
        return scores / self._nats(draws), posterior

    @enough_memory()
    def encode(
        self, x: ArrayLike, context: ArrayLike | None = None, *, batch_size: int = BATCH_SIZE, start: int = 0
    ) -> tuple[NDArray[np.float32], ...]:
        """Return the latents z of x, one array [n, *shape] for each of `latent_shapes`.

        With levels, an integer k (by dtype) is encoded at the middle of its cell, k + 1/2. Floats are encoded as they
        are.

        Args:
            x: The events, [n, *event_shape].
            context: One row for each event, or a single one for all.
            batch_size: The number of rows that are computed together.
            start: The number of the first row, for errors.

        Raises:
            InputError: If an argument can't be used.
            BundleError: If the flow decodes only.
        """
        self._bundle.check_has(ENCODER)
        start, events = integer("start", start, 0), self._batch(x)
        contexts = self._contexts(context, len(events), start)
        latents = tuple(np.empty((len(events), *shape), np.float32) for shape in self.latent_shapes)
        for rows, given in _batches(len(events), batch_size, contexts):
            x_rows = self._points("x", events[rows], start + rows.start)
            for latent, value in zip(latents, self._flow.encode(x_rows, given), strict=True):
                latent[rows] = value
        return latents

    def on_device(self, **tensors: Any) -> dict[str, Any]:
        """Run a graph on tensors that stay where they are, such as on a GPU.

        No memory is copied, unless a tensor is on another device than the model (`providers`). The graphs get the
        tensors as they are: points with noise added, no integers, all rows in one batch. Values aren't checked.
        Whatever computes a tensor must be done: call ``torch.cuda.synchronize()`` before.

        Args:
            **tensors: ``x=x`` for the latents and log_prob, or ``z_1=z_1, …`` for x, and `context` if there is one.
                Tensors are OrtValues or support DLPack, as those of PyTorch, JAX and CuPy do: float32 and contiguous,
                [n, *shape]; classes are int64, [n].

        Returns:
            OrtValues on the device by name: z_1, z_2, … and log_prob, or x. ``torch.from_dlpack`` and its like take
            them.

        Raises:
            InputError: If a tensor is missing, can't be shared, or has another type or shape.
            BundleError: If the flow lacks this direction.
        """
        graph, outputs = DECODER, ["x"]
        if "x" in tensors:
            graph, outputs = ENCODER, [*self.latent_names, "log_prob"]
        self._bundle.check_has(graph)
        return self._graphs[graph].run_on_device(outputs, tensors)

    @enough_memory()
    def decode(
        self,
        latents: Sequence[ArrayLike],
        context: ArrayLike | None = None,
        *,
        batch_size: int = BATCH_SIZE,
        progress: Progress | None = None,
    ) -> Array:
        """Return the events x of latents, [n, *event_shape]. This is the inverse of `encode`.

        Without levels the result is float32. With levels it is floor(x) clipped to [0, levels - 1], in the smallest
        unsigned dtype that holds levels - 1.

        Args:
            latents: A tuple with an array [n, *shape] for each of `latent_shapes`.
            context: One row for each event, or a single one for all.
            batch_size: The number of rows that are computed together.
            progress: A function that is called with the number of rows that are done.

        Raises:
            InputError: If an argument can't be used.
            BundleError: If the flow encodes only.
        """
        self._bundle.check_has(DECODER)
        arrays = self._latents(latents)
        n = len(arrays[0])
        contexts = self._contexts(context, n, 0)
        result = np.empty((n, *self.event_shape), self._dtype)
        for rows, given in _batches(n, batch_size, contexts, progress):
            z = [finite(name, z[rows], rows.start) for name, z in zip(self.latent_names, arrays, strict=True)]
            result[rows] = self._events(z, given, rows.start)
        return result

    @enough_memory()
    def reconstruction_error(
        self, x: ArrayLike, context: ArrayLike | None = None, *, batch_size: int = BATCH_SIZE, start: int = 0
    ) -> NDArray[np.float64]:
        """Return the largest |decode(encode(x)) - x| of each event, [n], in data units.

        With levels it is a whole number of levels, and 0 means that the event is restored exactly. Values of x that
        aren't whole are compared by their level, floor(x). An event that decodes to NaN has an infinite error. On the
        data and close to it, integers are restored exactly. Far from it, float32 may lose too many digits.

        Args:
            x: The events, [n, *event_shape].
            context: One row for each event, or a single one for all.
            batch_size: The number of rows that are computed together.
            start: The number of the first row, for errors.

        Raises:
            InputError: If an argument can't be used.
            BundleError: If the flow runs in one direction only.
        """
        self._bundle.check_has(ENCODER)
        self._bundle.check_has(DECODER)
        start, events = integer("start", start, 0), self._batch(x)
        contexts = self._contexts(context, len(events), start)
        result = np.empty(len(events))
        for rows, given in _batches(len(events), batch_size, contexts):
            x_rows = self._points("x", events[rows], start + rows.start)
            decoded = self._flow.decode(self._flow.encode(x_rows, given), given)
            wanted = x_rows if self.levels is None else np.floor(x_rows)
            found = decoded if self.levels is None else self._whole(decoded)
            with np.errstate(invalid="ignore"):
                error = np.abs(found.astype(np.float64) - wanted)
            result[rows] = np.where(np.isfinite(error), error, np.inf).reshape(len(error), -1).max(axis=1)
        return result

    @enough_memory()
    def sample(
        self,
        n: int | tuple[int, ...],
        context: ArrayLike | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
        *,
        batch_size: int = BATCH_SIZE,
        progress: Progress | None = None,
    ) -> Array:
        """Draw events: decode latents z that are made from noise.

        For a standard normal base z = temperature * eps with eps ~ N(0, I). For other bases z is what the graph of the
        bases makes from noise. The noise of row r is a function of (seed, r) alone, so the first rows of a seed are the
        same for every n and `batch_size`, up to the float32 rounding of the networks.

        Args:
            n: The number of events, or a shape, as numpy's `size`. The contexts are broadcast to this shape. So
                `sample((200, 5), contexts)` draws 200 events for each of 5 contexts.
            context: One row for each event, or a single one for all.
            temperature: The scale of normal noise. How often a mixture chooses a component doesn't depend on it.
            seed: The seed of the noise. Without one each call differs.
            batch_size: The number of rows that are computed together.
            progress: A function that is called with the number of rows that are done.

        Returns:
            The events, `[n, *event_shape]`, or `[*n, *event_shape]` if n is a shape, in the dtype of `decode`.

        Raises:
            InputError: If an argument can't be used, or a sample isn't finite.
            BundleError: If the flow runs forward only.
        """
        self._bundle.check_has(DECODER)
        shape = sample_shape(n, self.event_shape, self.context)
        seed = secrets.randbits(64) if seed is None else integer("seed", seed, 0, 1 << 64)
        temperature = checked_temperature(temperature)
        contexts = sample_context(self._given(context), self.context, shape)
        result = np.empty((math.prod(shape), *self.event_shape), self._dtype)
        for rows, given in _batches(len(result), batch_size, contexts, progress):
            try:
                latents = self._flow.sample_latents(seed, temperature, given, rows)
                result[rows] = self._events(latents, given, rows.start)
            except RowError as error:
                raise RowError(f"{error}; take a temperature below {temperature:g}") from None
        return result.reshape(*shape, *self.event_shape)

    @enough_memory()
    def interpolate(self, a: ArrayLike, b: ArrayLike, n: int, context: ArrayLike | None = None) -> Array:
        """Return n events [n, *event_shape] on a path from event a to event b, both included.

        The latents of a and b are connected by an arc (spherical interpolation, see `flowkit_runtime.interpolation`),
        or by a straight line if a base isn't the standard normal, and decoded; the dtype is as for `decode`.

        Args:
            a: The first event, [*event_shape].
            b: The last event, [*event_shape].
            n: The number of events.
            context: One row for all steps, or one row for each step. In the latter case the first row is that of a, and
                the last that of b.

        Raises:
            InputError: If n is below 2, or a or b is not one event.
            BundleError: If the flow runs in one direction only.
        """
        self._bundle.check_has(DECODER)
        n = count(n, 2, self.event_shape, self.context)
        events = {name: batch(name, real(name, x)[None], self.event_shape) for name, x in (("a", a), ("b", b))}
        ends = np.concatenate([self._points(name, event, 0) for name, event in events.items()])
        contexts = self._contexts(context, n, 0)
        latents = self.encode(ends, None if contexts is None else contexts[[0, -1]])
        return self.decode(path_between(latents, n, arc=self._bundle.noise is None), contexts)

    @enough_memory()
    def anomalous(self, scores: ArrayLike) -> NDArray[np.bool_]:
        """Return True for each score above the threshold, as booleans of the same shape. NaN counts as above.

        The test has one side: an event that is unusually likely is never flagged. Likelihood prefers simple inputs, so
        a blank image can be likelier than all of the data.

        Args:
            scores: Scores of any shape, as `score` returns them.

        Raises:
            BundleError: If the bundle has no threshold.
        """
        if self.threshold is None:
            raise BundleError("this bundle has no anomaly threshold: export it with a flowkit that calibrates one")
        result: NDArray[np.bool_] = ~(real("scores", scores).astype(np.float64) <= self.threshold.score)
        return result

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32) if self.levels is None else np.min_scalar_type(self.levels - 1)

    def _points(self, name: str, events: Array, start: int) -> NDArray[np.float32]:
        """Return events as points, which must lie in the domain of the data. Messages name the columns of a table.

        `start` is the number of the first row.
        """
        columns = () if self.preprocessing is None else [column.column for column in self.preprocessing.event]
        return inside(name, points(name, events, start, self.levels), start, self.domain, columns)

    def _latents(self, latents: Sequence[ArrayLike]) -> list[Array]:
        if not isinstance(latents, list | tuple) or len(latents) != len(self.latent_names):
            raise InputError(f"latents must be a list of the arrays {', '.join(self.latent_names)}")
        arrays = [batch(*each) for each in zip(self.latent_names, latents, self.latent_shapes, strict=True)]
        if len({len(array) for array in arrays}) > 1:
            raise InputError(f"latents differ in their number of rows: {[len(array) for array in arrays]}")
        return arrays

    def _noisy(
        self, events: Array, draws: int, seed: int, start: int
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64]]]:
        """Yield the points x + u_d, and ln q(u_d | x), [n], of each draw. Without levels yield x itself, and 0.

        `start` is the number of the first row.
        """
        if self.levels is None:
            yield self._points("x", events, start), np.zeros(len(events))
            return
        values = grid("x", events, start, self.levels)
        for draw in range(draws):
            yield self._flow.dequantize(values, seed, draw, start)

    def _nats(self, draws: int) -> float:
        """Return by what a sum over draws of nats is divided, so that it becomes a score."""
        return 1.0 if self.levels is None else draws * math.prod(self.event_shape) * math.log(2.0)

    def _scored_with(self, context: ArrayLike | None, n: int, start: int) -> Array | None:
        """Return the contexts of n events that are scored. None if there is none, or if it is summed over."""
        if context is None and self.marginalizes:
            return None
        return self._contexts(context, n, start)

    def _contexts(self, context: ArrayLike | None, n: int, start: int) -> Array | None:
        """Return the contexts of n rows, the first of which is row ``start``."""
        return context_rows(self._given(context), self.context, n, start)

    def _density(self, x: NDArray[np.float32], contexts: Array | None) -> NDArray[np.floating]:
        """Return the log-density at points, [n]. Without contexts, that of a conditional flow is the marginal one."""
        if contexts is None and self.context is not None:
            marginal: NDArray[np.float64] = np.logaddexp.reduce(self._joint(x), axis=1)
            return marginal
        return self._flow.log_prob(x, contexts)

    def _joint(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return ln p(c) + ln p(x | c) for each class c, [n, classes]."""
        assert self.context is not None
        n, probabilities = len(x), self.context.probabilities
        joint = np.full((n, len(probabilities)), -np.inf)
        for label in np.flatnonzero(probabilities):
            joint[:, label] = math.log(probabilities[label]) + self._flow.log_prob(x, np.full(n, label, np.int64))
        return joint

    def _events(self, z: list[NDArray[np.float32]], contexts: Array | None, start: int) -> Array:
        """Return the events of latents. `start` is the number of the first row."""
        x = self._flow.decode(z, contexts)
        # With levels, an infinite value is clipped to the last or the first level.
        wrong = ~np.isfinite(x) if self.levels is None else np.isnan(x)
        if wrong.any():
            index = np.unravel_index(int(wrong.argmax()), x.shape)
            raise RowError(f"row {start + int(index[0])} decodes to {x[index]}: its latents are too large")
        return x if self.levels is None else self._whole(x)

    def _whole(self, x: Array) -> Array:
        assert self.levels is not None
        levels: Array = np.clip(np.floor(x), 0, self.levels - 1)
        return levels


def _batches(
    n: int, batch_size: int, contexts: Array | None = None, progress: Progress | None = None
) -> Iterator[tuple[slice, Array | None]]:
    """Yield the rows of each batch, and their contexts. A batch counts as done when the next one is requested."""
    for rows in row_slices(n, integer("batch_size", batch_size, 1)):
        yield rows, None if contexts is None else contexts[rows]
        if progress is not None:
            progress(rows.stop)
