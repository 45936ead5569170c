"""How much is tried: what the suite has the time for, or, in `make nightly`, all that there is."""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

NIGHTLY = "FLOWKIT_NIGHTLY" in os.environ

nightly = pytest.mark.skipif(not NIGHTLY, reason="runs in `make nightly`")

T = TypeVar("T")


def extent(suite: T, nightly: T) -> T:
    return nightly if NIGHTLY else suite
