"""Sets up glibc's malloc so that a process that runs flows reuses the memory that it frees."""

from __future__ import annotations

import ctypes
import os

MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -4, -1, -2
"""Parameters of glibc's mallopt(3), from malloc.h."""

SETTINGS = {MMAP_MAX: 0, TRIM_THRESHOLD: -1, TOP_PAD: 64 * 2**20}
"""Map no block on its own, give no memory back to the kernel, and grow the heap in large steps."""


def keep_freed_memory() -> bool:
    """Make glibc's malloc keep the memory that this process frees. Return True if it does from now on.

    By default malloc maps each large tensor when it is created, and unmaps it when it is freed. The kernel then fills
    every page with zeros at its first use, which costs thousands of page faults per training step. The price of keeping
    memory is that the process never shrinks. Nothing is changed if the environment configures malloc (MALLOC_…,
    GLIBC_TUNABLES), or if the C library isn't glibc.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # CDLL(None) fails on Windows
        return False
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return all([libc.mallopt(parameter, value) == 1 for parameter, value in SETTINGS.items()])
