"""What memory has to learn after a commit, and whom it wakes: the index, the terms, the roster, FTP accounts, watchers.

Called by whoever wrote, after the write. All of it could be rebuilt from the store by a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ..common.states import JobState
from .board import Board
from .dispatcher import Dispatcher
from .ledger import Ended
from .roster import Roster
from .terms import Terms


class Accounts(Protocol):
    """The FTP thread's part in it."""

    def revoke(self, user: str) -> object: ...


class Aftermath:
    def __init__(self, dispatcher: Dispatcher, terms: Terms, roster: Roster, board: Board, accounts: Accounts) -> None:
        self._dispatcher = dispatcher
        self._terms = terms
        self._roster = roster
        self._board = board
        self._accounts = accounts
        self.wake_task_thread: Callable[[], None] = lambda: None
        self.forget_files: Callable[[str], None] = lambda lease: None
        """Drop what a lease uploaded and nobody will ask for."""
        self.forget_run: Callable[[str, int], None] = lambda task, run: None
        """Drop what granting knew of a run that is over."""
        self.accepted: Callable[[str], None] = lambda task: None
        """Who joins the pieces of a task as they come has one more."""
        self.end_stream: Callable[[str, int], None] = lambda task, run: None
        """The pieces of this run are not joined any more."""

    def changed(self, task: str) -> None:
        """Something that a watcher would like to see."""
        self._board.changed(task)

    def ended(self, node: str, lease: str, end: Ended, *, given_back: str = "") -> None:
        """An attempt is over, whatever its end; ``given_back``: why its node did not do it."""
        self._release(node, [lease])
        if end.job_state is JobState.DONE:
            self.accepted(end.task)
        else:
            self.forget_files(lease)
        if end.job_state is JobState.QUEUED:
            self._dispatcher.again(end.task, end.job, node, given_back=given_back)
        if end.task_over:
            self.task_over(end.task, end.called_off, end.run)
        if end.stage_over:
            self.wake_task_thread()
        self._board.changed(end.task)

    def task_over(self, task: str, leases: Iterable[str], run: int) -> None:
        """A run was cancelled, has failed or is complete: its leases, as the store named them, are called off.

        Nothing is done to another run: the task may have been restarted between the commit and this.
        """
        self._dispatcher.close(task, run)
        self.forget_run(task, run)
        self.end_stream(task, run)
        called_off = set(leases)
        terms = [term for lease in called_off if (term := self._terms.get(lease)) is not None]
        self._terms.cancel(called_off)
        for term in terms:
            self._roster.free(term.node, [term.lease])
        for lease in called_off:
            self._accounts.revoke(lease)
            self.forget_files(lease)
        self._board.changed(task)
        self.wake_task_thread()

    def _release(self, node: str, leases: list[str]) -> None:
        self._terms.end(leases)
        self._roster.free(node, leases)
        for lease in leases:
            self._accounts.revoke(lease)
