"""Implements `flowkit-runtime info`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flowkit_runtime.cli.options import BundlePath, ProviderNames, names
from flowkit_runtime.cli.terminal import echo
from flowkit_runtime.errors import shortened

if TYPE_CHECKING:
    from flowkit_runtime import bundle as bundles


ONE_WAY = {"forward": "it draws no samples", "inverse": "it gives no scores"}
"""The things that a flow with one direction can't do."""


def info(bundle: BundlePath, providers: ProviderNames = None) -> None:
    """Describe a bundle, and list the execution providers that it runs on here. All files are checked.

    The lines are its event, context and latents, its threshold, how it was verified, and the providers.

    Example: flowkit-runtime info exports/glow-digits
    """
    from flowkit_runtime.bundle import read_bundle
    from flowkit_runtime.model import load

    for name, text in _lines(read_bundle(bundle)):
        echo(f"{name:<12}{text}")
    echo(f"{'providers':<12}{', '.join(load(bundle, names(providers)).providers)}")


def _lines(found: bundles.Bundle) -> Iterator[tuple[str, str]]:
    values = "real numbers" if found.levels is None else f"whole numbers 0 … {found.levels - 1}"
    within = "" if found.domain is None else f" in {', '.join(f'({low:g}, {high:g})' for low, high in found.domain)}"
    yield "event", f"{_sizes(found.event_shape)}, {values}{within}"
    yield "context", "none" if found.context is None else str(found.context)
    if found.context is not None and (found.context.names or found.context.probabilities):
        yield "classes", shortened(", ".join(_classes(found.context)))
    if found.preprocessing is not None:
        event, context = (
            ", ".join(column.column for column in part)
            for part in (found.preprocessing.event, found.preprocessing.contexts)
        )
        yield "columns", f"{event}{' | ' if context else ''}{context}"
    latents = " + ".join(_sizes(shape) for shape in found.latent_shapes)
    bases = f"base {found.bases[0]}" if len(set(found.bases)) == 1 else f"bases {', '.join(found.bases)}"
    yield "latents", f"{latents}: {math.prod(found.event_shape)} values, {bases}"
    if found.directions != "both":
        yield "directions", f"{found.directions} only: {ONE_WAY[found.directions]}"
    manifest = found.manifest
    for field in ("model", "flowkit", "weights", "precision", "opset"):
        if manifest.get(field) is not None:
            yield field, str(manifest[field])
    yield "score", found.printed_unit
    if found.threshold is not None:
        share, events = f"{100 * found.threshold.quantile:g}%", found.threshold.events
        yield "threshold", f"{found.threshold.score:.4f}: {share} of {events} held-out events stay below"
    else:
        yield "threshold", "none"
    yield from _figures(manifest.get("verification"))


def _figures(verification: Any) -> Iterator[tuple[str, str]]:
    """Yield the errors of onnxruntime against fp64 on held-out data, as measured at export.

    `verify` shows the others.
    """
    for figure in verification if isinstance(verification, list) else ():
        if isinstance(figure, dict) and figure.get("rows") == "held-out" and isinstance(figure.get("error"), float):
            yield "verified", f"{figure.get('quantity')} within {figure['error']:.2e} of fp64 on held-out data"


def _classes(context: bundles.Context) -> Iterator[str]:
    """Yield the number of each class, and its name and its share if they are known."""
    for i in range(context.classes or 0):
        name = f" {context.names[i]}" if context.names else ""
        yield f"{i}{name}" + (f" {100 * context.probabilities[i]:.3g}%" if context.probabilities else "")


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "1"
