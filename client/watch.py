"""Follow tasks until each has ended, through restarts of the server, and tell a view of every change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from ..common.clock import Clock
from ..common.model import TaskView
from ..common.wire.messages import News, Watch
from .session import Session
from .views import View
from .words import ENDED

PARKED = 20.0
"""Seconds that the server may hold a question; the wire allows no more."""
PAUSE = 0.1
"""Seconds between two questions: many slots report at once, and one look shows them all."""
MOST = 500
"""Tasks in one question."""


class Follower:
    """Watches a set of tasks."""

    def __init__(self, session: Session, view: View, clock: Clock) -> None:
        self._session = session
        self._view = view
        self._clock = clock
        self._never = threading.Event()

    def follow(self, tasks: Iterable[str], ended: Callable[[TaskView], None], gone: Callable[[str], None] = lambda task: None) -> None:
        """Return when every task has ended; ``ended`` is told of each once, in the order of the list where several end together.

        ``gone`` is told of tasks that somebody removed.
        """
        order = list(dict.fromkeys(tasks))
        seen: dict[str, TaskView] = {}
        open_tasks = set(order)
        event = 0
        while open_tasks:
            asked = tuple(task for task in order if task in open_tasks)[:MOST]
            question = Watch(tasks=asked, event=event, wait=PARKED)
            news = self._session.patiently(lambda question=question: self._session.ask(question, News, timeout=PARKED + 20.0))  # type: ignore[misc]
            event = news.event
            seen |= {view.id: view for view in news.tasks}
            self._view.tasks([seen[task] for task in order if task in seen])
            for task in asked:
                if task in news.gone:
                    open_tasks.discard(task)
                    seen.pop(task, None)
                    gone(task)
                elif task in seen and seen[task].state in ENDED:
                    open_tasks.discard(task)
                    event = 0 if len(order) > MOST else event  # the next ones move up and have not been looked at yet
                    ended(seen[task])
            if open_tasks:
                self._clock.wait(self._never, PAUSE)
