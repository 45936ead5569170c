"""Builds normalizing flows from declarative specs, trains them, and exports them to ONNX in both directions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowkit.version import __version__

if TYPE_CHECKING:
    from flowkit import presets as presets
    from flowkit.fitted import fit as fit
    from flowkit.flow import Flow as Flow
    from flowkit.plugin import register as register

__all__ = ["Flow", "__version__", "fit", "presets", "register"]

HOMES = {"Flow": "flowkit.flow", "fit": "flowkit.fitted", "register": "flowkit.plugin"}
"""The packages of names that are imported when they are first used. So ``import flowkit`` doesn't import torch."""


def __getattr__(name: str) -> Any:
    if name == "presets":
        return import_module("flowkit.presets")
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module 'flowkit' has no attribute {name!r}")
