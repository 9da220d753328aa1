"""What is seen while work goes on: a live table on a terminal, plain lines elsewhere, nothing with --progress none.

All of it goes to stderr; stdout is for results, so that a script can read them while a person watches.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from ..common.clock import Clock
from ..common.model import TaskView
from ..common.units import show_size
from .words import clean, count, short, state_line

if TYPE_CHECKING:
    from rich.table import Table

PLAIN_PAUSE = 5.0
"""Seconds between two plain lines of one task in the same state: a log is to be read, not to scroll."""


class View(Protocol):
    """Told of everything that happens; shows what it likes."""

    def note(self, text: str) -> None:
        """A sentence to read."""

    def result(self, text: str, out: TextIO) -> None:
        """A line for stdout, which may be the same terminal."""

    def moving(self, what: str, done: int, total: int) -> None:
        """Bytes of an upload or a download, ``sending scene``."""

    def tasks(self, views: Sequence[TaskView]) -> None:
        """All tasks that are watched, as they are now."""

    def close(self) -> None: ...


class NoView:
    """Only sentences."""

    def __init__(self, err: TextIO) -> None:
        self._err = err

    def note(self, text: str) -> None:
        print(text, file=self._err, flush=True)

    def result(self, text: str, out: TextIO) -> None:
        print(text, file=out, flush=True)

    def moving(self, what: str, done: int, total: int) -> None:
        pass

    def tasks(self, views: Sequence[TaskView]) -> None:
        pass

    def close(self) -> None:
        pass


class PlainView(NoView):
    """A line when a task changes its state, and now and then while tiles come in."""

    def __init__(self, err: TextIO, clock: Clock) -> None:
        super().__init__(err)
        self._clock = clock
        self._said: dict[str, tuple[str, str, float]] = {}
        self._announced: set[str] = set()

    def moving(self, what: str, done: int, total: int) -> None:
        if done >= total:
            self._announced.discard(what)
        elif what not in self._announced:
            self._announced.add(what)
            self.note(f"{what}, {show_size(total)}")

    def tasks(self, views: Sequence[TaskView]) -> None:
        now = self._clock.monotonic()
        for view in views:
            line = state_line(view)
            key = f"{view.state} {view.run}"
            old_key, old_line, when = self._said.get(view.id, ("", "", now))
            if key == old_key and (line == old_line or now - when < PLAIN_PAUSE):
                continue
            self._said[view.id] = (key, line, now)
            self.note(f"{clean(view.name)} ({short(view.id)}): {line}")


class LiveView:
    """A table that stays in place, drawn by rich."""

    def __init__(self, err: TextIO, clock: Clock) -> None:
        from rich.console import Console
        from rich.live import Live

        self._clock = clock
        self._tasks: tuple[TaskView, ...] = ()
        self._heard = clock.monotonic()
        self._moving: tuple[str, int, int] | None = None
        self._console = Console(file=err, highlight=False, markup=False, emoji=False)
        self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def note(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def result(self, text: str, out: TextIO) -> None:
        if out.isatty():  # written past the table, it would tear it
            self.note(text)
        else:
            print(text, file=out, flush=True)

    def moving(self, what: str, done: int, total: int) -> None:
        self._moving = (what, done, total) if done < total else None

    def tasks(self, views: Sequence[TaskView]) -> None:
        self._tasks, self._heard = tuple(views), self._clock.monotonic()

    def close(self) -> None:
        """The table goes; its last state stays as plain lines."""
        self._live.stop()
        for view in self._tasks:
            self.note(f"{clean(view.name)} ({short(view.id)}): {state_line(view)}")

    def _table(self) -> Table:
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        if self._moving:
            what, done, total = self._moving
            table.add_row(what, bar(done / total if total else 1.0), f"{show_size(done)} of {show_size(total)}")
        since = self._clock.monotonic() - self._heard
        for view in self._tasks:
            table.add_row(clean(view.name), bar(view.progress), state_line(_older(view, since)))
        return table


def bar(fraction: float, width: int = 24) -> str:
    """A bar of text, with its figure: it needs no colours and survives being copied."""
    fraction = min(1.0, max(0.0, fraction))
    full = int(fraction * width)
    return "█" * full + "░" * (width - full) + f" {fraction:4.0%}"


def make_view(progress: str, err: TextIO, clock: Clock) -> View:
    """``progress`` as in ``[client] progress``."""
    if progress == "auto":
        progress = "live" if err.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown") else "plain"
    views: dict[str, Callable[..., Any]] = {"live": LiveView, "plain": PlainView}
    view: View = views[progress](err, clock) if progress in views else NoView(err)
    return view


def waiting(names: Sequence[str]) -> str:
    """What is being waited for, for a message."""
    return names[0] if len(names) == 1 else count(len(names), "task")


def _older(view: TaskView, seconds: float) -> TaskView:
    """The view with its ETA counted down since it was heard."""
    if view.eta is None:
        return view
    import msgspec

    return msgspec.structs.replace(view, eta=max(0.0, view.eta - seconds))
