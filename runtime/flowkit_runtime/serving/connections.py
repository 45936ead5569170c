"""Cuts off clients that are too slow, and answers all requests that have been received when the server stops.

uvicorn itself closes connections that are idle between two requests. But it would wait without limit for the head of a
request, for its body, and for a client that doesn't read its answer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flowkit_runtime.serving.limits import GONE, MAX_CONNECTIONS, Limits, RefusedError

MAX_HEAD = 2**16
"""The most bytes of a request before its body."""
LAST_REQUEST = 1.0
"""The seconds in which an idle connection may still send a request when the server stops."""

_CONNECTION = "connection"

log = logging.getLogger("flowkit_runtime")


class Connection(HttpToolsProtocol):
    """A connection whose client must send its requests, and take its answers, in time.

    Args:
        limits: the limits of the server.
        slow: the connections whose clients haven't taken their answers yet. The connection adds and removes itself.
        **settings: those of uvicorn.
    """

    def __init__(self, limits: Limits, slow: set[Connection], **settings: Any) -> None:
        super().__init__(**settings)
        self._limits, self._slow, self._is_last = limits, slow, False
        self._part = self._read = 0  # heads have even numbers, bodies odd ones; the bytes read of this one
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        self._wait_for_head()

    @property
    def untaken(self) -> int:
        """The bytes of answers that the client hasn't taken yet."""
        return self.transport.get_write_buffer_size()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._slow.discard(self)
        self._unset_keepalive_if_required()
        for timer in (self._head_timer, self._answer_timer):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._head_timer is None and self._is_between_requests():
            self._wait_for_head()
        part = self._part
        super().data_received(data)
        if part == self._part and not self.transport.is_closing():
            self._read += len(data)
            self._check_read()

    def _check_read(self) -> None:
        """End the connection if a head is too long, or if too much comes of a body that has been refused."""
        is_head, is_answered = self._part % 2 == 0, self._is_between_requests()
        if is_head and self._read > MAX_HEAD and is_answered:
            self.send_400_response("The head of the request is too long.")
        elif (is_head and self._read > MAX_HEAD) or (is_answered and self._read > self._limits.body):
            self.transport.abort()

    def on_headers_complete(self) -> None:
        self._next_part()
        self.scope["state"][_CONNECTION] = self
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().on_headers_complete()
        if self._is_last:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._next_part()
        super().on_message_complete()

    def _next_part(self) -> None:
        self._part, self._read = self._part + 1, 0

    def shutdown(self) -> None:
        """Answer the request in progress, or one that is on its way, and then close the connection."""
        self._is_last = True
        if self._is_between_requests():
            self.loop.call_later(LAST_REQUEST, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        super().pause_writing()
        self._slow.add(self)
        if self._answer_timer is None:
            self._check_taken(self.loop.time(), self.untaken)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._slow.discard(self)
        if self._answer_timer is not None and not self.transport.is_closing():
            self._answer_timer.cancel()
            self._answer_timer = None

    def _check_taken(self, begun: float, size: int) -> None:
        """Cut off a client that takes its answer too slowly. What the system holds for it may have been taken, too."""
        held = self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        left = begun + self._limits.patience(held + size - self.untaken) - self.loop.time()
        if left > 0:
            self._answer_timer = self.loop.call_later(left, self._check_taken, begun, size)
        else:
            self._cut_off("take its answer")

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

    A second signal ends the process without waiting for requests in progress.

    Args:
        config: uvicorn's settings.
        stopping: is called when the server begins to stop.

    Attributes:
        has_answered: True if the server has stopped, and all requests were answered.
    """

    has_answered = False

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and wait for the requests in progress."""
        self._stopping()
        await super().shutdown(sockets)
        self.has_answered = not (self.server_state.connections or self.server_state.tasks)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            log.warning("stopped at once; requests in progress were not answered")
            os._exit(128 + sig)  # otherwise Python waits for the threads of these requests
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
