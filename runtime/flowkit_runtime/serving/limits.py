"""Defines the limits of a server, and the error for requests that it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flowkit_runtime.errors import FlowRuntimeError

MEBIBYTE = 2**20
MAX_CONNECTIONS = 900
"""The most open connections. Most systems let a process have 1,024 open files."""
SLOWEST = 2**14
"""Bytes per second: a client that sends a body, or takes an answer, at this rate is never cut off."""
BODIES_HELD = 32
"""The bodies that are held at once, and the answers that clients haven't taken, may take as much memory as this number
of bodies of the largest size."""
LARGE_JSON = 2**16
"""JSON bodies of more bytes, and JSON and CSV answers of more values, are handled one at a time: as Python's objects
they take up to 25 times the memory of their text."""
MOST_AS_TEXT = 2**19
"""The most values of a JSON or CSV answer. Nothing else runs while it is written, which takes 2 µs for each value."""

GONE = 499
"""The status that is counted for a request if its client closed the connection. HTTP defines none for this."""


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Attributes:
        body: the most bytes of a body. A JSON body may have a quarter of them, as nothing else runs while it is parsed.
        rows: the most rows of a request, times its draws.
        batch: the most rows that are joined into one call of onnxruntime.
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
    """Raised for a request that is refused for its form, its size, or too much work, and not for its values.

    Args:
        status: the status of the answer.
        message: the message for the client.
        headers: headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


def too_busy(why: str) -> RefusedError:
    """Return the error, with status 503, for a request that the client may repeat later."""
    return RefusedError(503, f"{why}: try again later", {"Retry-After": "1"})
