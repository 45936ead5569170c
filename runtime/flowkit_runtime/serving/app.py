"""Defines the addresses of a server, and answers the requests to them."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from flowkit_runtime.errors import InputError
from flowkit_runtime.model import Model
from flowkit_runtime.serving.answers import accepted_form, as_json, written
from flowkit_runtime.serving.batching import Batches
from flowkit_runtime.serving.bodies import CSV, JSON, body_form, joined_values, parsed_body, parsed_query
from flowkit_runtime.serving.connections import Connection, read_body, was_left
from flowkit_runtime.serving.describing import described_bundle, openapi_of
from flowkit_runtime.serving.endpoints import ENDPOINTS, Endpoint
from flowkit_runtime.serving.limits import BODIES_HELD, LARGE_JSON, Limits, RefusedError, too_busy
from flowkit_runtime.serving.metrics import Metrics
from flowkit_runtime.serving.page import docs_page

log = logging.getLogger("flowkit_runtime")


class Service:
    """Answers the requests for some bundles.

    Args:
        models: the models by the names of their bundles. Their graphs run in `batches`.
        batches: runs the graphs.
        limits: the limits beyond which requests are refused.
        metrics: counts the requests.

    Attributes:
        is_stopping: True once the server takes no new connections.
        slow: the connections whose clients haven't taken their answers yet.
    """

    def __init__(self, models: Mapping[str, Model], batches: Batches, limits: Limits, metrics: Metrics) -> None:
        self.models, self.metrics, self.is_stopping = models, metrics, False
        self.slow: set[Connection] = set()
        self._batches, self._limits = batches, limits
        self._threads = ThreadPoolExecutor(limits.requests, "request")
        self._large = threading.RLock()
        self._in_progress = self._held = 0

    def stop(self) -> None:
        """Mark the server as stopping, so that it isn't ready any more."""
        self.is_stopping = True

    async def respond(self, request: Request, bundle: str, endpoint: Endpoint) -> Response:
        """Return the answer to a request, and count it."""
        begun = time.monotonic()
        response = await self._response(request, self.models[bundle], endpoint)
        self.metrics.answered(bundle, endpoint.name, response.status_code, time.monotonic() - begun)
        return response

    async def _response(self, request: Request, model: Model, endpoint: Endpoint) -> Response:
        try:
            return await self._answer(request, model, endpoint)
        except RefusedError as error:
            return _told(error.status, str(error), error.headers)
        except InputError as error:
            return _told(422, str(error))
        except Exception:
            log.exception("%s failed", endpoint.name)
            return _told(500, "the server failed at this request; its log says why")

    async def _answer(self, request: Request, model: Model, endpoint: Endpoint) -> Response:
        headers = request.headers
        accepted = accepted_form(headers.get("accept"))
        form = None
        is_csv = CSV in endpoint.forms and headers.get("content-type", "").startswith(CSV)  # an empty one is a mistake
        if is_csv or headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            form = body_form(headers.get("content-type"))
            if form not in endpoint.forms or headers.get("content-encoding", "identity") != "identity":
                raise RefusedError(415, f"a body is {', '.join(endpoint.forms)}, not compressed")

        work = partial(self._work, request, model, endpoint, form, accepted)
        with self._holding() as hold:
            most = self._limits.json if form == JSON else self._limits.body
            raw = await read_body(request.receive, headers.get("content-length"), most, self._limits, hold)
            with self._place():
                deadline = time.monotonic() + self._limits.seconds
                content = await asyncio.get_running_loop().run_in_executor(self._threads, work, raw, deadline)
        return Response(content, media_type=accepted)

    def _work(
        self, request: Request, model: Model, endpoint: Endpoint, form: str | None, accepted: str, raw: bytes,
        deadline: float,
    ) -> bytes:  # fmt: skip
        """Return the content of the answer to a body. It is called in a thread."""
        takes = endpoint.takes(model)
        has_classes = model.context is not None and model.context.classes is not None
        with self._alone(form == JSON and len(raw) > LARGE_JSON, deadline):
            body = {} if form is None else parsed_body(form, raw, takes, endpoint.main(model), has_classes)
            given = joined_values(body, parsed_query(request.query_params.multi_items(), has_classes), takes)
            with self._batches.until(deadline, partial(was_left, request.scope)):
                answer = endpoint.compute(model, given, self._limits)
            with self._alone(accepted in (JSON, CSV) and answer.size > LARGE_JSON, deadline):
                return written(answer, accepted, model)

    @contextmanager
    def _alone(self, is_large: bool, deadline: float) -> Iterator[None]:
        """Let one thread at a time handle a large body or answer. Raises RefusedError if its turn comes too late."""
        if not is_large:
            yield
            return
        if not self._large.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise too_busy("large JSON bodies and answers are handled one at a time; .npy takes less")
        try:
            yield
        finally:
            self._large.release()

    @contextmanager
    def _holding(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that counts the bytes of a body in memory.

        It raises RefusedError if these and the answers that wait for slow clients are too many.
        """
        mine = 0

        def hold(size: int) -> None:
            nonlocal mine
            mine += size
            self._held += size
            if self._held + sum(each.untaken for each in self.slow) > BODIES_HELD * self._limits.body:
                raise too_busy("the server holds too much data of others")

        try:
            yield hold
        finally:
            self._held -= mine

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Take one of the places for requests in progress. Raises RefusedError if there is none."""
        if self._in_progress >= self._limits.requests:
            raise too_busy(f"{self._in_progress} requests are waiting")
        self._in_progress += 1
        self.metrics.waiting.set(self._in_progress)
        try:
            yield
        finally:
            self._in_progress -= 1
            self.metrics.waiting.set(self._in_progress)


class _App(FastAPI):
    """An application that answers HEAD as GET. The server leaves the content out."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("method") == "HEAD":
            scope = {**scope, "method": "GET"}
        await super().__call__(scope, receive, send)


def app_of(service: Service) -> FastAPI:
    """Return the application with all addresses of a service."""
    app = _App(title="flowkit-runtime", docs_url=None, redoc_url=None)
    _add_pages(app, service)
    for bundle, model in service.models.items():
        _add_bundle(app, service, bundle, model)
    return app


def _add_pages(app: FastAPI, service: Service) -> None:
    """Add the addresses that belong to no bundle, and the answer of all others."""
    page = partial(app.get, tags=["server"], response_class=Response)

    @page("/bundles", summary="The bundles by name.")
    async def bundles() -> Response:
        return _json({"bundles": {name: f"/bundles/{name}" for name in service.models}})

    @page("/health/live", summary="200 while the process runs.")
    async def live() -> Response:
        return _json({"status": "live"})

    @page("/health/ready", summary="200 while the server takes requests, 503 when it stops.")
    async def ready() -> Response:
        if not service.is_stopping:
            return _json({"status": "ready"})
        error = too_busy("the server is stopping")
        return _told(error.status, str(error), error.headers)

    @page("/metrics", summary="Metrics for Prometheus.")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @page("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(docs_page(app.openapi()), media_type="text/html")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        message = str(error.detail)
        if error.status_code == 405:
            message = f"use {(error.headers or {}).get('Allow', 'another method')} here"
        elif error.status_code == 404:
            message = (
                f"there is nothing here; the bundles are {', '.join(service.models)}, and /docs lists all addresses"
            )
        return _told(error.status_code, message, error.headers)


def _add_bundle(app: FastAPI, service: Service, bundle: str, model: Model) -> None:
    """Add the addresses of a bundle."""
    address, add = f"/bundles/{bundle}", partial(app.add_api_route, tags=[bundle], response_class=Response)

    async def info() -> Response:
        return _json(described_bundle(bundle, model))

    add(address, info, summary="What the bundle is.")
    for endpoint in filter(lambda each: each.fits(model), ENDPOINTS.values()):
        add(
            f"{address}/{endpoint.name}",
            _responding(service, bundle, endpoint),
            methods=["POST"],
            summary=endpoint.summary,
            operation_id=f"{bundle}-{endpoint.name}",
            openapi_extra=openapi_of(model, endpoint),
        )


def _responding(service: Service, bundle: str, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        return await service.respond(request, bundle, endpoint)

    return respond


def _json(value: Any) -> Response:
    return Response(as_json(value), media_type=JSON)


def _told(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(as_json({"detail": message}), status, headers, JSON)
