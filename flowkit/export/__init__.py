"""Flow -> verified ONNX bundle."""

from flowkit.export.bundle import export

__all__ = ["export"]
