"""Checks an ONNX file, before onnxruntime loads it, for content that would crash or block the process.

`reading` parses the file. `check` follows values through the graph, and `sizes` describes what is known of a value
before the graph runs. `operators` lists the allowed operators. Their rules for shapes are in `computing` and `moving`,
and those for types, integers and the amount of work in `known`.
"""

from flowkit_runtime.graph_check.check import DRAWING, check_graph
from flowkit_runtime.graph_check.operators import RULES

__all__ = ["DRAWING", "RULES", "check_graph"]
