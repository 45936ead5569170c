"""Implements `flowkit-runtime serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flowkit_runtime.cli.options import ProviderNames, Threads, names
from flowkit_runtime.cli.terminal import echo
from flowkit_runtime.errors import InputError
from flowkit_runtime.serving.limits import MAX_CONNECTIONS

if TYPE_CHECKING:
    from flowkit_runtime.serving.app import Service

Bundles = Annotated[
    list[str],
    typer.Argument(
        metavar="BUNDLE…",
        help="Exported bundles, each DIR or NAME=DIR. A bundle without NAME has the name of DIR.",
        show_default=False,
    ),
]


def serve(
    bundles: Bundles,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all addresses of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 for a free one.")] = 8000,
    batch: Annotated[int, typer.Option(min=1, help="The most rows that are joined into one call of onnxruntime.")] = 64,
    max_rows: Annotated[int, typer.Option(min=1, help="The most rows of a request, times its draws.")] = 10_000,
    max_body: Annotated[int, typer.Option(min=1, metavar="MIB", help="The largest body; a quarter for JSON.")] = 16,
    max_requests: Annotated[
        int, typer.Option(min=1, max=MAX_CONNECTIONS, help="The most requests in progress; others get 503.")
    ] = 256,
    timeout: Annotated[
        float,
        typer.Option(min=0.001, max=86400, metavar="SECONDS", help="The time in which a request must be computed."),
    ] = 30.0,
    client_timeout: Annotated[
        float,
        typer.Option(min=0.001, max=86400, metavar="SECONDS", help="The time in which a client must send a request."),
    ] = 10.0,
    threads: Threads = None,
    providers: ProviderNames = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log each request.")] = False,
) -> None:
    """Serve bundles over HTTP: scores, densities, samples and latents, in JSON, .npy, .npz or CSV.

    Requests that arrive while the model is busy are computed together. SIGTERM or Ctrl-C ends the server once all
    requests are answered. It has no encryption and no passwords, so put it behind a proxy that has both.

    Example: flowkit-runtime serve exports/moons

    Then: curl -X POST 'http://127.0.0.1:8000/bundles/moons/sample?n=3&seed=0'
    """
    try:
        from flowkit_runtime.serving.limits import MEBIBYTE, Limits
        from flowkit_runtime.serving.starting import bound, load_service, named, run
    except ModuleNotFoundError as error:
        raise InputError(
            f"serving needs {error.name}, which isn't installed: pip install './runtime[serve]', in a clone of flowkit"
        ) from error
    limits = Limits(max_body * MEBIBYTE, max_rows, batch, max_requests, timeout, client_timeout)
    directories = named(bundles)
    with bound(host, port) as listening:
        service = load_service(directories, limits, names(providers), threads)
        _tell(service, *listening.getsockname()[:2])
        has_answered = run(service, limits, listening, access_log)
    if not has_answered:
        echo("stopped; some requests took too long, and were not answered", err=True)
        raise typer.Exit(1)
    echo("stopped; all requests were answered")


def _tell(service: Service, host: str, port: int) -> None:
    """Print the addresses of the server."""
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    for name in service.models:
        echo(f"{name}: {url}/bundles/{name}")
    echo(f"docs: {url}/docs, metrics: {url}/metrics")
    echo("Ctrl-C stops the server")
