"""The time that a training has taken, for its metrics and its budget."""

from __future__ import annotations

import time


class Stopwatch:
    """Counts the seconds of epochs, their validations included. Interruptions don't count.

    ``whole``: seconds of all whole epochs, in earlier processes too; ``limit``: seconds that may be used, or None.
    """

    def __init__(self, minutes: float | None):
        self.limit = None if minutes is None else 60 * minutes
        self.whole = 0.0
        self._started: float | None = None

    def start_epoch(self) -> None:
        """An epoch begins."""
        self._started = time.perf_counter()

    def end_epoch(self) -> float:
        """The seconds of the epoch that ends."""
        seconds = round(self.seconds - self.whole, 3)  # as metrics.csv has them
        self.whole, self._started = self.whole + seconds, None
        return seconds

    @property
    def seconds(self) -> float:
        """All seconds so far."""
        return self.whole + (0.0 if self._started is None else time.perf_counter() - self._started)

    @property
    def share(self) -> float:
        """The share of the limit that is used; 0 without a limit."""
        return 0.0 if self.limit is None else self.seconds / self.limit
