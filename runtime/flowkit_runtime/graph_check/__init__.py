"""Look through an ONNX file, before onnxruntime does, for what would crash or block the process that loads it.

`reading` reads the file. `check` follows values through it, and `sizes` says what is known of a value. `operators`
lists the operators that are allowed. Their rules for shapes are in `computing` and `moving`, those for types, integers
and work in `known`.
"""

from flowkit_runtime.graph_check.check import DRAWING, check_graph
from flowkit_runtime.graph_check.operators import RULES

__all__ = ["DRAWING", "RULES", "check_graph"]
