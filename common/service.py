"""A named thread that loops over ``step()``.

Tests call ``step()`` themselves on a fake clock; only ``start()`` makes a thread. A step that raises is logged whole
and the loop goes on after a short pause: no input may end a thread of the server.
"""

from __future__ import annotations

import logging
import threading

log = logging.getLogger(__name__)


class Service:
    """Base of the long-living threads. Subclasses give ``step()``, and may give ``wake()`` to cut a sleep short."""

    pause_after_error = 1.0

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def step(self) -> None:
        """One round of work; may block for a while, but has to return soon after ``wake()``."""
        raise NotImplementedError

    def wake(self) -> None:
        """Cut short whatever ``step()`` sleeps on; called by ``stop()``."""

    def start(self) -> None:
        if self._thread is not None:
            raise RuntimeError(f"{self.name} was started twice")
        self._thread = threading.Thread(target=self._loop, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the loop to end; does not wait (see ``join``)."""
        self.stopping.set()
        self.wake()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread; return whether it has ended."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _loop(self) -> None:
        while not self.stopping.is_set():
            try:
                self.step()
            except Exception:
                log.exception("%s: unexpected error, going on", self.name)
                self.stopping.wait(self.pause_after_error)
