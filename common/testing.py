"""Doubles that ship with the package, and the suites that they pass like the real thing."""

from __future__ import annotations

import threading


class FakeClock:
    """A clock that tests move by hand; ``wait`` never sleeps: it moves the clock instead."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._steady = 1000.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._steady

    def boottime(self) -> float:
        return self._steady

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if not event.is_set():
            self.advance(max(0.0, seconds))
        return event.is_set()

    def advance(self, seconds: float) -> None:
        """Let time pass on all three scales."""
        with self._lock:
            self._now += seconds
            self._steady += seconds

    def set_wall(self, now: float) -> None:
        """Set the wall clock alone, as an operator or NTP does."""
        self._now = now
