"""Exports a flow as a verified ONNX bundle."""

from flowkit.export.bundle import Exported, Options, export

__all__ = ["Exported", "Options", "export"]
