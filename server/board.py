"""Who watches which task: doorbells for parked watchers. Nothing here is kept; the store has the events."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from .dispatcher import Bell


class Board:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watchers: dict[Bell, frozenset[str]] = {}

    def watch(self, bell: Bell, tasks: Iterable[str]) -> None:
        with self._lock:
            self._watchers[bell] = frozenset(tasks)

    def leave(self, bell: Bell) -> None:
        with self._lock:
            self._watchers.pop(bell, None)

    def changed(self, task: str) -> None:
        with self._lock:
            bells = [bell for bell, tasks in self._watchers.items() if task in tasks]
        for bell in bells:
            bell.ring()
