"""Checks an ONNX file, before onnxruntime loads it, for content that would crash or block the process.

The runtime doesn't depend on onnx, whose parser allocates whatever a file asks for. So the file is parsed here, and the
work for it is limited before anything is allocated:

- `wire` reads protocol buffers, `proto` names ONNX's numbers, and `reading` returns the graph as plain data.
- `check` follows values through the graph, and refuses it. `sizes` describes what is known of a value.
- `operators` lists the allowed operators. The shapes of their outputs are in `computing` and `moving`, types and integers
  in `integers`, memory and work in `work`.
"""

from flowkit_runtime.graph_check.check import DRAWING, check_graph
from flowkit_runtime.graph_check.operators import RULES

__all__ = ["DRAWING", "RULES", "check_graph"]
