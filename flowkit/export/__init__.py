"""Flow -> verified ONNX bundle."""

from flowkit.export.bundle import REFERENCE_ROWS, export

__all__ = ["REFERENCE_ROWS", "export"]
