"""What reading a spec may cost: seconds of processor time, and memory above what the process had before."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS = 6.0  # of one core, some of which take twice as long as others; what grows with a square takes minutes
MEGABYTES = 500.0
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Costs:
    """The worst of many: seconds, and megabytes above the start of each (0 where there is no /proc)."""

    seconds: float = 0.0
    megabytes: float = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Raises AssertionError if what runs inside costs too much."""
        if CLEAR.exists():
            CLEAR.write_text("5")  # the peak is what the process has now
        gc.freeze()  # what hypothesis remembers, gigabytes, is not walked through at the expense of a spec
        megabytes, seconds = _megabytes("VmRSS"), time.process_time()
        try:
            yield
        finally:
            gc.unfreeze()
            self._add(time.process_time() - seconds, _megabytes("VmHWM") - megabytes)

    def _add(self, seconds: float, megabytes: float) -> None:
        self.seconds, self.megabytes = max(seconds, self.seconds), max(megabytes, self.megabytes)
        assert seconds <= SECONDS, f"took {seconds:.2f} s; the most is {SECONDS:.0f} s"
        assert megabytes <= MEGABYTES, f"took {megabytes:.0f} MB; the most is {MEGABYTES:.0f} MB"


def _megabytes(name: str) -> float:
    """VmRSS is what the process has in memory, VmHWM the most that it had."""
    if not STATUS.exists():
        return 0.0
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) / 1024
