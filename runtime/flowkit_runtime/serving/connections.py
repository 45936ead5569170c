"""Cuts off clients that are too slow, and answers all requests that have been received when the server stops.

uvicorn itself closes connections that are idle between two requests. But it would wait without limit for the head of a
request, for its body, and for a client that doesn't read its answer.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flowkit_runtime.serving.limits import GONE, Limits, RefusedError

MAX_HEAD = 2**16
"""The most bytes of a request before its body."""
MAX_CONNECTIONS = 900
"""The most open connections. Most systems let a process have 1,024 open files."""
LAST_REQUEST = 1.0
"""The seconds in which an idle connection may still send a request when the server stops."""

_CONNECTION = "connection"

log = logging.getLogger("flowkit_runtime")


class Connection(HttpToolsProtocol):
    """A connection whose client must send its requests, and take its answers, in time."""

    def __init__(self, limits: Limits, **settings: Any) -> None:
        super().__init__(**settings)
        self._limits, self._head, self._is_last = limits, 0, False
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        for timer in (self._head_timer, self._answer_timer):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        if not self._is_between_requests():
            super().data_received(data)
            return
        if self._head_timer is None:
            self._wait_for_head()
        self._head += len(data)
        super().data_received(data)
        if self._is_between_requests() and self._head > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_headers_complete(self) -> None:
        self._head = 0
        self.scope["state"][_CONNECTION] = self
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().on_headers_complete()
        if self._is_last:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Answer the request in progress, or one that is on its way, and then close the connection."""
        self._is_last = True
        if self._is_between_requests():
            self.loop.call_later(LAST_REQUEST, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._answer_timer is None:
            patience = self._limits.patience(self.transport.get_write_buffer_size())
            self._answer_timer = self.loop.call_later(patience, self._cut_off, "take its answer")

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection. The client has `client_seconds` more to take the rest of its last answer."""
        super().timeout_keep_alive_handler()
        if self._answer_timer is None:
            self._answer_timer = self.loop.call_later(self._limits.client_seconds, self.transport.abort)

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.client_seconds, self._cut_off, "send a request")

    def _cut_off(self, what: str) -> None:
        if not self.transport.is_closing() or self.transport.get_write_buffer_size():
            log.info("a client was cut off that took too long to %s", what)
        self.transport.abort()

    def _close_if_idle(self) -> None:
        if self._is_between_requests() and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """A server that SIGTERM or Ctrl-C stops without an error, so that the command exits with 0.

    A second signal ends the server without waiting for requests in progress.

    Args:
        config: uvicorn's settings.
        stopping: is called when the server begins to stop.
    """

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and wait for the requests in progress."""
        self._stopping()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def was_left(scope: Any) -> bool:
    """Return True if the client of a request is gone. `scope` is ASGI's."""
    connection = scope.get("state", {}).get(_CONNECTION)
    return connection is not None and bool(connection.transport.is_closing())


async def read_body(receive: Any, length: str | None, most: int, limits: Limits, hold: Callable[[int], None]) -> bytes:
    """Return the body of a request.

    Args:
        receive: the function of ASGI that returns the next message.
        length: the header Content-Length.
        most: the most bytes that are taken.
        limits: the limits of the server.
        hold: is called with the size of each part. It raises RefusedError if the server holds too much.

    Raises:
        RefusedError: the body is larger than `most`, comes too slowly, or ends early.
    """
    if length is not None and int(length) > most:
        raise _too_large(most)
    loop, parts, size, more = asyncio.get_running_loop(), [], 0, True
    begun = loop.time()
    try:
        async with asyncio.timeout_at(begun + limits.client_seconds) as until:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(GONE, "the connection was closed before the body was complete")
                parts.append(message["body"])
                hold(len(parts[-1]))
                size, more = size + len(parts[-1]), message["more_body"]
                if size > most:
                    raise _too_large(most)
                until.reschedule(begun + limits.patience(size))
    except TimeoutError:
        raise RefusedError(408, "the body comes too slowly", {"Connection": "close"}) from None
    return b"".join(parts)


def _too_large(most: int) -> RefusedError:
    return RefusedError(413, f"the body is larger than {most} bytes: send fewer rows at a time, or as .npy")
