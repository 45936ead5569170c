"""What has to be decided before torch starts, and what the figures were measured with. Imports no torch."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "67108864",
}
"""glibc keeps large tensors instead of returning them to the kernel at each free. Without it the page faults, 8,600 a
step, decide more than the code does."""

QUIET = {"KINETO_LOG_LEVEL": "99"}
"""torch's profiler writes to stderr whenever it starts and stops."""

LIBRARIES = (
    "flowkit",
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "normflows",
    "nflows",
    "FrEIA",
    "zuko",
    "flowjax",
    "jax",
)


def tune_allocator() -> None:
    """Start this process anew with ALLOCATOR: glibc reads it once, before main."""
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]], os.environ | ALLOCATOR | QUIET)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(device: str) -> dict[str, str]:
    """The processor, the threads, and the versions of what took part."""
    versions = {name: installed for name in LIBRARIES if (installed := _version(name))}
    return {"device": device, "cpu": _cpu(), "threads": str(cores()), "python": platform.python_version(), **versions}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
