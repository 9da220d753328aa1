"""Time as an argument: the only module that reads a clock or sleeps.

Deadlines are counted on ``monotonic()``; ``now()`` is for people and for rows that people read. ``boottime()`` goes on
while the machine sleeps, which is what a node needs when it counts how long its lease has been silent.
"""

from __future__ import annotations

import random as _random
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What the rest of the house knows of time."""

    def now(self) -> float:
        """Seconds since 1970 UTC; may jump."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    def boottime(self) -> float:
        """As monotonic(), but counting the time that the machine was suspended."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Sleep until the event is set or the seconds are over; return whether it is set."""


class SystemClock:
    """The real clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def boottime(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(max(0.0, seconds))


def backoff(attempt: int, *, base: float = 0.5, cap: float = 30.0, spread: float = 0.5) -> float:
    """Seconds to wait before try ``attempt`` (from 0): doubling, capped, with a random spread so that nodes do not return in step."""
    whole = min(cap, base * 2.0 ** min(attempt, 16))
    return whole * (1.0 - spread * _random.random())


def stamp(seconds: float) -> str:
    """UTC as people and JSON readers expect it: ``2026-11-20T18:02:00Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
