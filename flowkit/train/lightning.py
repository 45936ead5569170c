"""Provides Lightning's Fabric, without torchmetrics: Lightning imports it to read its version, which takes 2 s."""

from __future__ import annotations

import sys

_LEFT_OUT = "torchmetrics" not in sys.modules
if _LEFT_OUT:
    sys.modules["torchmetrics"] = None  # type: ignore[assignment]  # what Python takes for a module that is missing
try:
    from lightning_fabric import Fabric
finally:
    if _LEFT_OUT:
        del sys.modules["torchmetrics"]

__all__ = ["Fabric"]
