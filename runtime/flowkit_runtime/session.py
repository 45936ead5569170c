"""Open ONNX graphs in onnxruntime."""

import sys
from collections.abc import Sequence
from ctypes.util import find_library
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from flowkit_runtime.errors import BundleError, InputError

Provider = str | tuple[str, dict[str, Any]]

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
# The driver's device files on Linux; under WSL there are none, but its driver library is at a fixed place.
_DRIVER_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/usr/lib/wsl/lib/libcuda.so.1")


class Graph(Protocol):
    """What this package uses of onnxruntime.InferenceSession."""

    def run(self, output_names: Sequence[str], input_feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The named outputs of the graph for the given inputs."""


def open_graph(
    path: Path, inputs: Sequence[str], outputs: Sequence[str], providers: Sequence[Provider] | None
) -> Graph:
    """Open the graph at `path` and check the names of its inputs and outputs.

    Raises:
        BundleError: onnxruntime cannot load the graph, or its names are not those expected.
        InputError: a named provider is not available.
    """
    import onnxruntime  # here, so that the noise can be used without it

    chosen = choose_providers(providers, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(str(path), providers=chosen)
    except Exception as error:  # onnxruntime's exceptions share no narrower base
        version = onnxruntime.__version__
        raise BundleError(f"onnxruntime {version} cannot load {path} (a newer one may): {error}") from error
    found = [sorted(node.name for node in nodes) for nodes in (session.get_inputs(), session.get_outputs())]
    wanted = [sorted(inputs), sorted(outputs)]
    if found != wanted:
        raise BundleError(
            f"{path} maps {found[0]} to {found[1]}, but the manifest implies {wanted[0]} to {wanted[1]}: "
            "export the bundle again"
        )
    graph: Graph = session
    return graph


def choose_providers(providers: Sequence[Provider] | None, available: Sequence[str]) -> list[Provider]:
    """`providers` if given, else CUDA where it is available and a device is present, then the CPU.

    Raises:
        InputError: a named provider is not available (onnxruntime would fall back to the CPU).
    """
    if providers is None:
        # TF32 keeps 10 bits of mantissa: far too few for a log-determinant summed over a whole event.
        return [(_CUDA, {"use_tf32": 0}), _CPU] if _CUDA in available and _has_cuda_device() else [_CPU]
    for provider in providers:
        name = provider if isinstance(provider, str) else provider[0]
        if name not in available:
            raise InputError(f"onnxruntime has no provider {name!r} here; it has {', '.join(available)}")
    return list(providers)


def _has_cuda_device() -> bool:
    if sys.platform == "win32":
        return find_library("nvcuda") is not None
    return any(Path(file).exists() for file in _DRIVER_FILES)
