"""Defines what a server takes, and how it refuses the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flowkit_runtime.errors import FlowRuntimeError

MEBIBYTE = 2**20
SLOWEST = 2**14
"""Bytes per second: a body, or an answer, may take longer than a client is waited for, if it comes at this rate."""
BODIES_HELD = 32
"""All bodies that are held at once may take as much memory as this many of the largest."""
LARGE_JSON = 2**16
"""A JSON body of more bytes, or a JSON answer of more values, is handled alone: as Python's objects it takes up to 25
times the memory of its text."""

GONE = 499
"""The status with which a request is counted whose client closed the connection. No standard has one."""


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Attributes:
        body: the most bytes of a body. One of JSON may have a quarter of that: nothing else runs while it is parsed.
        rows: the most rows of a request, times its draws.
        batch: the most rows that are joined to one call of onnxruntime.
        requests: the most requests that wait or are computed; more are refused at once.
        seconds: the time in which a request must be answered, counted from when it has been received.
        client_seconds: the time in which a client must send the head of a request, and its body. A body may take
            longer if it comes at SLOWEST bytes per second.
    """

    body: int = 16 * MEBIBYTE
    rows: int = 10_000
    batch: int = 64
    requests: int = 256
    seconds: float = 30.0
    client_seconds: float = 10.0

    @property
    def json(self) -> int:
        """The most bytes of a JSON body."""
        return self.body // 4

    def patience(self, size: int) -> float:
        """Return the seconds in which a client must have sent or taken this many bytes."""
        return self.client_seconds + size / SLOWEST


class RefusedError(FlowRuntimeError):
    """A request that is refused for another reason than its values: its form, its size, or too much work.

    Args:
        status: the status of the answer.
        message: what the client is told.
        headers: headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


def too_busy(why: str) -> RefusedError:
    """Return the answer to a request that may be repeated later."""
    return RefusedError(503, f"{why}: try again later", {"Retry-After": "1"})
