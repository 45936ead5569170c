"""Asks an application of `flowkit-runtime serve`, without a network."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI

from flowkit_runtime.serving.app import app_of
from flowkit_runtime.serving.bodies import JSON, NPY, NPZ
from flowkit_runtime.serving.limits import Limits
from flowkit_runtime.serving.starting import load_service


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def npy(self) -> Any:
        return np.load(io.BytesIO(self.body), allow_pickle=False)


def serving(bundles: Mapping[str, Path], **limits: Any) -> FastAPI:
    return app_of(load_service(bundles, Limits(**limits), None, 1))


def ask(app: Any, path: str, body: Any = b"", form: str = JSON, method: str = "POST", **headers: str) -> Reply:
    """Send a body, or a JSON value, in parts of some bytes. `headers` have _ for -."""
    return asyncio.run(asked(app, path, body, form, method, **headers))


async def asked(app: Any, path: str, body: Any, form: str = JSON, method: str = "POST", **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    parts = [raw[i : i + 60_000] for i in range(0, len(raw), 60_000)] or [b""]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    path, _, query = path.partition("?")
    given = {"content-length": str(len(raw)), **({"content-type": form} if raw else {}), **headers}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method,
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip
    await app(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array))
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


__all__ = ["JSON", "NPY", "NPZ", "Reply", "ask", "asked", "npy", "npz", "serving"]
