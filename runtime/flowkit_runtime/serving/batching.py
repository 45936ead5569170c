"""Joins the waiting calls of a graph into batches.

Each request is handled by a `Model` in a thread of its own. All of them hand their calls of onnxruntime to one thread,
which runs one call at a time. Calls of the same graph that arrive meanwhile are joined into the next one.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.serving.limits import GONE, RefusedError, too_busy
from flowkit_runtime.session import Feed, Graph

Observer = Callable[[Graph, int, float], None]
"""A function that is called after each batch, with its graph, its rows, and the seconds that it took."""


class _Call(Future[list[NDArray[Any]]]):
    """A call of a graph, whose results come later. It is cancelled if they would come too late."""

    def __init__(self, graph: JoinedGraph, names: Sequence[str], feed: Feed, is_gone: Callable[[], bool]) -> None:
        super().__init__()
        self.graph, self.names, self.feed, self.is_gone = graph, tuple(names), feed, is_gone
        self.rows = len(next(iter(feed.values())))

    def fits(self, other: _Call) -> bool:
        return self.graph is other.graph and self.names == other.names


class Batches:
    """Joins calls of graphs into batches, and runs them in one thread.

    Args:
        rows: the most rows of a batch. A call with more is run alone.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._local = threading.local()
        threading.Thread(target=self._work, name="batches", daemon=True).start()

    @contextmanager
    def until(self, deadline: float, is_gone: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Set a deadline, on the clock `time.monotonic`, for the calls of this thread inside the block.

        A call fails if it isn't computed by then. It also fails if `is_gone` returns True when its turn comes, because
        nobody waits for the result.
        """
        self._local.deadline, self._local.is_gone = deadline, is_gone
        try:
            yield
        finally:
            del self._local.deadline, self._local.is_gone

    def run(self, graph: JoinedGraph, names: Sequence[str], feed: Feed) -> list[NDArray[Any]]:
        """Return what `graph.compute` returns. Raises RefusedError if that takes too long, or the client is gone."""
        deadline: float = getattr(self._local, "deadline", math.inf)
        is_gone = getattr(self._local, "is_gone", lambda: False)
        call = _Call(graph, names, feed, is_gone)
        with self._changed:
            self._waiting.append(call)
            self._changed.notify()
        try:
            return call.result(None if math.isinf(deadline) else max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            call.cancel()
            raise too_busy("the request wasn't computed in time; send fewer rows") from None

    def _work(self) -> None:
        while True:
            self._compute(self._next())

    def _next(self) -> list[_Call]:
        """Wait for a call, and return the oldest with those that can be joined to it."""
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            waiting = list(self._waiting)
            self._waiting.clear()
            batch: list[_Call] = []
            rows = 0
            for call in waiting:
                if batch and not (call.fits(batch[0]) and rows + call.rows <= self._rows):
                    self._waiting.append(call)
                elif call.set_running_or_notify_cancel():
                    if call.is_gone():
                        call.set_exception(RefusedError(GONE, "the client is gone"))
                        continue
                    batch.append(call)
                    rows += call.rows
        return batch

    def _compute(self, batch: list[_Call]) -> None:
        if not batch:
            return
        try:
            results = batch[0].graph.compute(batch[0].names, _joined([call.feed for call in batch]))
        except Exception as error:
            if len(batch) > 1:  # one of them may be to blame: the others shall not suffer
                for call in batch:
                    self._compute([call])
                return
            batch[0].set_exception(error)
            return
        ends = np.cumsum([call.rows for call in batch]).tolist()
        for call, end in zip(batch, ends, strict=True):
            call.set_result([result[end - call.rows : end] for result in results])


class JoinedGraph(Graph):
    """A graph whose calls are run in batches.

    Args:
        graph: the graph.
        batches: runs its calls.
        observe: is called after each batch.
    """

    def __init__(self, graph: Graph, batches: Batches, observe: Observer) -> None:
        super().__init__(graph.path, graph.session, graph.outputs, graph.on_gpu)
        self._batches, self._observe = batches, observe

    def run(self, names: Sequence[str], feed: Feed) -> list[NDArray[Any]]:
        return self._batches.run(self, names, feed)

    def compute(self, names: Sequence[str], feed: Feed) -> list[NDArray[Any]]:
        """Return the named outputs of one batch, which is run at once."""
        begun = time.perf_counter()
        results = super().run(names, feed)
        self._observe(self, len(next(iter(feed.values()))), time.perf_counter() - begun)
        return results


def _joined(feeds: list[Feed]) -> Feed:
    if len(feeds) == 1:
        return feeds[0]
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
