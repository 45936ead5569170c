"""The C allocator of a process that runs flows: what a step frees, the next one uses again."""

from __future__ import annotations

import ctypes
import os

MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -4, -1, -2
"""Parameters of glibc's mallopt(3), from malloc.h."""

SETTINGS = {MMAP_MAX: 0, TRIM_THRESHOLD: -1, TOP_PAD: 64 * 2**20}
"""No block is mapped on its own, none is given back to the kernel, and the heap grows in strides."""


def keep_freed_memory() -> bool:
    """Have glibc's malloc keep freed memory for this process. True if it does from now on.

    Otherwise each large tensor is mapped when it is made and unmapped when it is freed, and the kernel fills every page
    of it with zeros at its first use: thousands of page faults a training step. The price is that a process stays as
    large as it once was. Does nothing where the environment sets malloc up (MALLOC_…, GLIBC_TUNABLES), and where
    there is no glibc.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows takes no None
        return False
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return all([libc.mallopt(parameter, value) == 1 for parameter, value in SETTINGS.items()])
