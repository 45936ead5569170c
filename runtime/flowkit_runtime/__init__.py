"""Run an exported flow bundle with numpy and onnxruntime alone.

>>> model = flowkit_runtime.load("bundle")
>>> model.score(x)  # lower is more likely
>>> model.sample(16, seed=0)
"""

from flowkit_runtime.errors import BundleError, FlowRuntimeError, InputError, VerificationError
from flowkit_runtime.model import Model, load

__all__ = ["BundleError", "FlowRuntimeError", "InputError", "Model", "VerificationError", "load"]
