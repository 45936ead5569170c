"""Runs an exported flow bundle with numpy and onnxruntime alone.

`load` opens a bundle, and the model that it returns computes what the flow does:

    model = flowkit_runtime.load("bundle")
    model.score(x)  # lower is more likely
    model.sample(16, seed=0)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowkit_runtime.errors import BundleError, FlowRuntimeError, InputError, VerificationError

if TYPE_CHECKING:
    from flowkit_runtime.model import Model as Model
    from flowkit_runtime.model import load as load

__all__ = ["BundleError", "FlowRuntimeError", "InputError", "Model", "VerificationError", "load"]


def __getattr__(name: str) -> Any:
    """Import `Model` and `load` when they are first used. They import numpy, which would delay `--help`."""
    if name in {"Model", "load"}:
        return getattr(import_module("flowkit_runtime.model"), name)
    raise AttributeError(f"module 'flowkit_runtime' has no attribute {name!r}")
