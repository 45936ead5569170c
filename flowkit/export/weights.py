"""Weights that both graphs have, in one file beside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx

_SMALL = 1024
"""Bytes below which a tensor stays in its graph."""


def share_weights(models: Iterable[onnx.ModelProto], path: Path) -> None:
    """Move the large tensors of the graphs to a file, each once, as ONNX's external data."""
    places: dict[bytes, int] = {}
    with path.open("wb") as file:
        for tensor in (tensor for model in models for tensor in model.graph.initializer):
            content = tensor.raw_data
            if len(content) < _SMALL or tensor.data_type == onnx.TensorProto.INT64:  # shapes are read with the graph
                continue
            if content not in places:
                places[content] = file.tell()
                file.write(content)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in {"location": path.name, "offset": places[content], "length": len(content)}.items():
                tensor.external_data.add(key=key, value=str(value))
