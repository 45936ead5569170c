"""How much is tried: what the suite has the time for, or, in `make nightly`, all that there is."""

from __future__ import annotations

import os
from typing import TypeVar

NIGHTLY = "FLOWKIT_NIGHTLY" in os.environ

T = TypeVar("T")


def extent(suite: T, nightly: T) -> T:
    return nightly if NIGHTLY else suite
