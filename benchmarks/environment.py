"""What the figures were measured with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = (
    "flowkit-nf",
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
