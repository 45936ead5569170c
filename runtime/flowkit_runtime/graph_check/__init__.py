"""Checks an ONNX file, before onnxruntime loads it, for content that would crash or block the process.

The runtime doesn't depend on onnx, whose parser allocates whatever a file asks for. So the file is parsed here, and the
work for it is limited before anything is allocated:

- `wire` reads protocol buffers, `proto` names ONNX's numbers, and `reading` returns the graph as plain data.
- `check` follows values through the graph, and refuses it. `sizes` describes what is known of a value.
- `operators` lists the allowed operators, and those that crash on some inputs. The shapes of their outputs are in
  `computing` and `moving`, types and integers in `integers`, memory and work in `costs`.
"""

from flowkit_runtime.graph_check.check import check_graph
from flowkit_runtime.graph_check.operators import DRAWING, RULES
from flowkit_runtime.graph_check.reading import OperatorError

__all__ = ["DRAWING", "RULES", "OperatorError", "check_graph"]
