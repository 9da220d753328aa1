"""One lease in the hands of a slot: what its two threads tell each other of it.

The work thread moves it on and writes down progress and lines; the link thread reads those for its beats and says when to
stop. An ending is said once; what comes after it counts no more.
"""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum

from ..common.model import Account, Cause, Failure, Grant, Progress

HELD = 64 * 1024
"""Characters held between two beats; older lines are counted and dropped."""
LINE_CAP = 500
"""Characters of one line that go on the wire."""


class Ending(Enum):
    """Why the link thread stops a lease. The first two are told to the server, the others are not its business any more."""

    CANCELED = "canceled"
    DRAINED = "drained"
    NOT_YOURS = "not yours"
    ALONE = "alone"


_FAILURES = {
    Ending.CANCELED: Failure(cause=Cause.CANCELED, sentence="The task was cancelled."),
    Ending.DRAINED: Failure(cause=Cause.DRAINED, sentence="The node is leaving."),
}


class Work:
    """A granted lease, from the grant to the answer to its result."""

    def __init__(self, grant: Grant, bell: threading.Event) -> None:
        self.grant = grant
        self.lease = grant.lease
        self.stop = threading.Event()
        """Set: end whatever is done for this lease."""
        self.why: Ending | None = None
        self.account: Account = grant.account
        self.wants_account = False
        self.sending = False
        """Its result is made, and its files are on their way."""
        self._bell = bell
        self._answered = threading.Event()
        self._lock = threading.Lock()
        self._fraction = 0.0
        self._phase = ""
        self._lines: deque[str] = deque()
        self._held = 0
        self._dropped = 0

    # --- the work thread

    def enter(self, phase: str) -> None:
        """fetching, unpacking, working, uploading."""
        with self._lock:
            self._phase = phase

    def advance(self, fraction: float) -> bool:
        """So far is it done; return whether that is further than before (it never goes back)."""
        with self._lock:
            further = fraction > self._fraction
            if further:
                self._fraction = min(1.0, fraction)
            return further

    def say(self, line: str) -> None:
        """A line for the submitter's log."""
        with self._lock:
            self._lines.append(line[:LINE_CAP])
            self._held += len(self._lines[-1]) + 8
            while self._held > HELD:
                self._held -= len(self._lines.popleft()) + 8
                self._dropped += 1

    def renew_account(self) -> bool:
        """Have the link thread ask for a new FTP account, and wait for it as long as it takes; False: the lease is over."""
        self._answered.clear()
        self.wants_account = True
        self._bell.set()
        while not self.stop.is_set():
            if self._answered.wait(1.0):
                return not self.stop.is_set()
        return False

    def failure(self) -> Failure | None:
        """What to report of a lease that was stopped; None: nothing, it is not ours any more."""
        return _FAILURES.get(self.why) if self.why is not None else None

    # --- the link thread

    def end(self, why: Ending) -> None:
        """Stop. Only the first reason counts, but ``not yours`` overrides all."""
        if self.why is None or why is Ending.NOT_YOURS:
            self.why = why
        self.stop.set()
        self._answered.set()

    def give_account(self, account: Account) -> None:
        """The answer to ``renew_account``."""
        self.account = account
        self.wants_account = False
        self._answered.set()

    def progress(self) -> Progress:
        """For a beat; lines are handed out once."""
        with self._lock:
            return Progress(lease=self.lease, fraction=self._fraction, phase=self._phase, lines=self._take_lines())

    def rest_of_lines(self) -> tuple[str, ...]:
        """For the result: the lines that no beat has carried."""
        with self._lock:
            return self._take_lines()

    def _take_lines(self) -> tuple[str, ...]:
        if not self._lines:
            return ()
        lines = tuple(self._lines)
        if self._dropped:
            lines = (f"… {self._dropped} lines left out …", *lines)
        self._lines.clear()
        self._held = self._dropped = 0
        return lines
