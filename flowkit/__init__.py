"""flowkit: normalizing flows from declarative specs, exported to ONNX in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowkit.version import __version__

if TYPE_CHECKING:
    from flowkit.flow import Flow as Flow

__all__ = ["Flow", "__version__"]


def __getattr__(name: str) -> Any:
    """``flowkit.Flow`` imports torch when it is first asked for, so that ``import flowkit`` stays light."""
    if name == "Flow":
        from flowkit.flow import Flow

        return Flow
    raise AttributeError(f"module 'flowkit' has no attribute {name!r}")
