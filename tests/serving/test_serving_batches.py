"""Calls that wait are joined, none waits for ever, and one that fails takes no other with it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowkit_runtime.errors import BundleError
from flowkit_runtime.serving.batching import Batches, JoinedGraph
from flowkit_runtime.serving.limits import RefusedError
from flowkit_runtime.session import Graph

OUTPUTS = {name: ("tensor(float)", ()) for name in ("double", "other")}


class Doubling:
    """A session that doubles x once it may. A row of -1 fails."""

    def __init__(self) -> None:
        self.may, self.is_busy = threading.Event(), threading.Event()

    def run(self, names: list[str], feed: dict[str, Any]) -> list[Any]:
        self.is_busy.set()
        assert self.may.wait(10)
        if (feed["x"] == -1).any():
            raise RuntimeError("there is a row of -1")
        return [2 * feed["x"] for _ in names]


class Desk:
    """Takes calls of two graphs from several threads, in their order, while a first call occupies the session."""

    def __init__(self) -> None:
        self.session, self.batches, self.sizes = Doubling(), Batches(rows=4), list[int]()
        graph = Graph(Path("g.onnx"), self.session, OUTPUTS, False)
        self.graph, self.another = (JoinedGraph(graph, self.batches, self._observe) for _ in range(2))
        self._pool = ThreadPoolExecutor(8)
        self.first = self._pool.submit(self.graph.run, ("double",), {"x": np.zeros(1)})
        assert self.session.is_busy.wait(10)

    def call(self, *rows: int, names: tuple[str, ...] = ("double",), graph: JoinedGraph | None = None) -> Future[Any]:
        return self.do((graph or self.graph).run, names, {"x": np.array(rows, float)})

    def do(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        before = len(self.batches._waiting)
        future = self._pool.submit(call, *arguments)
        while len(self.batches._waiting) == before:
            time.sleep(0.001)
        return future

    def go(self) -> None:
        self.session.may.set()
        self.first.result(10)

    def _observe(self, graph: Graph, rows: int, seconds: float) -> None:
        self.sizes.append(rows)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.session.may.set()


def test_calls_that_wait_are_joined_in_their_order(desk):
    calls = [desk.call(1), desk.call(2, 3), desk.call(4, 5), desk.call(6), desk.call(7)]
    desk.go()
    assert [call.result(10)[0].tolist() for call in calls] == [[2], [4, 6], [8, 10], [12], [14]]
    assert desk.sizes == [1, 4, 3]  # 1, 2-3 and 6; then 4-5 and 7


def test_only_calls_of_one_kind_are_joined(desk):
    calls = [desk.call(1), desk.call(2, names=("double", "other")), desk.call(3, graph=desk.another), desk.call(4)]
    desk.go()
    assert [call.result(10)[-1].tolist() for call in calls] == [[2], [4], [6], [8]]
    assert desk.sizes == [1, 2, 1, 1]


def test_a_call_larger_than_a_batch_runs_alone(desk):
    large = desk.call(*range(9))
    desk.call(1)
    desk.go()
    assert large.result(10)[0].tolist() == list(range(0, 18, 2))


def test_a_call_that_fails_takes_no_other_with_it(desk):
    good, bad, other = desk.call(1), desk.call(-1), desk.call(2)
    desk.go()
    assert good.result(10)[0] == [2] and other.result(10)[0] == [4]
    with pytest.raises(BundleError, match="a row of -1"):
        bad.result(10)


def test_none_waits_longer_than_it_may(desk):
    with desk.batches.until(time.monotonic() + 0.02), pytest.raises(RefusedError) as caught:
        desk.graph.run(("double",), {"x": np.zeros(3)})
    assert caught.value.status == 503 and "send fewer rows" in str(caught.value)
    after = desk.call(1)
    desk.go()
    assert after.result(10)[0] == [2] and desk.sizes == [1, 1]  # nobody computes what nobody waits for


def test_nobody_computes_for_a_client_that_is_gone(desk):
    def leaving() -> None:
        with desk.batches.until(math.inf, lambda: True):
            desk.graph.run(("double",), {"x": np.zeros(2)})

    gone = desk.do(leaving)
    after = desk.call(1)
    desk.go()
    assert after.result(10)[0] == [2] and desk.sizes == [1, 1]
    with pytest.raises(RefusedError):
        gone.result(10)
