"""Chooses execution providers of onnxruntime, and checks that a session runs on them.

If a provider's libraries can't be loaded, onnxruntime runs a graph on the CPU without raising an error.
"""

import ctypes
import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from ctypes.util import find_library
from functools import cache
from pathlib import Path
from typing import Any

from flowkit_runtime.errors import InputError, quoted, shortened

Provider = str | tuple[str, dict[str, Any]]
"""The name of an execution provider, optionally with options: ("CUDAExecutionProvider", {"device_id": 1})."""
Chosen = list[tuple[str, dict[str, Any]]]

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"

# The driver's device files on Linux. Under WSL there are none, but the driver library has a fixed path.
_DRIVER_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/usr/lib/wsl/lib/libcuda.so.1")
# TF32 has 10 bits of mantissa, far too few for a log-determinant that is summed over a whole event.
_OPTIONS = {CUDA: {"use_tf32": 0}}
_INSTALL = {CUDA: "install CUDA and cuDNN, for example with `pip install 'onnxruntime-gpu[cuda,cudnn]'`"}


def default() -> Chosen:
    """Return CUDA and the CPU if the installed onnxruntime supports CUDA and a device is present, otherwise the CPU."""
    import onnxruntime  # imported here, so that the noise can be used without onnxruntime

    names = [CUDA, CPU] if CUDA in onnxruntime.get_available_providers() and _has_cuda_device() else [CPU]
    return [_pair(name) for name in names]


def checked_providers(providers: Sequence[Provider]) -> Chosen:
    """Return the providers that a caller names. CUDA runs without TF32 unless its options say otherwise.

    Raises:
        InputError: there are none, one is named twice, or the installed onnxruntime doesn't have one.
    """
    import onnxruntime

    if not isinstance(providers, list | tuple) or not providers:
        raise InputError(
            f"providers must be a list of names, such as ['{CPU}'], got {quoted(providers)}; leave providers "
            "out for the default"
        )
    chosen = [_pair(provider) for provider in providers]
    names = [name for name, _ in chosen]
    available = onnxruntime.get_available_providers()
    for name in names:
        if name not in available:
            raise InputError(
                f"onnxruntime has no provider {quoted(name)} here; it has {', '.join(available)}"
                + "; CUDA is in the wheel onnxruntime-gpu: uninstall onnxruntime, whose place it takes" * (name == CUDA)
            )
        if names.count(name) > 1:
            raise InputError(f"providers has {name} twice")
    return chosen


def open_session(path: Path, options: Any, chosen: Chosen) -> Any:
    """Return an InferenceSession of the graph in `path` that runs on all of the chosen providers.

    Raises:
        InputError: a provider can't be loaded, or can't open a graph that the CPU can.
        Exception: onnxruntime's own exception, if the graph is at fault.
    """
    names = [name for name, _ in chosen]
    if CUDA in names:
        _load_nvidia_wheels()
    try:
        session = _start(path, options, chosen)
    except Exception as error:  # onnxruntime's exceptions have no narrower base
        others = [name for name in names if name != CPU]
        if not others:
            raise
        _start(path, options, [(CPU, {})])  # raises if the graph is at fault
        why = shortened(str(error).strip())
        raise InputError(f"onnxruntime can't use {', '.join(others)}: {why}; {_advice(others[0])}") from error
    found = session.get_providers()
    for name in names:
        if name not in found:
            raise InputError(
                f"onnxruntime couldn't load {name}, and would run on {', '.join(found)}: {_why(name)}; {_advice(name)}"
            )
    return session


def _pair(provider: Any) -> tuple[str, dict[str, Any]]:
    match provider:
        case str(name) | (str(name),):
            options: dict[str, Any] = {}
        case (str(name), dict(options)):
            pass
        case _:
            raise InputError(f"a provider is a name, or a name and a dict of options; got {quoted(provider)}")
    return name, {**_OPTIONS.get(name, {}), **options}


def _start(path: Path, options: Any, chosen: Chosen) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), options, providers=chosen, enable_fallback=0)


@cache
def _load_nvidia_wheels() -> None:
    """Load CUDA and cuDNN from the packages that pip installed, which the system's loader doesn't search."""
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):  # onnxruntime has it since 1.21
        with redirect_stdout(io.StringIO()):  # it prints the libraries that it can't find
            onnxruntime.preload_dlls()


def _why(name: str) -> str:
    """Return the system's reason why a provider can't be loaded. onnxruntime only writes it to its log."""
    import onnxruntime

    stem = f"onnxruntime_providers_{name.removesuffix('ExecutionProvider').lower()}"
    file = f"{stem}.dll" if sys.platform == "win32" else f"lib{stem}.so"
    library = Path(onnxruntime.__file__).parent / "capi" / file
    try:
        if library.exists():
            ctypes.CDLL(str(library))
    except OSError as error:
        return shortened(error)
    return "it doesn't say why"


def _advice(name: str) -> str:
    instead = "or leave providers out for the default"
    return f"{_INSTALL.get(name, f'install what {name} needs')}, {instead}"


def _has_cuda_device() -> bool:
    if sys.platform == "win32":
        return find_library("nvcuda") is not None
    return any(Path(file).exists() for file in _DRIVER_FILES)
