"""Loads bundles, and runs a server of them until it is stopped."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import uvicorn

from flowkit_runtime.bundle import read_bundle
from flowkit_runtime.errors import InputError, quoted
from flowkit_runtime.model import Model
from flowkit_runtime.providers import Provider
from flowkit_runtime.serving.app import Service, app_of
from flowkit_runtime.serving.batching import Batches, JoinedGraph
from flowkit_runtime.serving.connections import Connection, Server
from flowkit_runtime.serving.limits import Limits
from flowkit_runtime.serving.metrics import Metrics
from flowkit_runtime.session import open_graphs
from flowkit_runtime.streaming.sources import extra

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def named(bundles: Sequence[str]) -> dict[str, Path]:
    """Return the directories of bundles by name. Each is given as DIR, which is also its name, or as NAME=DIR.

    Raises InputError if two bundles have the same name, or if a name can't be part of an address.
    """
    found: dict[str, Path] = {}
    for given in bundles:
        name, equals, directory = given.partition("=")
        if not equals or Path(given).exists():
            directory, name = given, Path(given).absolute().name
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{quoted(name)} can't be part of an address: give the bundle another name, NAME={directory}"
            )
        if name in found:
            raise InputError(
                f"{found[name]} and {directory} are both named {name}: give one another name, NAME={directory}"
            )
        found[name] = Path(directory)
    return found


def load_service(
    bundles: Mapping[str, Path], limits: Limits, providers: Sequence[Provider] | None, threads: int | None
) -> Service:
    """Load bundles, and return the service for them. The errors are those of `flowkit_runtime.load`."""
    batches, metrics = Batches(limits.batch), Metrics()
    models = {}
    for name, directory in bundles.items():
        bundle = read_bundle(directory)
        if bundle.preprocessing is not None:
            extra("pyarrow", "pyarrow", f"{directory} was trained on a table, and serving it")
        observe = partial(metrics.computed, name)
        graphs = open_graphs(bundle, providers, threads, spin=False)
        models[name] = Model(bundle, {file: JoinedGraph(graph, batches, observe) for file, graph in graphs.items()})
    return Service(models, batches, limits, metrics)


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises InputError if the port is in use, or the host isn't this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError) as error:  # UnicodeError: a part of the name is empty or too long
        found = getattr(error, "strerror", None) or "this is no name of a host"
        why = str(found).partition(" (while ")[0]  # Python adds what the message says anyway
        raise InputError(
            f"can't listen on {host}, port {port}: {why.lower()}; choose others with --host and --port"
        ) from error


def run(service: Service, limits: Limits, listening: socket.socket, access_log: bool) -> bool:
    """Serve until the process gets SIGTERM or Ctrl-C. Return True if the requests in progress were answered."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # otherwise each malformed request is logged
    server = made_server(service, limits, access_log)
    server.run(sockets=[listening])
    return server.has_answered


def made_server(service: Service, limits: Limits, access_log: bool) -> Server:
    """Return a server for a service, without starting it."""
    config = uvicorn.Config(
        app_of(service),
        http=partial(Connection, limits, service.slow),  # type: ignore[arg-type]  # anything that makes a protocol
        log_config=None,
        access_log=access_log,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=round(limits.seconds + limits.client_seconds),
    )
    return Server(config, service.stop)
